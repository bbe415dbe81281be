"""Two accuracies against each other, with a name at every point and the Pareto front."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground, Look
from grace_geom.plots.placing import LINE, Point, add_leaders, label_at, place_labels
from grace_geom.plots.style import dress, dressed, faint, plain_html, see_through
from grace_geom.plots.variants import too_long
from grace_geom.records import Estimate

_MOST_LABELS = 14
_MOST_NUMBERS = 24  # that stand at points; of more, only the front has some
_MOST_NAMES = 10  # in panels side by side; of more, numbers stand at the points
_FRONT, _RINGED = "Pareto front", "not beaten in both"
SIZE = (420, 360)
"""Width and height of a plot on a page of two columns, in pixels."""


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that no other beats in both numbers (higher is better), best ``x`` first; equals stay
    together.
    """
    front: list[str] = []
    best = -math.inf
    for name, (x, y) in sorted(points.items(), key=lambda item: (-item[1][0], -item[1][1])):
        if y > best or (front and points[front[-1]] == (x, y)):
            front.append(name)
            best = y
    return front


def tradeoff(
    estimates: Mapping[str, Mapping[str, Estimate | None]],
    legend: Legend,
    x: str,
    y: str,
    titles: tuple[str, str],
    size: tuple[int, int] = SIZE,
    numbers: Mapping[str, str] | None = None,
    singles: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> go.Figure | None:
    """Two columns of the summary against each other, in percent, with 95 % intervals.

    Runs that no other beats in both are ringed and joined by the steps of the Pareto front; names
    stand at the points. Of very many points only those of the front have names and bars.

    Args:
        estimates: Columns of the summary of each run; those without both are left out.
        legend: Name and look of each run.
        x, y: Columns.
        titles: Of the axes.
        size: Width and height inside of the axes, in pixels.
        numbers: What stands at the points in the place of names, as a table beside it has it.
        singles: Mean -> the points of its seeds, in [0, 1], drawn small and faint.

    Returns:
        ``None`` where no run has both columns.
    """
    points = _points(estimates, x, y)
    if not points:
        return None
    seeds = {run: singles[run] for run in points if singles and singles.get(run)}
    traces, axes, led = _panel(points, legend, (x, y), titles, size, numbers or {}, seeds)
    figure = dressed(traces, legend.ground, size[1] + 70, xaxis=axes[0], yaxis=axes[1])
    add_leaders(figure, *led, legend.ground)
    return figure


def tradeoffs(
    estimates: Mapping[str, Mapping[str, Estimate | None]],
    legend: Legend,
    x: tuple[str, str],
    ys: Sequence[tuple[str, str]],
    size: tuple[int, int] = (320, 270),
    note: str = "",
) -> go.Figure | None:
    """Several columns against one, as panels side by side of :func:`tradeoff`, with a legend that
    says what rings and steps mean.

    Args:
        estimates: Columns of the summary of each run.
        legend: Name and look of each run.
        x: Column and title of the horizontal axis.
        ys: Column and title of each panel; those without two points are left out.
        size: Width and height that a panel will have inside of its axes, in pixels.
        note: Plain text below everything, small.

    Where names are long or many, numbers stand at the points and behind them in the legend.

    Returns:
        ``None`` where no panel has two points.
    """
    known = [(y, points) for y in ys if len(points := _points(estimates, x[0], y[0])) > 1]
    if not known:
        return None
    figure = make_subplots(1, len(known), horizontal_spacing=0.3 / len(known))
    whole = "; ".join(part for part in (note, legend.said.removesuffix(".")) if part)
    lines = textwrap.wrap(whole, 130, break_on_hyphens=False)
    drawn = list(dict.fromkeys(run for _, points in known for run in points))
    crowded = _MOST_NAMES < len(drawn) <= _MOST_LABELS
    many = crowded or too_long(legend.names[run] for run in drawn)
    numbers = {run: str(i) for i, run in enumerate(drawn, 1)} if many else {}
    keyed = LINE * math.ceil(len(numbers) / 2)
    dress(figure, legend.ground, size[1] + 100 + keyed + LINE * len(lines), showlegend=True)
    for i, ((column, title), points) in enumerate(known, 1):
        at = {"row": 1, "col": i}
        traces, axes, led = _panel(points, legend, (x[0], column), (x[1], title), size, numbers)
        where = {f"{key}s": [place] * len(traces) for key, place in at.items()}
        figure.add_traces(traces, **where)  # at once: plotly looks at all of them after each
        figure.update_xaxes(axes[0], **at).update_yaxes(axes[1], **at)
        add_leaders(figure, *led, legend.ground, at)
    for name in (_FRONT, _RINGED, *(named(legend.names[r], n) for r, n in numbers.items())):
        next(t for t in figure.data if t.name == name).showlegend = True
    figure.update_layout(legend={"itemsizing": "constant"})
    if lines:
        figure.add_annotation(
            text="<br>".join(map(plain_html, lines)), showarrow=False, align="left",
            x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top", yshift=-50,
            font={"size": 11, "color": legend.ground.muted},
        ).update_layout(margin={"b": 55 + LINE * len(lines)})  # fmt: skip
    return figure


def _points(
    estimates: Mapping[str, Mapping[str, Estimate | None]], x: str, y: str
) -> dict[str, Point]:
    return {
        run: (a, b)
        for run, columns in estimates.items()
        if (a := columns.get(x)) and (b := columns.get(y))
    }


_Led = tuple[Mapping[str, str], Mapping[str, tuple[float, float]], Mapping[str, str]]
"""Places of names, their points and the names, as :func:`add_leaders` takes them."""


def _panel(
    points: Mapping[str, Point],
    legend: Legend,
    columns: tuple[str, str],
    titles: tuple[str, str],
    size: tuple[int, int],
    numbers: Mapping[str, str],
    singles: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], _Led]:
    """Traces, settings of both axes, and where names stand."""
    every = [at for some in (singles or {}).values() for at in some]
    spans = [span([p[i] for p in points.values()], [at[i] for at in every]) for i in (0, 1)]
    front = pareto({run: (a.value, b.value) for run, (a, b) in points.items()})
    shown = list(points) if len(points) <= _MOST_LABELS else front
    shown = list(points) if numbers and len(points) <= _MOST_NUMBERS else shown
    names = {run: numbers.get(run, legend.names[run]) for run in shown}
    places = place_labels(points, names, spans, size, front)
    traces = [_seeds(at, legend.looks[run]) for run, at in (singles or {}).items()]
    for run, (a, b) in points.items():
        back = len(points) > _MOST_NUMBERS and run not in front
        style, text = legend.looks[run], plain_html(legend.names[run])
        traces.append({
            "type": "scatter", "name": named(legend.names[run], numbers.get(run, "")),
            "showlegend": False, "cliponaxis": False,
            "x": [100 * a.value], "y": [100 * b.value],
            "mode": "markers+text" if run in places else "markers",
            **label_at(places.get(run, "top center"), plain_html(names.get(run, ""))),
            "textfont": {"color": legend.ground.text, "size": 13},
            "marker": {"symbol": style.marker, "size": 7 if back else 11,
                       "color": see_through(style.color, 0.5) if back else style.color},
            "error_x": {} if back else _bars(a, style.color),
            "error_y": {} if back else _bars(b, style.color),
            "customdata": [[100 * a.low, 100 * a.high, 100 * b.low, 100 * b.high]],
            "hovertemplate": f"<b>{text}</b><br>{columns[0]} %{{x:.1f}} [%{{customdata[0]:.1f}}, "
            f"%{{customdata[1]:.1f}}]<br>{columns[1]} %{{y:.1f}} [%{{customdata[2]:.1f}}, "
            f"%{{customdata[3]:.1f}}]<extra></extra>",
        })  # fmt: skip
    traces += _front([points[run] for run in front], spans, legend.ground)
    axes = [{"title": {"text": t}, "range": ends} for t, ends in zip(titles, spans, strict=True)]
    middles = {run: (100 * a.value, 100 * b.value) for run, (a, b) in points.items()}
    return traces, axes, (places, middles, names)


def _seeds(at: Sequence[tuple[float, float]], style: Look) -> dict[str, Any]:
    """Points of the seeds of a mean, which is drawn over them."""
    return {
        "type": "scatter", "mode": "markers", "name": "single seeds", "showlegend": False,
        "x": [100 * x for x, _ in at], "y": [100 * y for _, y in at], "hoverinfo": "skip",
        "marker": {"color": see_through(style.color, 0.35), "symbol": style.marker, "size": 6},
    }  # fmt: skip


def named(name: str, number: str) -> str:
    """A name in the legend, behind the number that stands at its point."""
    return plain_html(f"{number}: {name}" if number else name)


def _front(
    front: Sequence[Point], spans: Sequence[list[float]], ground: Ground
) -> list[dict[str, Any]]:
    """The steps of the Pareto front, and rings around its points."""
    xs, ys = [100 * a.value for a, _ in front], [100 * b.value for _, b in front]
    steps = {
        "mode": "lines", "name": _FRONT, "x": [xs[0], *xs, spans[0][0]],
        "y": [spans[1][0], *ys, ys[-1]],
        "line": {"shape": "hv", "color": ground.muted, "width": 1.6, "dash": "dot"},
    }  # fmt: skip
    ring = {"size": 21, "symbol": "circle-open", "color": ground.muted, "line": {"width": 1.2}}
    rings = {"mode": "markers", "name": _RINGED, "x": xs, "y": ys, "marker": ring}
    common = {"type": "scatter", "hoverinfo": "skip", "showlegend": False}
    return [common | steps, common | rings]


def span(estimates: Sequence[Estimate], more: Sequence[float] = ()) -> list[float]:
    """Range of an axis, in percent: all intervals and ``more`` points, and room for names at both
    ends.
    """
    low = min(*(e.low for e in estimates), *more, 1.0)
    high = max(*(e.high for e in estimates), *more, 0.0)
    room = 0.12 * max(high - low, 0.02)
    return [
        max(100 * (low - room), -4.0),
        min(100 * (high + room), 104.0),
    ]  # intervals over few seeds go further


def _bars(e: Estimate, color: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (e.high - e.value)],
        "arrayminus": [100 * (e.value - e.low)],
        "color": faint(color),
        "thickness": 1.2,
        "width": 0,
    }
