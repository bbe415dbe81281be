"""Names at the ends of lines, where there is room for them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.cells import CHROME
from grace_geom.plots.legend import Legend
from grace_geom.plots.style import plain_html, see_through
from grace_geom.plots.variants import fitted

LETTERS = 16
"""Of a name at the end of a line, about."""
LINE = 13
"""Pixels from one name to the next."""
BEFORE, AWAY, ROOM = 0.03, 0.07, 0.36
"""Shares of the lines' width: room before the first point, from the last point to the names, and
from there to the end of the axis.
"""


def name_ends(figure: go.Figure, legend: Legend, behind: Collection[str] = ()) -> go.Figure:
    """Write behind the end of each line which run it is, and make room for that on the horizontal
    axis. Names stand one below the other, as near to the heights of their ends as their number
    allows, and a thin line leads to each. Where there is no room for all, those of lines behind the
    others are left out first: the pointer and the legend have them.

    Args:
        figure: Of :func:`~grace_geom.plots.panels.overlay`, on a linear horizontal axis.
        legend: Name and look of each run.
        behind: Runs whose lines are grey.

    Returns:
        Another figure; the same where there is no line.
    """
    lines = _ends(figure, legend)
    if not lines:
        return figure
    layout = figure.layout
    logarithmic, tall = layout.yaxis.type == "log", float(layout.height or 300) - CHROME
    low, high = layout.yaxis.range or _span(figure, logarithmic)
    scale = tall / ((high - low) or 1.0)
    first = min(float(x) for t in figure.data if t.x is not None for x in t.x)
    last = max(x for x, _ in lines.values())
    wide = (last - first) or 1.0
    names = fitted({run: legend.names[run] for run in lines}, LETTERS)
    order = sorted(lines, key=lambda run: run in behind)[: int(tall / LINE)]
    wanted = {run: scale * (_height(lines[run][1], logarithmic) - low) for run in order}
    traces = []
    for run, pixel in stacked(wanted, tall).items():
        (x, y), level = lines[run], low + pixel / scale
        color = legend.ground.muted if run in behind else legend.looks[run].color
        traces.append({
            "type": "scatter", "mode": "lines+text", "x": [x, last + AWAY * wide],
            "y": [y, 10**level if logarithmic else level],
            "text": ["", f"\u00a0{plain_html(names[run])}"], "textposition": "middle right",
            "textfont": {"size": 11, "color": color}, "cliponaxis": False,
            "line": {"color": see_through(color, 0.6), "width": 0.8},
            "hoverinfo": "skip", "showlegend": False, "legendgroup": run,
            "name": f"{plain_html(legend.names[run])}, at its end",
        })  # fmt: skip
    named = go.Figure([*traces, *figure.data], layout)  # points lie over the thin lines
    named.update_yaxes(range=[low, high])
    return named.update_xaxes(range=[first - BEFORE * wide, last + ROOM * wide])


def stacked(wanted: Mapping[str, float], tall: float) -> dict[str, float]:
    """Heights at least :data:`LINE` apart, half of it from either end, that are together nearest to
    those wanted (least squares, by pooling neighbours that violate their order).

    Args:
        wanted: Name -> height in pixels; no more names than there is room for.
        tall: Pixels that there are.
    """
    order = sorted(wanted, key=lambda name: wanted[name])
    pools: list[list[float]] = []
    for i, name in enumerate(order):
        pools.append([wanted[name] - LINE * i])
        while len(pools) > 1 and _mean(pools[-2]) >= _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    base = [_mean(pool) for pool in pools for _ in pool]
    most = tall - LINE * (len(order) - 0.5)
    return {name: min(max(x, LINE / 2), most) + LINE * i
            for i, (name, x) in enumerate(zip(order, base, strict=True))}  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _ends(figure: go.Figure, legend: Legend) -> dict[str, tuple[float, float]]:
    """Run -> the last point of its line that is drawn."""
    found = {}
    for trace in figure.data:
        line = "lines" in (trace.mode or "") and not trace.fill and trace.hoverinfo != "skip"
        if not line or trace.legendgroup not in legend.looks:
            continue
        x, y = np.asarray(trace.x, float), np.asarray(trace.y, float)
        known = np.flatnonzero(np.isfinite(y))
        if len(known):
            found[trace.legendgroup] = float(x[known[-1]]), float(y[known[-1]])
    return found


def _height(value: float, logarithmic: bool) -> float:
    return float(np.log10(value)) if logarithmic else value


def _span(figure: go.Figure, logarithmic: bool) -> tuple[float, float]:
    """Of the lines, where the vertical axis has no range of its own."""
    every = np.concatenate([np.asarray(t.y, float) for t in figure.data if t.y is not None])
    every = every[np.isfinite(every) & ((every > 0) | (not logarithmic))]
    every = np.log10(every) if logarithmic else every
    margin = 0.05 * float(np.ptp(every)) or 1.0
    return float(every.min()) - margin, float(every.max()) + margin
