"""The weights' way from the pretrained ones as figures: plain functions of findings."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import matrix_axis, shade_blocks, union
from grace_geom.plots.compose import pages
from grace_geom.plots.ends import name_ends
from grace_geom.plots.legend import Legend
from grace_geom.plots.matrix_map import matrix_map
from grace_geom.plots.panels import Curve, log_axis, overlay, point
from grace_geom.plots.sample import images_range, weights
from grace_geom.plots.style import dress, plain_html
from grace_geom.plots.variants import LONG
from grace_geom.plots.weight_names import in_order, site, weight_name
from grace_geom.records import Finding

DROP, ROUNDING = 30.0, 1e-3
"""A change has rank r where its r-th singular value is ``DROP`` times the next one and all that
follow are below ``ROUNDING`` of the first.
"""


def by_matrix(
    found: Sequence[Finding], legend: Legend, behind: Collection[str] = ()
) -> go.Figure | None:
    """Relative drift of each weight matrix from the stem over the blocks to the head; biases and
    gains are left to the CSV. Lines end with their block; those of runs ``behind`` stand back.
    """
    names = matrices(found)
    lines = {f.run: curve for f in found if (curve := _by_matrix(f, names)) is not None}
    if not lines:
        return None
    y = {"title": "‖W − W₀‖ / ‖W₀‖"} | log_axis([curve.y for curve in lines.values()])
    figure = overlay(lines, legend, matrix_axis(names), y, height=390, behind=behind)
    figure.update_traces(mode="lines+markers")
    for trace in figure.data:
        if trace.legendgroup in behind:  # a matrix alone in its group has a point and no line
            trace.update(marker={"size": 4, "color": trace.line.color})
    return shade_blocks(figure, names, legend.ground)


def map_by_matrix(found: Sequence[Finding], legend: Legend, marked: str = "") -> go.Figure | None:
    """The same as a map: a row a run, the one that moved farthest as a whole on top, a column a
    matrix. The name of the run ``marked`` is bold. ``None`` where nothing moved.
    """
    names = matrices(found)
    moved = {
        f.run: {
            name: p for name in names
            if (p := point(f.value(f"relative/{name}"))) is not None and p.value > 0
        }
        for f in farthest_first(found)
    }  # fmt: skip
    return matrix_map(moved, names, legend, marked)


def farthest_first(found: Sequence[Finding]) -> list[Finding]:
    """Runs by how far their weights moved as a whole; those without that number last."""
    known = {f.run: m.value for f in found if (m := f.value("drift")) is not None}
    return sorted(found, key=lambda f: -known.get(f.run, -1.0))


def _by_matrix(f: Finding, names: Sequence[str]) -> Curve | None:
    points: list[tuple[float, float, str]] = []
    group = ""
    for i, name in enumerate(names):
        m = f.value(f"relative/{name}")
        if m is None or not m.value > 0:
            continue
        if group and site(name).group != group:
            points.append((i - 0.5, np.nan, ""))
        points.append((i, m.value, weight_name(name)))
        group = site(name).group
    if not points:
        return None
    at, values, words = zip(*points, strict=True)
    return Curve(at, values, names=words)


def extremes(found: Sequence[Finding], most: int) -> list[str]:
    """The runs whose weights moved least and most as a whole: ``most`` of them, half at either end;
    all where there are no more.
    """
    known = {f.run: m.value for f in found if (m := f.value("drift")) is not None}
    ordered, low = sorted(known, key=lambda run: known[run]), most // 2
    return ordered if len(ordered) <= most else [*ordered[:low], *ordered[low - most :]]


def matrices(found: Sequence[Finding]) -> list[str]:
    """Weight matrices in the network's order."""
    return in_order(union(f.names("effective_rank") for f in found))


def moved_most(found: Sequence[Finding], measure: str = "norm") -> tuple[str, str, float] | None:
    """Matrix, run and size of the largest change of a single matrix in any run; ``None`` where
    nothing moved.

    Args:
        found: Findings of ``parameter_drift``.
        measure: ``norm``, of the change, or ``relative`` to the norm before.
    """
    moved = [
        (m.value, name, f.run)
        for name in matrices(found)
        for f in found
        if (m := f.value(f"{measure}/{name}")) is not None and np.isfinite(m.value) and m.value > 0
    ]
    if not moved:
        return None
    size, name, run = max(moved)
    return name, run, float(size)


def singular(
    found: Sequence[Finding],
    legend: Legend,
    matrix: str,
    behind: Collection[str] = (),
    named: bool = False,
) -> tuple[go.Figure | None, list[dict[str, Any]]]:
    """Singular values of one matrix' change, a line a run, down to what rounding leaves; and the
    same as rows. Where a run's values fall off after the r-th, see :func:`rank`, a line says so.

    Args:
        found: Findings of ``parameter_drift``.
        legend: Name and look of each run.
        matrix: Whose change.
        behind: Runs whose lines stand back, see :func:`~grace_geom.plots.panels.overlay`.
        named: Whether lines have their runs' names at their ends, where there is room.
    """
    lines, rows, ranks = {}, [], {}
    for f in found:
        s = spectrum(f, matrix)
        if len(s):
            lines[f.run] = Curve(range(1, len(s) + 1), s)
            rows += [
                {"run": f.run, "matrix": matrix, "i": i, "singular_value": float(v)}
                for i, v in enumerate(s, 1)
            ]
            if (r := rank(s)) is not None:
                ranks[f.run] = r
    if not lines:
        return None, rows
    longest = max(len(curve.y) for curve in lines.values())
    step = next((d for d in (1, 2, 5, 10, 20, 50, 100, 200) if 8 * d >= longest), 500)
    x = {"title": "Index i", "rangemode": "tozero", "dtick": step}  # no half indices
    y: dict[str, Any] = {"title": "σ<sub>i</sub> of W − W₀"}
    values = [float(v) for curve in lines.values() for v in curve.y]
    y |= log_axis([values])
    figure = overlay(lines, legend, x, y, height=340, behind=behind)
    if named:
        figure = name_ends(figure, legend, behind)
        figure.update_xaxes(tickmode="array", tickvals=[*range(0, longest + 1, step)])
    _mark_ranks(figure, legend, ranks)
    return figure, rows


def spectrum(f: Finding, matrix: str) -> np.ndarray:
    """``(k,)`` singular values of the change of a matrix, those above 0; none where it has no
    record or did not move.
    """
    blocks, spectra = f.array("blocks"), f.array("singular_values")
    if blocks is None or spectra is None or matrix not in blocks.tolist():
        return np.zeros(0)
    s = np.asarray(spectra[blocks.tolist().index(matrix)], float)
    return s[s > 0]


def rank(s: np.ndarray) -> int | None:
    """Index of the last singular value before they fall to what rounding leaves, see :data:`DROP`;
    ``None`` where they do not.
    """
    falls = np.where(s[1:] < ROUNDING * s[:1], s[:-1] / s[1:], 0.0)
    return int(falls.argmax()) + 1 if len(falls) and falls.max() > DROP else None


def common_rank(f: Finding) -> int | None:
    """The largest rank of the changes of a run's matrices; ``None`` where one that moved has no
    rank, see :func:`rank`.
    """
    moved = [s for name in f.names("effective_rank") if len(s := spectrum(f, name))]
    ranks = [rank(s) for s in moved]
    known = [r for r in ranks if r is not None]
    return max(known) if known and len(known) == len(ranks) else None


def _mark_ranks(figure: go.Figure, legend: Legend, ranks: dict[str, int]) -> None:
    """A line after the r-th value of each run whose change has a rank, named once for each r."""
    for level, r in enumerate(sorted(set(ranks.values()))):
        runs = [run for run, of in ranks.items() if of == r]
        names = ", ".join(plain_html(legend.names[run]) for run in runs)
        if len(names) > 2 * LONG:  # plotly would widen the axis for them
            names = f"{len(runs)} runs" if len(runs) > 1 else ""
        color = legend.looks[runs[0]].color if len(runs) == 1 else legend.ground.text
        figure.add_vline(x=r + 0.5, line={"color": color, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=r + 0.5, y=1 - 0.08 * level, yref="y domain", text=f"rank {r}: {names}".rstrip(": "),
            showarrow=False, xanchor="left", yanchor="top", xshift=4,
            font={"color": color, "size": 12}, bgcolor=legend.ground.paper,
        )  # fmt: skip


def zero_shot(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Drift of all weights against the accuracy that was lost on zero-shot sets, in points, with
    95 % intervals over images.
    """
    figure = go.Figure()
    for f in found:
        drift, loss = f.value("drift"), point(f.value("zero_shot_loss"))
        if drift is None or loss is None:
            continue
        style, name = legend.looks[f.run], plain_html(legend.names[f.run])
        low, high = (loss.value if end is None else end for end in (loss.low, loss.high))
        figure.add_scatter(
            x=[drift.value], y=[100 * loss.value], mode="markers", name=name, legendgroup=f.run,
            showlegend=False,
            marker={"color": style.color, "symbol": style.marker, "size": 8},
            error_y={
                "type": "data", "symmetric": False, "array": [100 * (high - loss.value)],
                "arrayminus": [100 * (loss.value - low)], "color": style.color, "thickness": 1.2,
                "width": 0,
            },
            customdata=[[100 * low, 100 * high]],
            hovertemplate=f"{name}: %{{x:.4g}}, %{{y:.3g}} [%{{customdata[0]:.3g}}, "
            "%{customdata[1]:.3g}]<extra></extra>",
        )  # fmt: skip
    if not figure.data:
        return None
    x, y = {"title": "Relative drift, all weights"}, {"title": "Zero-shot accuracy lost (points)"}
    return dress(figure, legend.ground, 290, xaxis=x, yaxis=y, showlegend=False)


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Drift of each matrix; below it drift against zero-shot loss, and singular values of the
    change that is largest in any run.
    """
    moved = by_matrix(found, legend)
    above = {"Relative drift of each matrix": moved} if moved is not None else {}
    below: dict[str, go.Figure] = {}
    if (lost := zero_shot(found, legend)) is not None:
        below["Drift against zero-shot accuracy lost"] = lost
    first = moved_most(found)
    if first and (falling := singular(found, legend, first[0])[0]) is not None:
        below[f"Singular values of the change of {weight_name(first[0])}"] = falling
    s = found[0].result.settings
    note = f"{weights(s.get('params'))}, seed {s.get('seed', 0)}"
    if any(p.value == 0 for f in found for name in f.names("relative")
           if (p := point(f.value(f"relative/{name}"))) is not None):  # fmt: skip
        note += "; without a mark: matrices that did not change"
    if lost is not None:
        used = [n for f in found for n in f.part.n.values()]
        images = f", n = {images_range(used)} in each zero-shot set" if used else ""
        note += f"; bars: 95 % intervals over images{images}"
    return pages({"": ("Drift from the pretrained weights", [above, below], note)}, legend)
