"""The weights' way from the pretrained ones as figures: plain functions of findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import matrix_axis, union
from grace_geom.plots.compose import pages
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, overlay, point
from grace_geom.plots.sample import images_range
from grace_geom.plots.style import dress, plain_html, short_weight
from grace_geom.records import Finding


def by_matrix(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Relative drift of each weight matrix in the network's order; biases and gains are left to the
    CSV.
    """
    matrices = union(f.names("effective_rank") for f in found)
    matrices.sort(key=lambda n: n == "visual.proj")  # the last one, which open_clip lists first
    lines = {}
    for f in found:
        known = [
            (i, m.value)
            for i, n in enumerate(matrices)
            if (m := f.value(f"relative/{n}")) is not None
        ]
        moved = [(i, v) for i, v in known if v > 0]
        if moved:
            at = [i for i, _ in moved]
            lines[f.run] = Curve(at, [v for _, v in moved], names=[matrices[i] for i in at])
    if not lines:
        return None
    n = len(matrices)
    x = {"tickvals": list(range(n)), "range": [-0.6, n - 0.4], "title": ""} | matrix_axis(matrices)
    y = {"title": "‖W − W₀‖ / ‖W₀‖", "type": "log", "exponentformat": "power"}
    return overlay(lines, legend, x, y, height=400)


def matrices(found: Sequence[Finding]) -> list[str]:
    """Matrices whose change has singular values, first the one that moved most in any run."""
    moved: dict[str, float] = {}
    for f in found:
        for name in f.names("effective_rank"):
            m = f.value(f"norm/{name}")
            moved[name] = max(
                moved.get(name, 0.0), m.value if m is not None and np.isfinite(m.value) else 0.0
            )
    return sorted(moved, key=lambda name: -moved[name])


def singular(
    found: Sequence[Finding], legend: Legend, matrix: str
) -> tuple[go.Figure | None, list[dict[str, Any]]]:
    """Singular values of one matrix' change, a line a run, down to 1e-7 of the largest; and the
    same as rows.
    """
    lines, rows = {}, []
    for f in found:
        blocks, spectra = f.array("blocks"), f.array("singular_values")
        if blocks is None or spectra is None or matrix not in blocks.tolist():
            continue
        s = np.asarray(spectra[blocks.tolist().index(matrix)], float)
        s = s[s > 1e-7 * s.max()] if s.max() > 0 else s[:0]
        if len(s):
            lines[f.run] = Curve(range(1, len(s) + 1), s)
            rows += [
                {"run": f.run, "matrix": matrix, "i": i, "singular_value": float(v)}
                for i, v in enumerate(s, 1)
            ]
    if not lines:
        return None, rows
    x = {"title": "Index i", "rangemode": "tozero"}
    y = {"title": "σᵢ of W − W₀", "type": "log", "exponentformat": "power"}
    return overlay(lines, legend, x, y, height=340), rows


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
    x, y = {"title": "Relative drift, all weights"}, {"title": "Zero-shot loss (points)"}
    return dress(figure, legend.ground, 290, xaxis=x, yaxis=y, showlegend=False)


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Drift of each matrix; singular values of the change that is largest in any run; drift against
    zero-shot loss.
    """
    first = matrices(found)
    above: dict[str, go.Figure] = {}
    if first and (spectrum := singular(found, legend, first[0])[0]) is not None:
        above[f"Singular values of the change of {short_weight(first[0])}"] = spectrum
    if (lost := zero_shot(found, legend)) is not None:
        above["Drift against zero-shot loss"] = lost
    moved = by_matrix(found, legend)
    below = {"Relative drift of each matrix": moved} if moved is not None else {}
    s = found[0].result.settings
    note = f"weights: {s.get('params')}, seed {s.get('seed', 0)}"
    if lost is not None:
        used = [n for f in found for n in f.part.n.values()]
        images = f", n = {images_range(used)} in each zero-shot set" if used else ""
        note += f"; bars: 95 % intervals over images{images}"
    return pages({"": ("Drift from the pretrained weights", [above, below], note)}, legend)
