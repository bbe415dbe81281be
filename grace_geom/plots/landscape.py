"""The loss on lines and planes through checkpoints as figures: plain functions of findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots import zoom
from grace_geom.plots.compose import pages
from grace_geom.plots.cuts import MOST_BANDS, slices
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, Numbers, Point, at_the_pointer, overlay, span
from grace_geom.plots.sample import attack, said
from grace_geom.plots.style import dress, plain_html
from grace_geom.records import Finding, wilson

MOST_SURFACE = 101
HIGH, LOW = 324, 245
"""Pixels of a square slice that fills a panel of three in a row, and of a smaller one."""


def comparable(found: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Those whose weights have the names and shapes of the first, and the others: for them the same
    seed means other directions.
    """
    kept: list[Finding] = []
    refused: list[Finding] = []
    for f in found:
        same = not kept or all(
            _listed(f, name) == _listed(kept[0], name) for name in ("blocks", "block_shapes")
        )
        (kept if same else refused).append(f)
    return kept, refused


def _listed(f: Finding, name: str) -> list[str]:
    array = f.array(name)
    return [] if array is None else [str(x) for x in array.tolist()]


def line(found: Sequence[Finding], legend: Legend, wanted: Sequence[str]) -> dict[str, go.Figure]:
    """Accuracies on the line from the pretrained weights (0) through the checkpoint (1), a panel a
    distribution. Those without an attack share a narrower axis where they use little of the common
    one (:mod:`~grace_geom.plots.zoom`). Intervals, see :func:`shares`, are bands of up to
    :data:`MOST_BANDS` lines; more would be one grey cloud, so they stand at the pointer.
    """
    every = {
        name: {f.run: c for f in found if (c := _accuracies(f, name)) is not None}
        for name in wanted
    }
    each, clean = _ends(every), _ends({n: c for n, c in every.items() if n != "adv"})
    whole = {"title": "Accuracy (%)", "range": span(each)}
    near = {"title": f"Accuracy (%){zoom.WORD}", "range": span(clean)}
    near = near if zoom.worthwhile(clean, each) else whole
    drawn = {}
    for name, lines in every.items():
        if len(lines) > MOST_BANDS:
            lines = {run: at_the_pointer(curve) for run, curve in lines.items()}
        if lines:
            x = {"title": "0: pretrained, 1: tuned"}
            figure = overlay(lines, legend, x, whole if name == "adv" else near)
            drawn[title(name)] = figure.add_vline(
                x=1, line={"color": legend.ground.muted, "width": 1, "dash": "dot"}
            )
    return drawn


def _ends(panels: Mapping[str, Mapping[str, Curve]]) -> list[Numbers]:
    """All that lines and bands of some panels reach."""
    curves = [c for lines in panels.values() for c in lines.values()]
    return [e for c in curves for e in (c.y, c.low, c.high) if e is not None]


def widest(found: Sequence[Finding], wanted: Sequence[str]) -> float:
    """Half of the widest interval of :func:`line`, in points of accuracy; 0 where none is known."""
    halves = [
        50 * (p.high - p.low)
        for f in found for name in wanted if (known := shares(f, name)) is not None
        for p in known[1] if p.low is not None and p.high is not None
    ]  # fmt: skip
    return max(halves, default=0.0)


def shares(f: Finding, name: str) -> tuple[np.ndarray, list[Point]] | None:
    """Accuracies on the line: its places t and a share of 1 at each with its 95 % interval over the
    images, Wilson's; of the mean over OOD sets the normal one. Without an interval where the
    number of images is not on record; ``None`` without a line.
    """
    t, y = f.array("line/t"), f.array(f"line/{name}")
    if t is None or y is None:
        return None
    accuracies = np.asarray(y, float)
    if name == "ood":
        half = _half_of_mean(f, accuracies)
        ends = [(a - h, a + h) for a, h in zip(accuracies, half, strict=True)]
    else:
        n = f.part.n.get("id" if name == "adv" else name.removeprefix("ood/"), 0)
        ends = [wilson(round(a * n), n) if n and np.isfinite(a) else (np.nan, np.nan)
                for a in accuracies]  # fmt: skip
    points = [
        Point(float(a), *((float(low), float(high)) if np.isfinite(low) else ()))
        for a, (low, high) in zip(accuracies, ends, strict=True)
    ]
    return np.asarray(t, float), points


def _half_of_mean(f: Finding, mean: np.ndarray) -> np.ndarray:
    """Half of the interval of a mean over OOD sets, whose images are independent."""
    sets = f.array_names("line/ood")
    counts = [f.part.n.get(name, 0) for name in sets]
    if not sets or not all(counts):
        return np.full(len(mean), np.nan)
    each = [np.asarray(f.array(f"line/ood/{name}"), float) for name in sets]
    variance = sum(p * (1 - p) / n for p, n in zip(each, counts, strict=True))
    return np.asarray(1.96 * np.sqrt(variance) / len(sets))


def _accuracies(f: Finding, name: str) -> Curve | None:
    """The same as a line in percent."""
    if (found := shares(f, name)) is None:
        return None
    t, points = found
    y = [100 * p.value for p in points]
    if all(p.low is None for p in points):
        return Curve(t, y)
    low, high = (
        [np.nan if e is None else 100 * e for e in side]
        for side in ([p.low for p in points], [p.high for p in points])
    )
    return Curve(t, y, low, high)


def title(name: str) -> str:
    """What a curve of the line is called."""
    known = {"id": "In distribution", "ood": "Under shift, mean over sets", "adv": "Under attack"}
    return known.get(name, f"Under shift: {name.removeprefix('ood/')}")


@dataclass(frozen=True)
class Field:
    """A 2-D slice of one run.

    Attributes:
        x, y: Abscissae ``(n,)`` and ordinates ``(m,)``.
        z: The loss there, ``(m, n)``.
        marks: Name and place of the checkpoints on it.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    marks: Sequence[tuple[str, tuple[float, float]]]


TITLES = {
    "contour": ("First direction", "Second direction"),
    "plane": ("Euclidean distance, x", "Euclidean distance, y"),
}


def fields(found: Sequence[Finding], legend: Legend, key: str) -> dict[str, Field]:
    """Slices by run: ``contour``, through each one along two random directions, or ``plane``,
    through it and two other checkpoints.
    """
    slices = {}
    for f in found:
        z, side = f.array(key), f.array("contour_axis")
        if z is not None and key == "contour" and side is not None:
            at = np.asarray(side, float)
            slices[f.run] = Field(at, at, np.asarray(z, float), [(legend.names[f.run], (0.0, 0.0))])
        elif z is not None and key == "plane":
            corners = zip(f.array("plane_names"), f.array("plane_corners"), strict=True)
            marks = [(str(name), (float(x), float(y))) for name, (x, y) in corners]
            x, y = (np.asarray(f.array(f"plane_{w}"), float) for w in "xy")
            slices[f.run] = Field(x, y, np.asarray(z, float), marks)
    return slices


def contours(
    found: Sequence[Finding], legend: Legend, key: str = "contour", height: int = LOW
) -> dict[str, go.Figure]:
    """2-D slices with the same levels and equal axes, a panel a run; see :func:`fields`."""
    slices = fields(found, legend, key)
    grids = [field.z for field in slices.values()]
    start, end, size = levels(grids)
    bar = BAR | _ticks(start, end, size) if above(grids) else BAR
    drawn = {}
    for run, field in slices.items():
        figure = go.Figure()
        if np.isfinite(field.z).any():
            figure.add_contour(
                x=field.x, y=field.y, z=field.z, colorscale="Viridis", zmin=start, zmax=end,
                autocontour=False, contours={"start": start, "end": end, "size": size},
                line={"width": 0.5, "color": "white"}, colorbar=bar,
                hovertemplate="(%{x:.3g}, %{y:.3g}): %{z:.4g}<extra></extra>",
            )  # fmt: skip
        else:
            figure.add_annotation(text="no finite loss", showarrow=False, x=0.5, y=0.75,
                                  xref="paper", yref="paper")  # fmt: skip
        _mark(figure, field, legend)
        x, y = ({"title": name, "constrain": "domain", "nticks": 6} for name in TITLES[key])
        ends = [[float(v.min()), float(v.max())] for v in (field.x, field.y)]
        drawn[legend.names[run]] = dress(
            figure, legend.ground, height,
            xaxis=x | {"range": ends[0], "constraintoward": "left"},
            yaxis=y | {"scaleanchor": "x", "range": ends[1], "constraintoward": "top"},
        )  # fmt: skip
    return drawn


BAR = {"title": {"text": "Loss", "side": "right"}, "thickness": 10, "outlinewidth": 0}


def _mark(figure: go.Figure, field: Field, legend: Legend) -> None:
    """A cross at a single checkpoint, which the panel is called after; names at several."""
    ink = "white" if np.isfinite(field.z).any() else legend.ground.text
    alone = len(field.marks) == 1
    wide = 200 * min(1.0, float(np.ptp(field.x)) / (float(np.ptp(field.y)) or 1.0))  # in pixels
    crowded = 7 * sum(len(name) for name, _ in field.marks[:2]) > wide
    symbols = ("cross-thin-open",) if alone else ("circle", "square", "triangle-up")
    for i, ((name, (x, y)), symbol) in enumerate(zip(field.marks, symbols, strict=True)):
        edge = {} if alone else {"line": {"color": "black", "width": 1}}
        figure.add_scatter(
            x=[x], y=[y], mode="markers", showlegend=False, text=[plain_html(name)],
            marker={"symbol": symbol, "color": ink, "size": 11 if alone else 9} | edge,
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        if not alone:
            along, up = (
                (at - float(side.min())) / (float(np.ptp(side)) or 1.0)
                for at, side in ((x, field.x), (y, field.y))
            )
            below = up > 0.6  # a name stands inside of the plot, whatever the place of its point
            figure.add_annotation(
                x=x, y=y, text=plain_html(name), showarrow=False,
                yanchor="top" if below else "bottom", yshift=-8 if below else 26 if crowded and i == 1 else 8,
                xanchor="left" if along < 0.3 else "right" if along > 0.7 else "center",
                font={"size": 11, "color": "#262730"}, bgcolor="rgba(255,255,255,0.75)",
            )  # fmt: skip


def above(grids: Sequence[np.ndarray]) -> bool:
    """Whether some losses lie above the last level that the grids share."""
    _, last, size = levels(grids)
    return any((g[np.isfinite(g)] > last + 1e-9 * size).any() for g in grids)


def _ticks(first: float, last: float, size: float) -> dict[str, Any]:
    """Numbers of a colour bar whose last one is that of all that lies above too."""
    n = round((last - first) / size)
    every = -(-n // 5)
    values = [last - k * size for k in range(0, n + 1, every)][::-1]
    words = [f"{float(f'{v:.4g}') + 0.0:g}".replace("-", "\u2212") for v in values]
    return {"tickvals": values, "ticktext": [*words[:-1], f"\u2265 {words[-1]}"]}


def levels(grids: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """First, last and step of at most 16 round levels that all grids share; the highest 2 % of the
    values may lie above the last, and have its colour.
    """
    every = np.concatenate([g[np.isfinite(g)].ravel() for g in grids]) if grids else np.zeros(0)
    if not every.size:
        return 0.0, 1.0, 0.1
    low, high = float(every.min()), float(np.quantile(every, 0.98))
    raw = (high - low) / 14 or 0.1 * abs(high) or 1.0
    ten = 10.0 ** np.floor(np.log10(raw))
    size = float(ten * next(head for head in (1, 2, 2.5, 5, 10) if head * ten >= raw * (1 - 1e-9)))
    first, last = np.floor(low / size + 1e-9), np.ceil(high / size - 1e-9)
    return float(first * size), float(max(last, first + 1) * size), size


def surfaces(
    found: Sequence[Finding], legend: Legend, key: str = "contour"
) -> dict[str, go.Figure]:
    """The same as surfaces, on one height axis and one colour scale, with a fixed aspect; a view
    survives a rerun.
    """
    slices = fields(found, legend, key)
    low, high, size = levels([field.z for field in slices.values()])
    drawn = {}
    for run, field in slices.items():
        if not np.isfinite(field.z).any():
            continue
        columns, rows = (_thinned(len(side)) for side in (field.x, field.y))
        figure = go.Figure(
            go.Surface(
                x=field.x[columns], y=field.y[rows],
                z=np.minimum(field.z[np.ix_(rows, columns)], high),
                cmin=low, cmax=high, colorscale="Viridis", showscale=False,
                hovertemplate="(%{x:.3g}, %{y:.3g}): %{z:.4g}<extra></extra>",
                contours={"z": {"show": True, "color": "white", "width": 1, "start": low,
                                "end": high, "size": size}},
            )
        )  # fmt: skip
        axis = {
            "gridcolor": legend.ground.grid,
            "color": legend.ground.text,
            "linecolor": legend.ground.muted,
            "backgroundcolor": "rgba(0,0,0,0)",
            "nticks": 4,
            "tickfont": {"size": 10},
        }
        names = ("first", "second") if key == "contour" else ("x", "y")
        drawn[legend.names[run]] = dress(
            figure,
            legend.ground,
            360,
            uirevision=f"surface-{run}",
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            scene={
                "xaxis": axis | {"title": {"text": names[0], "font": {"size": 11}}},
                "yaxis": axis | {"title": {"text": names[1], "font": {"size": 11}}},
                "zaxis": axis | {"title": {"text": ""}, "range": [low, high]},  # as the figure says
                "aspectmode": "manual",
                "aspectratio": {"x": 1, "y": 1, "z": 0.7},
                "camera": {
                    "eye": {"x": 1.36, "y": 1.36, "z": 0.84},
                    "center": {"x": 0.06, "y": -0.06, "z": -0.1},
                },
            },
        )
    return drawn


def _measured_at(found: Sequence[Finding]) -> str:
    """``filter-normalised directions, 7 × 7 points``; nothing where there is no plane."""
    sizes = sorted({len(side) for f in found if (side := f.array("contour_axis")) is not None})
    points = " or ".join(f"{n} × {n}" for n in sizes)
    return f"filter-normalised directions, {points} points" if sizes else ""


def _thinned(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, MOST_SURFACE)).round().astype(int))


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """1-D slices in the main figure; each kind of 2-D slice, flat and as surfaces, in another."""
    kept, refused = comparable(found)
    names = [
        n for n in ("id", "ood", "adv") if any(f.array(f"line/{n}") is not None for f in found)
    ]
    cuts = slices(kept, legend, ("random",)) | slices(found, legend, ("eigen",))
    accuracies = line(found, legend, names)
    other = ", ".join(legend.names[f.run] for f in refused)
    left_out = f"{other}: other weights or shapes, so other random directions" if other else ""
    few = len(found) <= MOST_BANDS
    bands = "bands: 95 % intervals over images" if accuracies and few else ""
    under = f"attacked: {attack(found)}, anew at every point" if "adv" in names else ""
    ends = "colours and heights end at the 98 % quantile of the loss"
    return pages(
        {
            "": ("Loss landscape", [cuts, accuracies], said(found, under, bands, left_out)),
            "contour": (
                "Loss along two random directions",
                [contours(kept, legend, "contour"), surfaces(kept, legend, "contour")],
                said(found, _measured_at(kept), ends, left_out),
            ),
            "plane": (
                "Loss on the plane through three checkpoints",
                [contours(found, legend, "plane"), surfaces(found, legend, "plane")],
                said(found, ends),
            ),
        },
        legend,
    )
