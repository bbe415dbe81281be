"""Small multiples: lines with bands, and rows of points. Plain functions of numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.style import dressed, from_zero, plain_html, row_bands, see_through
from grace_geom.plots.variants import LONG, fitted
from grace_geom.records import Finding

MOST_POINTS = 2000
MOST_HIGH = 6
"""Rows that have much air; more of them stand closer, so that two figures fit into a screen."""
Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes:
        x, y: ``(n,)``; over ``MOST_POINTS`` are thinned, both ends kept.
        low, high: Ends of a band, or ``None``.
        names: What the pointer calls each point, plain text; default its ``x``.
        step: Whether ``y`` holds from each ``x`` to the next, and the band with it.
    """

    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    names: Sequence[str] | None = None
    step: bool = False


def overlay(
    curves: Mapping[str, Curve],
    legend: Legend,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    height: int = 290,
    markers: bool = True,
    behind: Collection[str] = (),
) -> go.Figure:
    """One line a run, in its own colour, dash and marker, with bands where there are any.

    Args:
        curves: Run -> line.
        legend: Name and look of each run.
        x, y: Settings of the axes.
        height: In pixels.
        markers: Whether points are marked.
        behind: Runs whose lines stand back: thin, grey, below the others, without a band.
    """
    traces = [_line_behind(run, curves[run], legend) for run in curves if run in behind]
    curves = {run: curve for run, curve in curves.items() if run not in behind}
    bands = min(0.18, 0.6 / max(len(curves), 1))
    for run, curve in curves.items():
        style, at = legend.looks[run], _thin(len(curve.x))
        xs, ys = np.asarray(curve.x, float)[at], np.asarray(curve.y, float)[at]
        if curve.low is not None and curve.high is not None:
            low, high = np.asarray(curve.low, float)[at], np.asarray(curve.high, float)[at]
            ok = np.isfinite(low) & np.isfinite(high)
            along, low, high = xs[ok], low[ok], high[ok]
            if curve.step:
                along, low, high = (
                    np.repeat(along, 2)[1:],
                    *(np.repeat(e, 2)[:-1] for e in (low, high)),
                )
            traces.append({
                "type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip",
                "x": np.concatenate([along, along[::-1]]), "y": np.concatenate([low, high[::-1]]),
                "fill": "toself", "fillcolor": see_through(style.color, bands),
                "showlegend": False, "legendgroup": run,
                "name": f"{plain_html(legend.names[run])} interval",
            })  # fmt: skip
        named = curve.names
        traces.append({
            "type": "scatter", "x": xs, "y": ys, "name": plain_html(legend.names[run]),
            "mode": "lines+markers" if (markers and len(xs) <= 40) or _alone(ys) else "lines",
            "line": {"color": style.color, "dash": style.dash, "width": 1.8}
            | ({"shape": "hv"} if curve.step else {}), "legendgroup": run,
            "marker": {"symbol": style.marker, "size": 7, "color": style.color},
            "customdata": None if named is None else [plain_html(named[i]) for i in at],
            "hovertemplate": ("%{x:.4g}" if named is None else "%{customdata}") + ": %{y:.4g}",
        })  # fmt: skip
    axes = {"xaxis": dict(x), "yaxis": dict(y)}
    return dressed(traces, legend.ground, height, **axes, showlegend=False)


def _line_behind(run: str, curve: Curve, legend: Legend) -> dict[str, Any]:
    at = _thin(len(curve.x))
    return {
        "type": "scatter", "mode": "lines", "x": np.asarray(curve.x, float)[at],
        "y": np.asarray(curve.y, float)[at], "name": plain_html(legend.names[run]),
        "legendgroup": run, "hovertemplate": "%{x:.4g}: %{y:.4g}",
        "line": {"color": see_through(legend.ground.muted, 0.5), "width": 1}
        | ({"shape": "hv"} if curve.step else {}),
    }  # fmt: skip


def at_the_pointer(curve: Curve, digits: int = 1) -> Curve:
    """The same line without a band, whose points say their intervals at the pointer.

    Args:
        curve: A line.
        digits: Of the ends, after the point.
    """
    if curve.low is None or curve.high is None:
        return curve
    ends = zip(curve.x, curve.low, curve.high, strict=True)
    names = [
        f"{x:.4g} [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else f"{x:.4g}"
        for x, low, high in ends
    ]
    return Curve(curve.x, curve.y, names=names)


def below(
    values: Mapping[str, np.ndarray],
    legend: Legend,
    x: Mapping[str, Any],
    height: int = 290,
    behind: Collection[str] = (),
) -> go.Figure | None:
    """Shares of images at or below a number, in percent, a line a run: no bins to choose, tails
    visible. Each line is the empirical distribution function itself, a step at each image.

    The bands hold the whole line of the population at 95 % (Dvoretzky-Kiefer-Wolfowitz, with
    Massart's constant).

    Args:
        values: Run -> a number of each image; what is not finite is left out.
        legend: Name and look of each run.
        x: Settings of the axis.
        height: In pixels.
        behind: Runs whose lines stand back, see :func:`overlay`.

    Returns:
        ``None`` where no run has a number.
    """
    lines = {}
    for run, array in values.items():
        a = np.sort(np.asarray(array, float)[np.isfinite(array)])
        if len(a):
            share, band = np.arange(len(a) + 1) / len(a), np.sqrt(np.log(2 / 0.05) / 2 / len(a))
            low, high = (100 * np.clip(share + side, 0, 1) for side in (-band, band))
            lines[run] = Curve(np.r_[a[0], a], 100 * share, low, high, step=True)
    if not lines:
        return None
    ends = span([curve.x for curve in lines.values()], 0.03, log=x.get("type") == "log")
    y = {"title": "Images below (%)", "range": [-2, 102]}
    return overlay(lines, legend, {"range": ends} | dict(x), y, height, False, behind)


def _alone(values: np.ndarray) -> bool:
    """Whether a number stands between NaNs, where a line has nothing to draw."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    return bool((known[1:-1] & ~known[:-2] & ~known[2:]).any())


def _thin(n: int) -> np.ndarray:
    return (
        np.unique(np.linspace(0, n - 1, MOST_POINTS).round().astype(int))
        if n > MOST_POINTS
        else np.arange(n)
    )


def span(values: Sequence[Any], room: float = 0.06, log: bool = False) -> list[float] | None:
    """A range that several panels share: everything finite, and a little room; of the logarithm
    where ``log``.
    """
    flat = (
        np.concatenate([np.asarray(v, float).ravel() for v in values]) if values else np.array([])
    )
    flat = flat[np.isfinite(flat) & ((flat > 0) | (not log))]
    if not flat.size:
        return None
    flat = np.log10(flat) if log else flat
    low, high = float(flat.min()), float(flat.max())
    margin = room * (high - low) or 0.1 * abs(high) or 1.0
    return [low - margin, high + margin]


def log_axis(values: Sequence[Any]) -> dict[str, Any]:
    """A logarithmic axis over some numbers with plain ticks at 1, 2 and 5, or at powers of ten over
    three decades.
    """
    ends = span(values, log=True)
    if ends is None:
        return {}
    heads = (
        (1,)
        if ends[1] - ends[0] > 3
        else (1, 2, 5)
        if ends[1] - ends[0] > 0.7
        else tuple(range(1, 10))
    )
    ticks = [
        h * 10.0**t for t in range(int(np.floor(ends[0])), int(np.ceil(ends[1])) + 1) for h in heads
    ]
    words = _numbers(ticks, [t for t in ticks if ends[0] <= np.log10(t) <= ends[1]])
    return {"type": "log", "range": ends, "tickvals": ticks, "ticktext": words}


_HEADS = (
    [1 + i / 10 for i in range(90)], [1 + i / 5 for i in range(45)],
    [1 + i / 2 for i in range(18)], range(1, 10), (1, 2, 5), (1, 3), (1,),
)  # fmt: skip


def log_ticks(low: float, high: float, most: int = 5) -> dict[str, Any]:
    """Ticks of a logarithmic axis of a low panel, where plotly's own lie over each other: as many
    as there is room for, at round numbers.

    Args:
        low, high: Of the axis, as powers of ten.
        most: Ticks.
    """
    tens, ticks = range(int(np.floor(low)), int(np.ceil(high)) + 1), list[float]()
    for heads in _HEADS:
        every = (float(f"{head * 10.0**t:.2g}") for t in tens for head in heads)
        ticks = [tick for tick in every if low <= np.log10(tick) <= high]
        if len(ticks) <= most:
            break
    ticks = ticks[:: -(-len(ticks) // most) or 1]
    return {"tickvals": ticks, "ticktext": _numbers(ticks, ticks)}


LEAST_PLAIN, MOST_PLAIN = 1e-3, 1e5
"""Numbers from the first to below the other are written as they are, unless the axis has others."""


def _numbers(ticks: Sequence[float], seen: Sequence[float]) -> list[str]:
    """Ticks of an axis in one form, by those that are seen."""
    powers = any(not LEAST_PLAIN <= tick < MOST_PLAIN for tick in seen)
    return [_power(tick, powers) for tick in ticks]


def _power(value: float, powers: bool) -> str:
    """``200`` and ``0.005`` as they are, or ``2·10⁻³`` on an axis of powers of ten, which writes
    only 1 to 10 as they are; of a number of at most two digits.
    """
    if not powers or 1 <= value <= 10:
        return f"{float(f'{value:.2g}'):g}"
    head, _, exponent = f"{value:.1e}".partition("e")
    return f"{head.removesuffix('.0')}·10<sup>{int(exponent)}</sup>".removeprefix("1·")


@dataclass(frozen=True)
class Point:
    """A number with its interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


def point(measure: Any) -> Point | None:
    """A ``Measure`` as a point: its interval, or 1.96 standard errors either way; ``None`` where it
    is no number.
    """
    if measure is None or not np.isfinite(measure.value):
        return None
    low, high = measure.low, measure.high
    if low is None and high is None and measure.error is not None:
        low, high = measure.value - 1.96 * measure.error, measure.value + 1.96 * measure.error
    return Point(measure.value, low, high)


def rows(
    points: Mapping[str, Mapping[str, Point]],
    heads: Sequence[str],
    legend: Legend,
    x: Mapping[str, Any],
) -> go.Figure | None:
    """A dot plot: a row for each of ``heads``, a point with its interval for each run (run -> head
    -> point).
    """
    if not any(points.values()):
        return None
    tall = max(30, 10 * len(points) + 8)
    traces, step = list[dict[str, Any]](), min(0.3, 0.8 / max(len(points), 1))
    for i, (run, known) in enumerate(points.items()):
        style, offset = legend.looks[run], (i - (len(points) - 1) / 2) * step
        there = [(j, known[head]) for j, head in enumerate(heads) if head in known]
        values = np.array([p.value for _, p in there])
        low, high = (
            np.array(
                [
                    v if (end := getattr(p, side)) is None else end
                    for v, (_, p) in zip(values, there, strict=True)
                ]
            )
            for side in ("low", "high")
        )
        name = plain_html(legend.names[run])
        traces.append({
            "type": "scatter", "x": values, "y": [j + offset for j, _ in there],
            "mode": "markers", "name": name, "legendgroup": run, "showlegend": False,
            "marker": {"color": style.color, "symbol": style.marker, "size": 8},
            "error_x": {
                "type": "data", "symmetric": False, "array": high - values,
                "arrayminus": values - low, "color": style.color, "thickness": 1.2, "width": 0,
            },
            "customdata": np.stack([low, high], axis=1) if len(values) else None,
            "hovertemplate": f"{name}: %{{x:.4g}} [%{{customdata[0]:.4g}}, "
            f"%{{customdata[1]:.4g}}]<extra></extra>",
        })  # fmt: skip
    y = {
        "range": [len(heads) - 0.5, -0.5],
        "tickvals": list(range(len(heads))),
        "showgrid": False,
        "ticks": "",
        "ticktext": [plain_html(head) for head in heads],
    }
    height, bands = 70 + tall * len(heads), row_bands(len(heads), legend.ground)
    return dressed(traces, legend.ground, height, shapes=bands, xaxis=dict(x), yaxis=y)


def measures(
    found: Sequence[Finding], legend: Legend, key: str, title: str, marked: str = ""
) -> go.Figure | None:
    """One number of an analysis, a row for each run, with its interval where it has one. Rows have
    names, of the long ones begin and end; the pointer tells the whole ones.

    Args:
        found: In the order of the rows.
        legend: Name and look of each run.
        key: Of the number.
        title: Of its axis.
        marked: A run whose name is bold and whose number has a line through all rows.

    Returns:
        ``None`` where no run has the number.
    """
    rows = [(f.run, m) for f in found if (m := f.value(key)) is not None and np.isfinite(m.value)]
    if not rows:
        return None
    traces = [
        at_row(run, Point(m.value, m.low, m.high), i, legend, 10, 4) | {"legendgroup": run}
        for i, (run, m) in enumerate(rows)
    ]
    ends = from_zero(e for _, m in rows for e in (m.value, m.low, m.high))
    lines = [at_marked(m.value, legend) for run, m in rows if run == marked]
    return dressed(
        traces,
        legend.ground,
        90 + (30 if len(rows) <= MOST_HIGH else 22) * len(rows),
        **({"shapes": lines} if lines else {}),
        xaxis={"title": title, "range": ends},
        yaxis=run_axis([run for run, _ in rows], legend, marked),
    )


def at_row(run: str, p: Point, y: float, legend: Legend, size: int, digits: int) -> dict[str, Any]:
    """A run's number with its interval, as a trace at the height of its row."""
    look, name = legend.looks[run], plain_html(legend.names[run])
    low, high = p.value if p.low is None else p.low, p.value if p.high is None else p.high
    return {
        "type": "scatter", "x": [p.value], "y": [y], "mode": "markers", "name": name,
        "showlegend": False, "cliponaxis": False,
        "marker": {"color": look.color, "symbol": look.marker, "size": size},
        "error_x": {
            "type": "data", "symmetric": False, "array": [high - p.value],
            "arrayminus": [p.value - low], "color": look.color, "thickness": 1.4, "width": 0,
        },
        "hovertemplate": f"{name}: %{{x:.{digits}g}} [{low:.{digits}g}, {high:.{digits}g}]"
        "<extra></extra>",
    }  # fmt: skip


def at_marked(value: float, legend: Legend) -> dict[str, Any]:
    """A dotted line through all rows, at the number of the run whose name is bold."""
    return {
        "type": "line", "yref": "y domain", "y0": 0, "y1": 1, "x0": value, "x1": value,
        "layer": "below", "line": {"width": 1, "dash": "dot", "color": legend.ground.muted},
    }  # fmt: skip


def run_axis(order: Sequence[str], legend: Legend, marked: str) -> dict[str, Any]:
    """The axis of rows that are runs: the first on top, names shortened, the marked one bold."""
    names = {r: plain_html(n) for r, n in fitted({r: legend.names[r] for r in order}, LONG).items()}
    return {
        "tickvals": list(range(len(order))),
        "ticktext": [f"<b>{names[r]}</b>" if r == marked else names[r] for r in order],
        "ticks": "",
        "range": [len(order) - 0.5, -0.5],
        "showgrid": False,
    }
