"""Any number of a run against any other: points with intervals on both axes, linear, logarithmic or
probit, with a fitted line and its band; and runs as lines across parallel axes.
"""

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from scipy.special import ndtr, ndtri

from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground, of_sets
from grace_geom.plots.placing import add_leaders, label_at, place_labels
from grace_geom.plots.shift import ENDS, TICKS
from grace_geom.plots.style import dressed, faint, plain_html, see_through
from grace_geom.plots.texts import begun
from grace_geom.plots.variants import LONG, fitted, too_long
from grace_geom.records import Estimate
from grace_geom.records.fit import Fit
from grace_geom.records.numbers import Datum

Scale = Literal["linear", "log", "probit"]
MOST_LABELS = 14
SIZE, NARROW = (760, 330), 300
"""Width and height inside of the axes, in pixels, and the width on a telephone."""
PITCH, TITLE = 72, 11
"""Pixels between two parallel axes at the least, and letters of a line of their titles."""
COPIES = (0, -0.7, 0.7)
"""Pixels by which a line of parallel axes is drawn beside itself: plotly's are a pixel thick."""
HALO = [(x, y) for x in (-3, -1, 1, 3) for y in (-2, 0, 2)]
"""Pixels by which a number of parallel axes is drawn beside itself in the ground's colour, below
itself: no line goes through it.
"""


@dataclass(frozen=True)
class Axis:
    """One axis: what stands on it, and how values become places.

    Attributes:
        title: Of the axis.
        scale: ``probit`` only for shares of 1.
        share: Whether values are shares of 1, shown in percent.
    """

    title: str
    scale: Scale = "linear"
    share: bool = False

    def place(self, value: float) -> float | None:
        """Where a value stands; ``None`` where it has no place, as 0 on a logarithmic axis."""
        if self.scale == "log":
            return math.log10(value) if value > 0 else None
        if self.scale == "probit":
            return float(ndtri(min(max(value, ENDS[0]), ENDS[1])))
        return 100 * value if self.share else value

    def back(self, place: float) -> float:
        """The value that stands at a place."""
        if self.scale == "log":
            return float(10**place)
        if self.scale == "probit":
            return float(ndtr(place))
        return place / 100 if self.share else place

    def spot(self, number: Datum) -> Estimate | None:
        """Place and interval of a number; a missing or placeless end is the place itself."""
        at = self.place(number.value)
        if at is None:
            return None
        ends = [None if end is None else self.place(end) for end in (number.low, number.high)]
        low, high = (at if end is None else end for end in ends)
        return Estimate(at, 0.0, low, high)

    def settings(self, span: Sequence[float]) -> dict[str, Any]:
        """Title, range and ticks for plotly, whose axis is linear in places."""
        plain = {"title": {"text": plain_html(self.title)}, "range": list(span)}
        if self.scale == "probit":
            shares = _shares(span)
            texts = [f"{100 * t:.4g}" for t in shares]
            return plain | {"tickvals": [float(ndtri(t)) for t in shares], "ticktext": texts}
        if self.scale == "log":
            values = _decades(span)
            texts = [f"{100 * v:g}" if self.share else f"{v:g}" for v in values]
            return plain | {"tickvals": [math.log10(v) for v in values], "ticktext": texts}
        return plain | {"nticks": 8}

    def told(self, number: Datum) -> str:
        """The number with its interval, for a pointer."""
        factor, unit = (100, " %") if self.share else (1, "")
        ends = "" if number.low is None or number.high is None else (
            f" [{factor * number.low:.4g}, {factor * number.high:.4g}]"
        )  # fmt: skip
        return f"{factor * number.value:.4g}{unit}{ends}"


def _shares(span: Sequence[float]) -> list[float]:
    """Shares for a probit axis: the usual ones, and more where the range is narrow."""
    finer = ([k / n for k in range(1, n)] for n in (20, 50, 100, 200))
    for ticks in (TICKS, *finer):
        inside = [t for t in ticks if span[0] <= float(ndtri(t)) <= span[1]]
        if len(inside) >= 4:
            return inside
    return list(TICKS)


def _decades(span: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, ... in the range, fewer where it is wide and more where it is narrow."""
    low, high = math.floor(span[0]), math.ceil(span[1])
    wide = span[1] - span[0]
    steps = (1, 1.5, 2, 3, 4, 5, 7) if wide < 1 else (1, 2, 5) if wide < 3 else (1,)
    return [
        step * 10.0**power
        for power in range(low, high + 1)
        for step in steps
        if span[0] <= math.log10(step) + power <= span[1]
    ]


Points = Mapping[str, tuple[Datum, Datum]]


def places(points: Points, x: Axis, y: Axis) -> dict[str, tuple[float, float]]:
    """Where each run stands; those without a place on an axis are left out."""
    known = {run: (x.place(a.value), y.place(b.value)) for run, (a, b) in points.items()}
    return {run: (a, b) for run, (a, b) in known.items() if a is not None and b is not None}


def labels(names: Mapping[str, str]) -> dict[str, str]:
    """What stands beside each point, long names shortened; empty where there are too many names, or
    most are long, and a legend tells the points.

    Args:
        names: Run -> name.
    """
    long = sum(too_long([name]) for name in names.values())
    if len(names) > MOST_LABELS or 2 * long > len(names):
        return {}
    return fitted(names, LONG)


@dataclass(frozen=True)
class Drawn:
    """What stands on a scatter beside its points.

    Attributes:
        line: In places of the axes; ``None`` for no line.
        hollow: Runs that the line goes through, where it does not go through all.
        colors: Run -> colour, where colours do not mean runs.
        diagonal: Whether ``y = x`` is drawn.
    """

    line: Fit | None = None
    hollow: Collection[str] = ()
    colors: Mapping[str, str] = field(default_factory=dict)
    diagonal: bool = False


def scatter(
    points: Points, legend: Legend, x: Axis, y: Axis, drawn: Drawn | None = None
) -> go.Figure | None:
    """Two numbers of each run against each other with their 95 % intervals.

    Args:
        points: Both numbers of each run.
        legend: Name and look of each.
        x, y: The axes.
        drawn: Line and colours.

    Returns:
        ``None`` where no run has a place.
    """
    drawn = drawn or Drawn()
    known = {run: (x.spot(a), y.spot(b)) for run, (a, b) in points.items()}
    spots = {run: (a, b) for run, (a, b) in known.items() if a is not None and b is not None}
    if not spots:
        return None
    spans = [_span([pair[i] for pair in spots.values()], axis) for i, axis in enumerate((x, y))]
    traces = [] if drawn.line is None else _line(drawn.line, spans, legend.ground)
    if drawn.diagonal:
        ends = [max(spans[0][0], spans[1][0]), min(spans[0][1], spans[1][1])]
        traces.append({
            "type": "scatter", "x": ends, "y": ends, "mode": "lines", "name": "equal on both",
            "line": {"color": legend.ground.muted, "width": 1, "dash": "dot"}, "hoverinfo": "skip",
        })  # fmt: skip
    names = labels({run: legend.names[run] for run in spots})
    scaled = {run: (_hundredth(a), _hundredth(b)) for run, (a, b) in spots.items()}
    line = [] if drawn.line is None else [
        (float(at), drawn.line.at(float(at))[0]) for at in np.linspace(spans[0][0], spans[0][1], 90)
    ]  # fmt: skip
    written = place_labels(scaled, names, spans, SIZE, line=line, narrow=NARROW)
    for run, (a, b) in spots.items():
        told = f"{plain_html(x.title)}: {x.told(points[run][0])}<br>{plain_html(y.title)}: {y.told(points[run][1])}"
        name = plain_html(legend.names[run])
        place = written.get(run, ""), plain_html(names.get(run, ""))
        point = _point(run, (a, b), place, legend, drawn)
        traces.append(point | {"hovertemplate": f"<b>{name}</b><br>{told}<extra></extra>"})
    axes = {"xaxis": x.settings(spans[0]), "yaxis": y.settings(spans[1])}
    figure = dressed(traces, legend.ground, SIZE[1] + 70, **axes, showlegend=False)
    middles = {run: (a.value, b.value) for run, (a, b) in spots.items()}
    add_leaders(figure, written, middles, names, legend.ground)
    return figure


def _point(
    run: str, spot: tuple[Estimate, Estimate], place: tuple[str, str], legend: Legend, drawn: Drawn
) -> dict[str, Any]:
    """Of one run; where its words stand and what they are, both empty where it has none."""
    look, (where, words) = legend.looks[run], place
    color = drawn.colors.get(run, look.color)
    symbol = look.marker + "-open" * (run in drawn.hollow)
    return {
        "type": "scatter", "x": [spot[0].value], "y": [spot[1].value],
        "name": plain_html(legend.names[run]),
        "mode": "markers+text" if where else "markers", **label_at(where or "top center", words),
        "textfont": {"color": legend.ground.text, "size": 13}, "cliponaxis": False,
        "marker": {"color": color, "symbol": symbol, "size": 11},
        "error_x": _bars(spot[0], color), "error_y": _bars(spot[1], color),
    }  # fmt: skip


def _hundredth(spot: Estimate) -> Estimate:
    """Names are placed by percents."""
    return Estimate(spot.value / 100, 0.0, spot.low / 100, spot.high / 100)


def _span(spots: Sequence[Estimate], axis: Axis) -> list[float]:
    """Range of an axis with room for names; of shares little more than 0 to 100 %."""
    low, high = min(s.low for s in spots), max(s.high for s in spots)
    room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    if axis.share and axis.scale == "linear":
        return [max(low - room, -4.0), min(high + room, 104.0)]
    return [low - room, high + room]


def _bars(spot: Estimate, color: str) -> dict[str, Any]:
    return {
        "type": "data", "symmetric": False, "color": faint(color), "thickness": 1.2, "width": 0,
        "array": [spot.high - spot.value], "arrayminus": [spot.value - spot.low],
    }  # fmt: skip


def _line(line: Fit, spans: Sequence[Sequence[float]], ground: Ground) -> list[dict[str, Any]]:
    """A fitted line above its band."""
    xs = np.linspace(spans[0][0], spans[0][1], 60)
    middle, low, high = (
        np.clip(column, spans[1][0], spans[1][1])
        for column in zip(*(line.at(float(x)) for x in xs), strict=True)
    )
    inside = (middle > spans[1][0]) & (middle < spans[1][1])
    band = {
        "x": [*xs, *xs[::-1]], "y": [*low, *high[::-1]], "name": "95 % band", "fill": "toself",
        "fillcolor": see_through(ground.muted, 0.15), "line": {"width": 0},
    }  # fmt: skip
    middle_line = {
        "x": xs[inside], "y": middle[inside], "name": "line",
        "line": {"color": ground.muted, "width": 1.6},
    }  # fmt: skip
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    return [common | band, common | middle_line]


def colors_of(values: Mapping[str, float | str], ground: Ground) -> dict[str, str]:
    """A colour for each value: of numbers along a scale, else one a name. Value as text -> colour.

    Args:
        values: Run -> value of a setting.
        ground: Light or dark.
    """
    numbers = sorted({v for v in values.values() if not isinstance(v, str)})
    names = sorted({v for v in values.values() if isinstance(v, str)})
    if names:
        every = [*map(str, numbers), *names]
        found = of_sets(every, ground)
        return {name: found[name] for name in every}
    ends = (0.15, 0.75) if ground.name == "light" else (0.35, 1.0)
    shares = np.linspace(*ends, len(numbers))
    scale = sample_colorscale("Viridis", [float(share) for share in shares])
    return {str(v): _hex(color) for v, color in zip(numbers, scale, strict=True)}


def _hex(color: str) -> str:
    """``rgb(1, 2, 3)`` as ``#010203``."""
    channels = color.removeprefix("rgb(").removesuffix(")").split(",")
    return "#" + "".join(f"{round(float(part)):02X}" for part in channels)


@dataclass(frozen=True)
class Column:
    """One of the parallel axes.

    Attributes:
        title: Above it.
        values: Run -> number, or a text where a setting is one.
        share: Whether numbers are shares of 1, shown in percent.
        few: Whether each value has a tick, in order and equally far apart, as of a setting; a run
            without one stands at a dash.
    """

    title: str
    values: Mapping[str, float | str]
    share: bool = False
    few: bool = False


def parallel(columns: Sequence[Column], runs: Sequence[str], legend: Legend) -> go.Figure | None:
    """Each run as a line across the columns in its colour; the first axis has the names. Dragging
    along an axis keeps the runs of that range.

    Returns:
        ``None`` with fewer than two runs or columns. Every run must have a value in columns that
        are not ``few``.
    """
    if len(runs) < 2 or len(columns) < 2:
        return None
    n = len(runs)
    shades = [
        [end, legend.looks[run].color] for i, run in enumerate(runs) for end in (i / n, (i + 1) / n)
    ]
    short = fitted({run: legend.names[run] for run in runs}, LONG)
    names = {
        "label": "", "values": list(range(n)), "tickvals": list(range(n)), "range": [-0.5, n - 0.5],
        "ticktext": [plain_html(short[run]) for run in runs],
    }  # fmt: skip
    heads = [textwrap.wrap(begun(c.title), TITLE, break_long_words=False) for c in columns]
    above, inner = max(map(len, heads)) <= 2, max(256, 24 * n + 22)  # more would lie over the axes
    every = [_dimension(c, runs) | {"label": "<br>".join(map(plain_html, head))}
             for c, head in zip(columns, heads, strict=True)]  # fmt: skip
    color = len(COPIES) * [i + 0.5 for i in range(n)]
    lines = {
        "type": "parcoords",
        "meta": n,
        "line": {"color": color, "colorscale": shades, "cmin": 0, "cmax": n},
        "dimensions": [_thick(dimension, inner) for dimension in (names, *every)],
        "labelfont": {"size": 12, "color": legend.ground.text},
        "labelside": "top" if above else "bottom",
        "tickfont": {
            "size": 12,
            "color": legend.ground.text,
            "shadow": ", ".join(f"{x}px {y}px 1px {legend.ground.paper}" for x, y in HALO),
        },
        "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
    }
    longest = max(map(len, short.values()))
    titles = 28 + 17 * max(map(len, heads))  # plotly begins 28 pixels from the axes
    margin = {
        "l": 20 + 7 * longest,
        "r": 50,
        "t": 50 if above else 20,
        "b": 24 if above else titles,
    }
    return dressed([lines], legend.ground, inner + margin["t"] + margin["b"], margin=margin)


def parallel_width(figure: go.Figure) -> int:
    """Pixels that parallel axes need for their titles to clear each other."""
    margin = figure.layout.margin
    return int(margin.l + margin.r + PITCH * (len(figure.data[0].dimensions) - 1))


def _thick(dimension: dict[str, Any], height: float) -> dict[str, Any]:
    """An axis with each line as often as :data:`COPIES` says, the first where it belongs."""
    values = np.asarray(dimension["values"], float)
    low, high = float(values.min()), float(values.max())
    room = 0.03 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = dimension.get("range") or (low - room, high + room)
    pixel = (high - low) / height
    every = np.concatenate([values + shift * pixel for shift in COPIES])
    return dimension | {"values": every, "range": [low, high]}


def _dimension(column: Column, runs: Sequence[str]) -> dict[str, Any]:
    if not column.few:
        factor = 100 if column.share else 1
        values = [factor * float(column.values[run]) for run in runs]
        return {"values": values, "tickformat": ".4~g"}
    there = {column.values[run] for run in runs if run in column.values}
    numbers = sorted(value for value in there if not isinstance(value, str))
    order = [*numbers, *sorted(value for value in there if isinstance(value, str))]
    texts = [value if isinstance(value, str) else f"{value:.4g}" for value in order]
    missing = any(run not in column.values for run in runs)
    at = {value: i + missing for i, value in enumerate(order)}
    texts = [*(["\u2013"] if missing else []), *texts]
    return {
        "values": [at.get(column.values.get(run), 0) for run in runs],
        "tickvals": list(range(len(texts))), "ticktext": [plain_html(text) for text in texts],
        "range": [-0.5, len(texts) - 0.5],
    }  # fmt: skip
