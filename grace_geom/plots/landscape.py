"""Slices of the loss as figures: plain functions of findings."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, overlay, span
from grace_geom.plots.style import dress
from grace_geom.records import Finding

MOST_SURFACE = 101
KINDS = {
    "random": ("Along one random direction", "Filter-normalised distance"),
    "eigen": ("Along the sharpest direction", "Euclidean distance along the top eigenvector"),
}


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


def slices(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """1-D slices, all runs in one panel for each kind of direction."""
    drawn = {}
    for kind, (title, axis) in KINDS.items():
        arrays = {f.run: np.asarray(a, float) for f in found if (a := f.array(kind)) is not None}
        if arrays:
            lines = {run: Curve(a[0], a[1]) for run, a in arrays.items()}
            drawn[title] = overlay(lines, legend, {"title": axis}, {"title": "Loss"}, height=320)
    return drawn


def line(
    found: Sequence[Finding], legend: Legend, wanted: Sequence[str]
) -> dict[str, go.Figure]:  # fmt: skip
    """Accuracies on the line from the pretrained weights (0) through the checkpoint (1), a panel a
    distribution.
    """
    values = [f.array(f"line/{name}") for f in found for name in wanted]
    ends = span([100 * np.asarray(v, float) for v in values if v is not None])
    drawn = {}
    for name in wanted:
        lines = {
            f.run: Curve(f.array("line/t"), 100 * np.asarray(y, float))
            for f in found
            if (y := f.array(f"line/{name}")) is not None and f.array("line/t") is not None
        }  # fmt: skip
        if lines:
            x, y = {"title": "0: pretrained, 1: tuned"}, {"title": "Accuracy (%)", "range": ends}
            figure = overlay(lines, legend, x, y)
            drawn[title(name)] = figure.add_vline(
                x=1, line={"color": legend.ground.muted, "width": 1, "dash": "dot"}
            )
    return drawn


def title(name: str) -> str:
    """What a curve of the line is called."""
    known = {"id": "In distribution", "ood": "Under shift, mean over sets", "adv": "Under attack"}
    return known.get(name, f"Under shift: {name.removeprefix('ood/')}")


def contours(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """2-D slices with the same levels and equal axes, a panel a run."""
    grids = {f.run: np.asarray(a, float) for f in found if (a := f.array("contour")) is not None}
    if not grids:
        return {}
    start, end, size = levels(list(grids.values()))
    drawn = {}
    for f in found:
        if f.run not in grids or f.array("contour_axis") is None:
            continue
        side = np.asarray(f.array("contour_axis"), float)
        figure = go.Figure(
            go.Contour(
                x=side,
                y=side,
                z=grids[f.run],
                colorscale="Viridis",
                zmin=start,
                zmax=end,
                autocontour=False,
                contours={"start": start, "end": end, "size": size},
                line={"width": 0.5, "color": "white"},
                colorbar={
                    "title": {"text": "Loss", "side": "right"},
                    "thickness": 10,
                    "outlinewidth": 0,
                },
                hovertemplate="(%{x:.3g}, %{y:.3g}): %{z:.4g}<extra></extra>",
            )
        )
        figure.add_scatter(
            x=[0],
            y=[0],
            mode="markers",
            marker={"symbol": "cross-thin-open", "color": "white", "size": 11},
            hoverinfo="skip",
            showlegend=False,
        )
        drawn[legend.names[f.run]] = dress(
            figure,
            legend.ground,
            320,
            xaxis={"title": "First direction", "constrain": "domain", "nticks": 6},
            yaxis={
                "title": "Second direction",
                "scaleanchor": "x",
                "constrain": "domain",
                "nticks": 6,
            },
        )
    return drawn


def levels(grids: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """First, last and step of about 14 levels that all grids share; the highest 2 % share the last
    colour.
    """
    every = np.concatenate([g[np.isfinite(g)].ravel() for g in grids])
    if not every.size:
        return 0.0, 1.0, 0.1
    low, high = float(every.min()), float(np.quantile(every, 0.98))
    size = (high - low) / 14 or 1.0
    return low, high, size


def surfaces(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """The same as surfaces, on one height axis and one colour scale, with a fixed aspect; a view
    survives a rerun.
    """
    grids = {f.run: np.asarray(a, float) for f in found if (a := f.array("contour")) is not None}
    if not grids:
        return {}
    low, high, _ = levels(list(grids.values()))
    drawn = {}
    for f in found:
        if f.run not in grids or f.array("contour_axis") is None:
            continue
        at = np.unique(
            np.linspace(0, len(grids[f.run]) - 1, min(len(grids[f.run]), MOST_SURFACE))
            .round()
            .astype(int)
        )
        side, z = (
            np.asarray(f.array("contour_axis"), float)[at],
            np.minimum(grids[f.run][np.ix_(at, at)], high),
        )
        figure = go.Figure(
            go.Surface(
                x=side, y=side, z=z, cmin=low, cmax=high, colorscale="Viridis", showscale=False
            )
        )
        axis = {
            "gridcolor": legend.ground.grid,
            "color": legend.ground.text,
            "backgroundcolor": "rgba(0,0,0,0)",
            "nticks": 5,
        }
        drawn[legend.names[f.run]] = dress(
            figure,
            legend.ground,
            360,
            uirevision=f"surface-{f.run}",
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            scene={
                "xaxis": axis | {"title": {"text": "first"}},
                "yaxis": axis | {"title": {"text": "second"}},
                "zaxis": axis | {"title": {"text": "loss"}, "range": [low, high]},
                "aspectmode": "manual",
                "aspectratio": {"x": 1, "y": 1, "z": 0.7},
                "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 0.9}},
            },
        )
    return drawn
