"""Straight cuts through the loss around checkpoints as figures: plain functions of findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, at_the_pointer, measures, overlay
from grace_geom.plots.style import plain_html, see_through
from grace_geom.records import Finding

MOST_BANDS = 4
"""Lines of a panel that have bands."""
KINDS = {
    "random": ("Along one random direction", "Filter-normalised distance"),
    "eigen": ("Along the sharpest direction", "Euclidean distance along the top eigenvector"),
}


def slices(
    found: Sequence[Finding], legend: Legend, kinds: Sequence[str] = tuple(KINDS)
) -> dict[str, go.Figure]:
    """1-D slices, all runs in one panel for each kind of direction: the rise of the loss over that
    at the checkpoint, so that bends compare where losses differ. Intervals over images are bands of
    up to :data:`MOST_BANDS` lines and else stand at the pointer; further random directions are thin
    lines.
    """
    drawn = {}
    for kind in kinds:
        title, axis = KINDS[kind]
        lines = {
            f.run: _cut(np.asarray(a, float)) for f in found if (a := f.array(kind)) is not None
        }
        if len(lines) > MOST_BANDS:
            lines = {run: at_the_pointer(curve, 3) for run, curve in lines.items()}
        if lines:
            figure = overlay(
                lines, legend, {"title": axis}, {"title": "Rise of the loss"}, height=300
            )
            more = _further(found, legend) if kind == "random" else []
            drawn[title] = go.Figure([*more, *figure.data], figure.layout) if more else figure
    return drawn


def _cut(a: np.ndarray) -> Curve:
    """A slice of distances, losses and, in newer results, halves of intervals of their rises."""
    rise = a[1] - _at_checkpoint(a)
    return Curve(a[0], rise, rise - a[2], rise + a[2]) if banded(a) else Curve(a[0], rise)


def banded(a: np.ndarray) -> bool:
    """Whether a slice has an interval at its points."""
    return len(a) > 2 and bool(np.isfinite(a[2]).any())


def _further(found: Sequence[Finding], legend: Legend) -> list[dict[str, Any]]:
    """Slices along further random directions, thin lines without a name at the pointer."""
    drawn = []
    for f in found:
        first, more = f.array("random"), f.array("random_more")
        if first is None or more is None:
            continue
        for losses in np.asarray(more, float):
            a = np.stack([np.asarray(first[0], float), losses])
            drawn.append({
                "type": "scatter", "mode": "lines", "x": a[0], "y": a[1] - _at_checkpoint(a),
                "line": {"color": see_through(legend.looks[f.run].color, 0.45), "width": 0.8},
                "hoverinfo": "skip", "showlegend": False, "legendgroup": f.run,
                "name": plain_html(legend.names[f.run]),
            })  # fmt: skip
    return drawn


def rises(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """How far the loss rises at both ends of the random line, a row a run, with the interval over
    images; nothing where no interval is on record.
    """
    key = "random/rise"
    if all(getattr(f.value(key), "low", None) is None for f in found):
        return {}
    figure = measures(found, legend, key, "Rise of the loss")
    if figure is None:
        return {}
    level = max(300, figure.layout.height)  # beside slices, nothing below it is left empty
    return {"Rise at its ends, mean": figure.update_layout(height=level)}


def _at_checkpoint(a: np.ndarray) -> float:
    """The loss of a slice ``(2, n)`` at its point nearest to the checkpoint."""
    return float(a[1][np.abs(a[0]).argmin()])


def rise(a: np.ndarray) -> float:
    """Mean loss at both ends of a slice ``(2, n)`` less the loss at the checkpoint."""
    return float((a[1][0] + a[1][-1]) / 2) - _at_checkpoint(a)
