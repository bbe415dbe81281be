"""Differences with their intervals: a panel for each response, a row for each difference, a point
for each data set.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from grace_geom.plots.palette import LIGHT, Ground, of_sets
from grace_geom.plots.panels import Point
from grace_geom.plots.style import dress, plain_html

MARKERS = ("circle", "square", "diamond", "triangle-up", "star", "cross")
ROW = 26
"""Pixels a row and data set need at least."""

Differences = Mapping[str, Mapping[str, Point]]
"""Response -> difference -> its value and interval."""


def forest(found: Mapping[str, Differences], ground: Ground = LIGHT) -> go.Figure:
    """Draw differences around a line at 0.

    Args:
        found: Data set -> its differences, in points. All have the same responses and differences.
        ground: Light or dark.
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
        title = f"{plain_html(response)} (points)"
        figure.update_xaxes(title_text=title, zeroline=False, row=1, col=i)
    figure.update_yaxes(
        range=[len(heads) - 0.5, -0.5], showgrid=False, ticks="",
        tickvals=list(range(len(heads))), ticktext=[plain_html(head) for head in heads],
    )  # fmt: skip
    return figure


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
