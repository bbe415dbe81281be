"""What a figure shows, in words for those who do not see it: its numbers, run by run."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from grace_geom.plots.variants import cut

MOST = 8
"""Lines, rows or groups of points that are told."""
CLOUD = 40
"""Points of one colour from which on they are counted, not told."""


def spoken(figure: go.Figure) -> str:
    """The numbers of a figure as one sentence: of a line its ends, of rows of points the lowest and
    the highest, of a map its extremes; empty where it has none.
    """
    layout = figure.layout.to_plotly_json()
    traces = (trace.to_plotly_json() for trace in figure.data if not _passed_over(trace))
    told = [said for trace in traces if (said := _trace(trace, layout))]
    if not told:
        return ""
    more = f"; and {len(told) - MOST} more" if len(told) > MOST else ""
    return f"{'; '.join(told[:MOST])}{more}."


def with_numbers(alt: str, figure: go.Figure) -> str:
    """An alternative text with the figure's numbers behind it."""
    return joined(alt, spoken(figure))


def joined(alt: str, said: str) -> str:
    """The same with what :func:`spoken` has said before."""
    return f"{alt.rstrip('. ')}. {said}" if said else alt


GRIDS = ("heatmap", "contour", "surface")
POINTS = ("scatter3d", "scatter", "scattergl", "bar")
"""Kinds of traces of which something is told, beside parallel coordinates."""


def _passed_over(trace: BaseTraceType) -> bool:
    """Whether nothing is told of a trace, found without a copy of all its points."""
    if trace.type in GRIDS or trace.type == "parcoords":
        return False
    if trace.type not in POINTS or trace.hoverinfo == "skip":
        return True
    name = _plain(trace.name or "")
    filled = trace.type != "bar" and "fill" in trace and trace.fill
    return not name or bool(re.search(r" (interval|probes)$", name) or filled)


def _trace(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> str:
    kind = trace["type"]
    if kind in GRIDS:
        return _grid(trace)
    if kind == "parcoords":
        return "; ".join(_dimensions(trace["dimensions"], trace.get("meta")))
    name = _plain(trace.get("name") or "")
    if kind in POINTS:
        xs, ys = trace.get("x"), trace.get("y")
        if xs is None or ys is None:
            return ""
        if kind == "scatter3d" or ("markers" in trace.get("mode", "") and len(xs) >= CLOUD):
            return f"{name}: {len(xs)} points"
        said = _bars(trace) if kind == "bar" else _points(trace, layout)
        return f"{name}: {said}" if said else ""
    return ""


def _points(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> str:
    """One place, the ends of a line, or extremes of named rows or columns."""
    pairs = list(zip(trace["x"], trace["y"], strict=False))
    x_axis, y_axis = (layout.get(_axis(trace, which)) or {} for which in "xy")
    if "lines" not in trace.get("mode", ""):
        for axis, names, values in ((y_axis, 1, 0), (x_axis, 0, 1)):
            if _has_names(axis):
                named = [(_named(axis, p[names]), p[values]) for p in pairs if _there(p)]
                row = _plain(trace["name"])  # a row of its own says its name once
                own = row, cut(row)
                return _extremes([("" if n in own else n, v) for n, v in named if _number(v)])
    begin, end = (next(filter(_there, way), None) for way in (pairs, reversed(pairs)))
    if begin is None or end is None:
        return ""
    (x, y), (u, v) = begin, end
    first, last = (_named(x_axis, at) if _has_names(x_axis) else _said(at) for at in (x, u))
    return f"{_said(y)} at {first}" + (f" to {_said(v)} at {last}" if begin is not end else "")


def _there(pair: tuple[Any, Any]) -> bool:
    """Whether a point is drawn."""
    return _number(pair[1]) and pair[0] is not None


def _has_names(axis: Mapping[str, Any]) -> bool:
    """Whether its ticks are words, not numbers of a logarithm."""
    return bool(axis.get("ticktext")) and axis.get("type") != "log"


def _bars(trace: Mapping[str, Any]) -> str:
    across = trace.get("orientation") == "h"
    names, values = (trace["y"], trace["x"]) if across else (trace["x"], trace["y"])
    told = [(_said(n), abs(float(v))) for n, v in zip(names, values, strict=False) if _number(v)]
    if not told:
        return ""
    name, most = max(told, key=lambda pair: pair[1])
    return f"at most {_said(most)} ({name})"


def _extremes(named: Sequence[tuple[str, Any]]) -> str:
    if not named:
        return ""
    low, high = (f(named, key=lambda pair: float(pair[1])) for f in (min, max))
    if not low[0]:
        return _said(low[1])
    ends = f"{_said(low[1])} ({low[0]})"
    return ends if low == high else f"{ends} to {_said(high[1])} ({high[0]})"


def _grid(trace: Mapping[str, Any]) -> str:
    z = np.asarray(trace["z"], dtype=float)
    if not np.isfinite(z).any():
        return ""
    shown = trace.get("customdata")
    told = np.asarray(shown, dtype=object) if _fits(shown, z) else z
    told = told[..., 0] if told.ndim == 3 else told  # with its interval
    ends = []
    for at in (np.nanargmin(z), np.nanargmax(z)):
        row, column = np.unravel_index(int(at), z.shape)
        place = [_at(trace.get(which), int(i)) for which, i in (("y", row), ("x", column))]
        value = told[row, column]
        ends.append(f"{_said(value if _number(value) else z[row, column])} ({', '.join(place)})")
    return f"lowest {ends[0]}, highest {ends[1]}"


def _fits(shown: Any, z: np.ndarray) -> bool:
    return shown is not None and np.shape(shown)[:2] == z.shape


def _at(names: Any, i: int) -> str:
    return str(i) if names is None or i >= len(names) else _said(names[i])


def _dimensions(dimensions: Sequence[Mapping[str, Any]], lines: int | None) -> Iterator[str]:
    """Of the first so many lines: further ones only make them thick."""
    for one in dimensions:
        texts = [_plain(str(t)) for t in one.get("ticktext") or ()]
        if texts:
            yield f"{_plain(one.get('label') or '') or 'runs'}: {', '.join(texts[:MOST])}"
        elif len(one.get("values", ())):
            low, high = (f(one["values"][:lines]) for f in (min, max))
            yield f"{_plain(one['label'])}: {_said(low)} to {_said(high)}"


def _axis(trace: Mapping[str, Any], which: str) -> str:
    return f"{which}axis{trace.get(f'{which}axis', which)[1:]}"


def _named(axis: Mapping[str, Any], at: Any) -> str:
    """The name of the row or column nearest to a place: runs stand a little off their rows."""
    places = list(axis.get("tickvals") or range(len(axis["ticktext"])))
    if not _number(at):
        return _said(at)
    nearest = min(range(len(places)), key=lambda i: abs(float(places[i]) - float(at)))
    return _plain(str(axis["ticktext"][nearest]))


def _number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    return bool(np.isfinite(value))


def _said(value: Any) -> str:
    if _number(value):
        size = abs(float(value))
        written = f"{float(value):.0f}" if 1000 <= size < 1e6 else f"{float(value):.3g}"
        return written.replace("-", "\u2212")
    return _plain(str(value))


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", text)).replace("  ", " ").strip()
