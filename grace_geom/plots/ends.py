"""Names at the ends of lines, where there is room for them."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.cells import CHROME
from grace_geom.plots.legend import Legend
from grace_geom.plots.style import made, plain_html, see_through
from grace_geom.plots.training import ALONG_NOTE, OVER_AXIS
from grace_geom.plots.variants import LONG, fitted

LETTERS = LONG
"""Of a name at the end of a line: as many as a row has, so that a run has one name on a page."""
LINE = 13
"""Pixels from one name to the next."""
BEFORE, AWAY, ROOM = 0.03, 0.07, 0.42
"""Shares of the lines' width: room before the first point, from the last point to the names, and
from there to the end of the axis.
"""
BRACKET = 0.02
"""Share of the lines' width from the last point to the bracket of lines that share a label."""
LEAST_JOINED, LEAST_TOGETHER = 3, 5
"""Lines in grey that share a label, at least; and lines of a panel of :func:`name_panels`."""
MOST_BESIDE, COLUMN, LEAD, BESIDE = 14, 0.3, 0.12, 10
"""Lines of a panel of :func:`name_panels` that have names, at most; the share of the width that is
the names' column, of that column the thin lines' part, and pixels from the end of the axis above to
its name there.
"""
Ends = Mapping[str, tuple[float, float]]
"""Run -> the last point of its line."""


@dataclass(frozen=True)
class _Heights:
    """The vertical axis of a panel.

    Attributes:
        low, high: Its range, of logarithms where it is logarithmic.
        tall: In pixels.
        logarithmic: Whether it is.
        percent: Whether its shares of 1 are written in percent.
    """

    low: float
    high: float
    tall: float
    logarithmic: bool
    percent: bool = False

    def pixel(self, value: float) -> float:
        """How far above the lower end a value stands."""
        level = np.log10(value) if self.logarithmic else value
        return float((level - self.low) / self._unit)

    def value(self, pixel: float) -> float:
        """What stands there."""
        level = self.low + pixel * self._unit
        return float(10**level) if self.logarithmic else level

    def rounded(self, value: float) -> str:
        """A value as the axis shows it: to the power of ten that is a line of letters or less."""
        if self.logarithmic:
            return f"{value:.2g}"
        factor = 100 if self.percent else 1
        digits = -math.floor(math.log10(factor * self._unit * LINE))
        said = f"{round(factor * value, digits) + 0.0:.{max(digits, 0)}f}"
        return said.rstrip("0").rstrip(".") if "." in said else said

    @property
    def _unit(self) -> float:
        return ((self.high - self.low) or 1.0) / self.tall


def name_ends(figure: go.Figure, legend: Legend, behind: Collection[str] = ()) -> go.Figure:
    """Write behind the end of each line which run it is, and make room for that on the horizontal
    axis. Names stand one below the other, as near to the heights of their ends as their number
    allows, and a thin line leads to each. Of lines behind the others, those that end close together
    share one label, ``6 at 0.35–0.38``, but for the highest and the lowest of the panel. Where
    there is still no room for all, names of lines behind are left out first: the pointer and the
    legend have them.

    Args:
        figure: Of :func:`~grace_geom.plots.panels.overlay`, on a linear horizontal axis.
        legend: Name and look of each run.
        behind: Runs whose lines are grey.

    Returns:
        Another figure; the same where there is no line.
    """
    lines = _ends(figure, legend).get(("x", "y"), {})
    if not lines:
        return figure
    layout = figure.layout
    logarithmic = layout.yaxis.type == "log"
    low, high = layout.yaxis.range or _span(figure, logarithmic)
    axis = _Heights(low, high, float(layout.height or 300) - CHROME, logarithmic)
    first = min(float(x) for t in figure.data if t.x is not None for x in t.x)
    last = max(x for x, _ in lines.values())
    wide = (last - first) or 1.0
    names = fitted({run: legend.names[run] for run in lines}, LETTERS)
    joined = _joined(lines, behind, axis)
    alone = sorted((run for run in lines if run not in {r for j in joined for r in j}),
                   key=lambda run: run in behind)  # fmt: skip
    room = int(axis.tall / LINE) - len(joined)
    wanted: dict[Any, float] = {run: axis.pixel(lines[run][1]) for run in alone[: max(room, 0)]}
    wanted |= {runs: axis.pixel(_middle(lines, runs)) for runs in joined}
    traces = []
    for who, pixel in stacked(wanted, axis.tall).items():
        at = last + AWAY * wide, axis.value(pixel)
        if isinstance(who, tuple):
            ys = sorted(lines[run][1] for run in who)
            traces += _shared(ys, (last + BRACKET * wide, *at), _range(ys), legend)
        else:
            color = legend.ground.muted if who in behind else legend.looks[who].color
            own = {"legendgroup": who, "name": f"{plain_html(legend.names[who])}, at its end"}
            traces.append(_lead(lines[who], at, names[who], color) | own)
    edge = last + ROOM * wide
    heights = [10**end if logarithmic else end for end in (low, high)]
    cover = _cover((last + AWAY * wide / 2, edge), heights, legend)
    named = go.Figure([cover, *traces, *figure.data], layout)  # points lie over the thin lines
    named.update_yaxes(range=[low, high])
    return named.update_xaxes(range=[first - BEFORE * wide, edge])


def _cover(x: tuple[float, float], y: Sequence[float], legend: Legend) -> dict[str, Any]:
    """What lies over the grid where the names stand, which it would strike through."""
    return {
        "type": "scatter", "x": [x[0], x[1], x[1], x[0]], "y": [y[0], y[0], y[1], y[1]],
        "mode": "lines", "fill": "toself", "fillcolor": legend.ground.paper, "line": {"width": 0},
        "hoverinfo": "skip", "showlegend": False, "name": "behind the names",
    }  # fmt: skip


def name_panels(figure: go.Figure, legend: Legend) -> go.Figure:
    """The same for panels below each other that share the axis ``x``: names stand in a column of
    their own beside it, so that its numbers end where the lines do, and so does the name of an axis
    above them. Lines that end outside of their panel have no name, and neither has any of a panel
    with more than :data:`MOST_BESIDE`. Of those that end together, at least :data:`LEAST_TOGETHER`,
    a label tells how many and where, if their own names would stand far from them.

    Args:
        figure: Of :func:`~grace_geom.plots.training.stack`, whose axes have ranges and domains.
        legend: Name and look of each run.

    Returns:
        Another figure; the same where no line has a name.
    """
    layout, traces = figure.layout, []
    inner = float(layout.height) - layout.margin.t - layout.margin.b
    edge = float(layout.xaxis.range[1])
    for (_, y), lines in _ends(figure, legend).items():
        own = layout[f"yaxis{y[1:]}"]
        (low, high), (bottom, top) = own.range, own.domain
        percent = "%" in (own.tickformat or "")
        axis = _Heights(low, high, (top - bottom) * inner, own.type == "log", percent)
        inside = {r: end for r, end in lines.items() if 0 <= axis.pixel(end[1]) <= axis.tall}
        if len(inside) <= min(MOST_BESIDE, axis.tall / LINE):
            traces += _beside(inside, legend, axis, edge, y)
    if not traces:
        return figure
    there = _with_column(layout.to_plotly_json(), {trace["yaxis"] for trace in traces})
    return made([*traces, *(trace.to_plotly_json() for trace in figure.data)], there)


def _hidden(y: str) -> str:
    """The axis of a panel's names: with the panel's own its grid would go through them."""
    return f"y{100 + int(y[1:] or 1)}"


def _with_column(layout: dict[str, Any], used: Collection[str]) -> dict[str, Any]:
    """A layout with the column of names, its axes ``used``, and the name of the axis above on the
    line of its numbers.
    """
    layout["xaxis"]["domain"] = [0, 1 - COLUMN]
    own = {_hidden(name.replace("axis", "")): name for name in layout if name.startswith("yaxis")}
    shown = [name for name in own if name in used]
    layout["xaxis2"] = {"domain": [1 - COLUMN, 1], "range": [0, 1], "anchor": shown[0],
                        "visible": False, "fixedrange": True}  # fmt: skip
    for name in shown:
        panel = layout[own[name]]
        layout[f"yaxis{name[1:]}"] = {
            **{key: panel[key] for key in ("domain", "range", "type") if key in panel},
            "anchor": "x2", "matches": own[name].replace("axis", ""), "visible": False,
        }  # fmt: skip
    for note in layout["annotations"]:
        if note.get("name") == ALONG_NOTE:
            lifted = note["yshift"] - OVER_AXIS
            layout["margin"]["t"] -= lifted
            layout["height"] -= lifted
            note |= {"xanchor": "left", "xshift": BESIDE, "yshift": 4}
    return layout


def _beside(
    lines: Ends, legend: Legend, axis: _Heights, edge: float, y: str
) -> list[dict[str, Any]]:
    """Names in the column beside a panel whose horizontal axis ends at ``edge``."""
    names = fitted({run: legend.names[run] for run in lines}, LETTERS)
    together = _together(lines, axis)
    told = {run for runs in together for run in runs}
    wanted: dict[Any, float] = {r: axis.pixel(v) for r, (_, v) in lines.items() if r not in told}
    wanted |= {runs: axis.pixel(_middle(lines, runs)) for runs in together}
    traces, column = [], {"xaxis": "x2", "yaxis": _hidden(y)}
    for who, pixel in stacked(wanted, axis.tall).items():
        to = LEAD, axis.value(pixel)
        if isinstance(who, tuple):
            ys = sorted(lines[run][1] for run in who)
            ends = dict.fromkeys((axis.rounded(ys[0]), axis.rounded(ys[-1])))
            where = "\u2013".join(ends) + "%" * axis.percent
            label = _shared(ys, (LEAD / 4, *to), where, legend)
            traces += [trace | column for trace in label]
            continue
        own = {"legendgroup": who, "name": f"{plain_html(legend.names[who])}, at its end"}
        lead = _lead((0.0, lines[who][1]), to, names[who], legend.looks[who].color)
        traces.append(lead | own | column)
    for run, (x, value) in lines.items():
        own = {"legendgroup": run, "name": f"{plain_html(legend.names[run])}, at its end"}
        thin = _thin([x, edge], [value, value], legend.looks[run].color)
        traces.append(thin | own | {"xaxis": "x", "yaxis": y})
    return traces


def _together(lines: Ends, axis: _Heights) -> list[tuple[str, ...]]:
    """Lines that share a label in a panel: groups of ends less than half a label apart, where one's
    own name would stand more than a third of the panel away from it.
    """
    wanted = {run: axis.pixel(y) for run, (_, y) in lines.items()}
    found = stacked(wanted, axis.tall)
    return [
        tuple(group) for group in _close(sorted(wanted, key=wanted.__getitem__), wanted, LINE / 2)
        if len(group) >= LEAST_TOGETHER
        and any(abs(found[r] - wanted[r]) > axis.tall / 3 for r in group)
    ]  # fmt: skip


def _close(order: Sequence[str], at: Mapping[str, float], apart: float) -> list[list[str]]:
    """Runs in rising order in groups of neighbours that are less than ``apart`` from each other."""
    groups: list[list[str]] = []
    for run in order:
        if groups and at[run] - at[groups[-1][-1]] < apart:
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups


def _thin(x: Sequence[float | None], y: Sequence[float | None], color: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": [*x], "y": [*y], "hoverinfo": "skip",
        "line": {"color": see_through(color, 0.6), "width": 0.8}, "showlegend": False,
    }  # fmt: skip


def _lead(
    end: tuple[float, float], to: tuple[float, float], name: str, color: str
) -> dict[str, Any]:
    """A thin line from the end of a line to its name."""
    return _thin([end[0], to[0]], [end[1], to[1]], color) | {
        "mode": "lines+text", "text": ["", f"\u00a0{plain_html(name)}"],
        "textposition": "middle right", "textfont": {"size": 11, "color": color},
        "cliponaxis": False,
    }  # fmt: skip


def _shared(
    ys: Sequence[float], at: tuple[float, float, float], where: str, legend: Legend
) -> list[dict[str, Any]]:
    """A bracket over the ends of lines, and how many they are.

    Args:
        ys: Heights of the ends, in rising order.
        at: Places of the bracket and of the label, and the height of the label.
        where: The ends in words.
        legend: Of the ground.
    """
    bracket, x, height = at
    muted = legend.ground.muted
    said = f"{len(ys)} at {where}".replace("-", "\u2212")
    lead = _lead((bracket, _halfway(ys)), (x, height), said, muted)
    own = {"name": f"{len(ys)} lines, at their ends"}
    return [lead | own, _thin([bracket] * 2, [ys[0], ys[-1]], muted) | own]


def _range(ys: Sequence[float]) -> str:
    """``0.35–0.38``, with as many digits as tell the ends apart, up to three."""
    low, high = ys[0], ys[-1]
    told = [(f"{low:.{digits}g}", f"{high:.{digits}g}") for digits in (2, 3)]
    one, other = next((pair for pair in told if pair[0] != pair[1]), told[0])
    return one if one == other else f"{one}\u2013{other}"


def _joined(lines: Ends, behind: Collection[str], axis: _Heights) -> list[tuple[str, ...]]:
    """Lines in grey that share a label: groups whose ends are less than a label apart, where one's
    own would stand more than its height away from its end. The lowest and the highest of all in
    grey are left out.
    """
    wanted = {run: axis.pixel(y) for run, (_, y) in lines.items()}
    grey = sorted((run for run in lines if run in behind), key=wanted.__getitem__)[1:-1]
    found = stacked(wanted, max(axis.tall, LINE * len(lines)))
    return [
        tuple(group) for group in _close(grey, wanted, LINE)
        if len(group) >= LEAST_JOINED and any(abs(found[r] - wanted[r]) > LINE for r in group)
    ]  # fmt: skip


def _halfway(ys: Sequence[float]) -> float:
    return (ys[0] + ys[-1]) / 2


def _middle(lines: Ends, runs: Sequence[str]) -> float:
    return _halfway(sorted(lines[run][1] for run in runs))


def stacked(wanted: Mapping[Any, float], tall: float) -> dict[Any, float]:
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


def _ends(figure: go.Figure, legend: Legend) -> dict[tuple[str, str], dict[str, Any]]:
    """Both axes of a panel -> run -> the last point of its line that is drawn."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for trace in figure.data:
        line = "lines" in (trace.mode or "") and not trace.fill and trace.hoverinfo != "skip"
        if not line or trace.legendgroup not in legend.looks:
            continue
        x, y = np.asarray(trace.x, float), np.asarray(trace.y, float)
        known = np.flatnonzero(np.isfinite(y))
        if len(known):
            panel = found.setdefault((trace.xaxis or "x", trace.yaxis or "y"), {})
            panel[trace.legendgroup] = float(x[known[-1]]), float(y[known[-1]])
    return found


def _span(figure: go.Figure, logarithmic: bool) -> tuple[float, float]:
    """Of the lines, where the vertical axis has no range of its own."""
    every = np.concatenate([np.asarray(t.y, float) for t in figure.data if t.y is not None])
    every = every[np.isfinite(every) & ((every > 0) | (not logarithmic))]
    every = np.log10(every) if logarithmic else every
    margin = 0.05 * float(np.ptp(every)) or 1.0
    return float(every.min()) - margin, float(every.max()) + margin
