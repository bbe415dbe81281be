"""Differences with their intervals: a panel for each response, a row for each difference, a point
for each data set.
"""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from grace_geom.plots.palette import LIGHT, Ground, of_sets
from grace_geom.plots.panels import Point
from grace_geom.plots.style import dress, from_zero, plain_html, unbroken

MARKERS = ("circle", "square", "diamond", "triangle-up", "star", "cross")
ROW = 26
"""Pixels a row and data set need at least."""
_LINE, _LETTERS = 15, 90
"""Pixels of a line of the note, and its letters at most."""
_MOST, _SIDE = 6, 0.2
"""Ticks of a panel at most; share of its axis from which a side of 0 has a tick."""

Differences = Mapping[str, Mapping[str, Point]]
"""Response -> difference -> its value and interval."""


def forest(found: Mapping[str, Differences], ground: Ground = LIGHT, note: str = "") -> go.Figure:
    """Draw differences around a line at 0.

    Args:
        found: Data set -> its differences, in points. All have the same responses and differences.
            ``_`` in the name of a difference is a space, and lowers what follows a single capital.
        ground: Light or dark.
        note: Plain text below everything, small: what points and bars are.
    """
    responses = list(next(iter(found.values())))
    heads = list(next(iter(next(iter(found.values())).values())))
    colors = of_sets(found, ground)
    figure = make_subplots(
        1, len(responses), shared_yaxes=True, horizontal_spacing=0.12 / len(responses)
    )
    high = 110 + len(heads) * max(ROW, 11 * len(found))
    dress(figure, ground, high)
    for i, response in enumerate(responses, start=1):
        for k, (name, differences) in enumerate(found.items()):
            offset = (k - (len(found) - 1) / 2) * 0.72 / max(len(found), 3)
            points = [differences[response][head] for head in heads]
            figure.add_scatter(
                **_bars(points, heads, offset, colors[name]), row=1, col=i,
                name=plain_html(name), legendgroup=name, showlegend=i == 1 and len(found) > 1,
                marker={"color": colors[name], "symbol": MARKERS[k % len(MARKERS)], "size": 8},
            )  # fmt: skip
        for j in range(0, len(heads), 2):
            figure.add_hrect(
                y0=j - 0.5, y1=j + 0.5, fillcolor=ground.band, line_width=0, layer="below",
                row=1, col=i,
            )  # fmt: skip
        figure.add_vline(
                x=0, line={"color": ground.muted, "width": 1}, layer="below", row=1, col=i
            )  # fmt: skip
        ends = [e for d in found.values() for p in d[response].values()
                for e in (p.value, p.low, p.high)]  # fmt: skip
        title = f"{plain_html(response)} (points)"
        figure.update_xaxes(title_text=title, zeroline=False, row=1, col=i, **_axis(ends))
    figure.update_yaxes(
        range=[len(heads) - 0.5, -0.5], showgrid=False, ticks="",
        tickvals=list(range(len(heads))), ticktext=[_written(head) for head in heads],
    )  # fmt: skip
    _below(figure, note, ground)
    return figure


def _axis(ends: Sequence[float | None]) -> dict[str, Any]:
    """Range and ticks around 0: at least three numbers, and one on each side that data reach."""
    low, high = from_zero(ends)
    long, known = high - low, [0.0, *(e for e in ends if e is not None and math.isfinite(e))]
    need = [-int(min(known) < -_SIDE * long), int(max(known) > _SIDE * long)]
    ten = 10.0 ** math.floor(math.log10(long))
    for step in (ten * head for head in (5, 4, 3, 2, 1, 0.5, 0.4, 0.3, 0.2, 0.1)):
        first, last = math.ceil(low / step), math.floor(high / step)
        if first <= need[0] and last >= need[1] and last - first >= 2:
            break
    if last - first >= _MOST:  # one side is much shorter: rather fewer numbers than crowded ones
        first, last, step = math.ceil(first / 2), math.floor(last / 2), 2 * step
    ticks = [round(k * step, 9) for k in range(first, last + 1)]
    return {"range": [low, high], "tickvals": ticks, "tickangle": 0}


def _written(head: str) -> str:
    """``at: W_pert − W`` with a lowered ``pert``; other underscores are spaces."""
    lowered = re.sub(r"\b([A-Z])_([^\W_]+)", r"\1<sub>\2</sub>", plain_html(head))
    return lowered.replace("_", " ")


def _below(figure: go.Figure, note: str, ground: Ground) -> None:
    """The note, in lines, with room for them."""
    lines = textwrap.wrap(unbroken(note), _LETTERS, break_on_hyphens=False)
    if not lines:
        return
    figure.update_layout(
        height=figure.layout.height + _LINE * len(lines), margin_b=60 + _LINE * len(lines)
    )
    figure.add_annotation(
        text="<br>".join(map(plain_html, lines)), showarrow=False, align="left",
        x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top", yshift=-50,
        font={"size": 11, "color": ground.muted},
    )  # fmt: skip


def _bars(
    points: Sequence[Point], heads: Sequence[str], offset: float, color: str
) -> dict[str, object]:
    values = np.array([p.value for p in points])
    low, high = (np.array([getattr(p, end) for p in points], float) for end in ("low", "high"))
    return {
        "x": values,
        "y": [j + offset for j in range(len(heads))],
        "mode": "markers",
        "error_x": {
            "type": "data", "symmetric": False, "color": color, "thickness": 1.2, "width": 0,
            "array": high - values, "arrayminus": values - low,
        },
        "customdata": np.stack([low, high], axis=1),
        "hovertemplate": "%{x:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]<extra></extra>",
    }  # fmt: skip
