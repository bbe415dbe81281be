"""OOD accuracy against ID accuracy on probit axes, with the line of models trained without attack
and its band.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.special import ndtr, ndtri

from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground
from grace_geom.plots.placing import add_leaders, label_at, place_labels
from grace_geom.plots.style import dress, faint, plain_html, see_through
from grace_geom.plots.tradeoff import named
from grace_geom.plots.variants import too_long
from grace_geom.records import Estimate
from grace_geom.records.effective import ProbitLine

ENDS = (0.002, 0.998)
"""Accuracies beyond these are drawn at them: 0 and 1 have no place on probit axes."""
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
SIZES = {1: (300, 250), 2: (300, 250), 3: (150, 170)}
"""Width and height of a panel inside of its axes, in pixels, by how many stand in a row."""


@dataclass(frozen=True)
class ShiftPanel:
    """One OOD set.

    Attributes:
        data: Its name.
        line: The line.
        points: Run -> ID and OOD accuracy.
        on_line: Runs that the line goes through; the others are filled.
    """

    data: str
    line: ProbitLine
    points: Mapping[str, tuple[Estimate, Estimate]]
    on_line: Collection[str]


def above_the_line(panels: Sequence[ShiftPanel], legend: Legend) -> go.Figure | None:
    """A panel for each OOD set, two or three side by side, whichever fills the rows: runs with
    their 95 % intervals, the line and its 95 % band. Runs that the line goes through are hollow.

    Args:
        panels: What to draw.
        legend: Name and look of each run.

    Returns:
        ``None`` where there are no panels.
    """
    if not panels:
        return None
    columns = len(panels) if len(panels) < 3 else 2 if len(panels) == 4 else 3
    rows = math.ceil(len(panels) / columns)
    cells = [i < len(panels) for i in range(rows * columns)]
    specs: list[list[dict[str, Any] | None]] = [
        [{} if cells[r * columns + c] else None for c in range(columns)] for r in range(rows)
    ]
    gaps = (0.3 / columns, 0.3 / rows)
    figure = make_subplots(
        rows, columns, horizontal_spacing=gaps[0], vertical_spacing=gaps[1], specs=specs
    )
    drawn = list(dict.fromkeys(run for panel in panels for run in panel.points))
    many = too_long(legend.names[run] for run in drawn)
    numbers = {run: str(i) for i, run in enumerate(drawn, 1)} if many else {}
    height = rows * (SIZES[columns][1] + 75) + 25 + 16 * math.ceil(len(numbers) / 2)
    dress(figure, legend.ground, height, showlegend=many)
    for i, panel in enumerate(panels):
        at = {"row": i // columns + 1, "col": i % columns + 1}
        _draw(figure, panel, legend, SIZES[columns], at, numbers)
    for run, number in numbers.items():
        name = named(legend.names[run], number)
        next(t for t in figure.data if t.name == name).showlegend = True
    if not cells[-1]:
        _add_key(figure, (len(panels) % columns) * (1 + gaps[0]) / columns, legend.ground)
    return figure


def _add_key(figure: go.Figure, left: float, ground: Ground) -> None:
    """What marks and bands mean, where a panel would stand."""
    figure.add_annotation(
        text="Hollow: the line goes through it.<br>Filled: it does not.<br>Band: 95 % of the line."
        "<br>Bars: 95 % intervals.",
        x=left, y=0, xref="paper", yref="paper", xanchor="left", yanchor="bottom", align="left",
        showarrow=False, font={"size": 12, "color": ground.muted},
    )  # fmt: skip


def _draw(
    figure: go.Figure,
    panel: ShiftPanel,
    legend: Legend,
    size: tuple[int, int],
    at: Mapping[str, int],
    numbers: Mapping[str, str],
) -> None:
    places = {run: (_place(a), _place(b)) for run, (a, b) in panel.points.items()}
    spans = [_span([pair[i] for pair in places.values()]) for i in (0, 1)]
    line = _add_line(figure, panel.line, spans[0], legend.ground.muted, at)
    names = {run: numbers.get(run, legend.names[run]) for run in places}
    written = place_labels(places, names, spans, size, line=line)
    for run, (x, y) in places.items():
        style, text = legend.looks[run], plain_html(names[run])
        symbol = style.marker + "-open" * (run in panel.on_line)
        a, b = panel.points[run]
        figure.add_scatter(
            x=[100 * x.value], y=[100 * y.value], mode="markers+text", showlegend=False,
            name=named(legend.names[run], numbers.get(run, "")),
            **label_at(written[run], text),
            textfont={"color": legend.ground.text, "size": 13},
            marker={"color": style.color, "symbol": symbol, "size": 11},
            error_x=_bars(x, style.color), error_y=_bars(y, style.color),
            hovertemplate=f"<b>{text}</b><br>ID {100 * a.value:.1f} %<br>{plain_html(panel.data)} "
            f"{100 * b.value:.1f} %<extra></extra>",
            **at,
        )  # fmt: skip
    middles = {run: (x.value * 100, y.value * 100) for run, (x, y) in places.items()}
    add_leaders(figure, written, middles, names, legend.ground, at)
    ticks = {"tickvals": list(ndtri(TICKS)), "ticktext": [f"{100 * t:g}" for t in TICKS]}
    figure.update_xaxes(title_text="ID (%)", range=spans[0], **ticks, **at)
    title = f"OOD (%), {plain_html(panel.data)}"
    figure.update_yaxes(title_text=title, range=spans[1], **ticks, **at)


def _add_line(
    figure: go.Figure, line: ProbitLine, span: Sequence[float], color: str, at: Mapping[str, int]
) -> list[tuple[float, float]]:
    """Draw the line and its band; returns its points."""
    xs = np.linspace(span[0], span[1], 60)
    middle, low, high = (
        ndtri(np.clip(column, 1e-6, 1 - 1e-6))
        for column in zip(*(line.at(float(ndtr(x))) for x in xs), strict=True)
    )
    figure.add_scatter(
        x=[*xs, *xs[::-1]], y=[*low, *high[::-1]], mode="lines", fill="toself", name="95 % band",
        fillcolor=see_through(color, 0.15), line={"width": 0}, hoverinfo="skip", **at,
    )  # fmt: skip
    figure.add_scatter(
        x=xs, y=middle, mode="lines", name="line", line={"color": color, "width": 1.6},
        hoverinfo="skip", **at,
    )  # fmt: skip
    return [(float(x), float(y)) for x, y in zip(xs, middle, strict=True)]


def _place(e: Estimate) -> Estimate:
    """On probit axes; a hundredth of it, as names are placed by percents."""
    value, low, high = (float(ndtri(np.clip(x, *ENDS))) / 100 for x in (e.value, e.low, e.high))
    return Estimate(value, e.error, low, high)


def _span(places: Sequence[Estimate]) -> list[float]:
    low, high = 100 * min(p.low for p in places), 100 * max(p.high for p in places)
    room = 0.12 * max(high - low, 0.1)
    return [low - room, high + room]


def _bars(place: Estimate, color: str) -> dict[str, Any]:
    return {
        "type": "data", "symmetric": False, "color": faint(color), "thickness": 1.2, "width": 0,
        "array": [100 * (place.high - place.value)],
        "arrayminus": [100 * (place.value - place.low)],
    }  # fmt: skip
