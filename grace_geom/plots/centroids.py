"""How far classes' mean features moved as figures: plain functions of findings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.layers import points
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Point, at_marked, at_row, log_ticks, run_axis, span
from grace_geom.plots.style import dressed, row_bands
from grace_geom.records import Finding

DIGITS = 1e-7
"""Of what is stored: a cosine that is nearer to 1 is 1."""
MOST_NAMED = 30
"""Rows that have names; of more the pointer tells them."""


def moved(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], marked: str = ""
) -> dict[str, go.Figure]:
    """1 − cosine of class centroids to those of ID, a panel a distribution on one logarithmic
    scale, a row a run with its interval; the one that moved least over all panels on top.

    Args:
        found: Of ``feature_stability``.
        legend: Name and look of each run.
        sets: Distributions.
        marked: A run whose name is bold and whose number has a line through all rows.
    """
    of = {run: {head: _away(p) for head, p in known.items()}
          for run, known in points(found, "centroid_cosine", sets).items() if known}  # fmt: skip
    order = sorted(of, key=lambda run: np.mean([p.value for p in of[run].values()]))
    heads = list(dict.fromkeys(head for known in of.values() for head in known))
    ends = [e for known in of.values() for p in known.values() for e in (p.low, p.value, p.high)]
    scale = span([np.array(ends, float)], 0.04, log=True)
    if scale is None:
        return {}
    x = {"title": "1 − cosine to ID", "type": "log", "range": scale, **_ticks(*scale)}
    return {
        head: _rows({run: of[run][head] for run in order if head in of[run]}, order, legend, x, marked)
        for head in heads
    }  # fmt: skip


def _ticks(low: float, high: float) -> dict[str, Any]:
    """Numbers at a few places; between powers of ten lines at 2 and 5, too."""
    few = log_ticks(low, high, 4)
    named = dict(zip(few["tickvals"], few["ticktext"], strict=True))
    if len(named) > 3 or not 1.5 < high - low < 4:
        return few
    tens = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    every = [float(f"{head}e{ten}") for ten in tens for head in (1, 2, 5)]
    at = [tick for tick in every if low <= np.log10(tick) <= high]
    if np.log10(at[-1] / max(named)) > 0.5:  # there is room for its number
        named[at[-1]] = f"{at[-1]:g}"
    return {"tickvals": at, "ticktext": [named.get(tick, "") for tick in at]}


def _away(cosine: Point) -> Point:
    """1 less a cosine; its interval is the other way round."""
    low, high = (cosine.value if e is None else e for e in (cosine.low, cosine.high))
    value, nearest, farthest = (max(1 - e, DIGITS) for e in (cosine.value, high, low))
    return Point(value, nearest, farthest)


def _rows(
    of: Mapping[str, Point], order: Sequence[str], legend: Legend, x: Mapping[str, Any], marked: str
) -> go.Figure:
    """A panel: a row for each run of ``order``, a point for those that have a number."""
    traces = [at_row(run, p, order.index(run), legend, 8, 3) for run, p in of.items()]
    y = run_axis(order, legend, marked) | {"showticklabels": len(order) <= MOST_NAMED}
    lines = [at_marked(of[marked].value, legend)] if marked in of else []
    shapes = [*row_bands(len(order), legend.ground), *lines]
    height = 70 + (20 if len(order) <= MOST_NAMED else 9) * len(order)
    return dressed(traces, legend.ground, height, shapes=shapes, xaxis=dict(x), yaxis=y)
