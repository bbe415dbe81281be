"""Traces of lines, points and bars as matplotlib's artists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from grace_geom.plots import units
from grace_geom.plots.axes import Scale
from grace_geom.plots.texts import inline

SCREEN = """type name hoverinfo hovertemplate hovertext hoverlabel hoveron customdata uid uirevision
meta ids selectedpoints selected unselected legendrank legendgroup legendgrouptitle showlegend visible
xaxis yaxis scene"""
"""What every trace may say that is drawn elsewhere, or only on a screen."""
_SCATTER = """x y x0 dx y0 dy mode line marker text textposition textfont error_x error_y fill
fillcolor opacity cliponaxis connectgaps zorder"""
_LINE = "color width dash shape simplify"
_MARKER = """color size symbol opacity line colorscale cmin cmax reversescale showscale colorbar
sizemode sizeref sizemin coloraxis"""
_STEPS = {"hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid", "linear": "default"}


@dataclass
class Place:
    """Where a trace is drawn, and what it looks like by default."""

    ax: Axes
    x: Scale
    y: Scale
    color: str
    order: float


def positions(trace: Mapping[str, Any], which: str, scale: Scale, n: int) -> np.ndarray:
    """``(n,)`` places along one axis; without values they are counted from ``x0`` by ``dx``."""
    if trace.get(which) is not None:
        return scale.at(trace[which])
    return float(trace.get(f"{which}0", 0)) + float(trace.get(f"d{which}", 1)) * np.arange(n)


def scatter(
    trace: Mapping[str, Any], place: Place, before: tuple | None
) -> tuple[list[Any], tuple]:
    """Lines, markers, bands, error bars and texts.

    Args:
        trace: The trace.
        place: Where.
        before: Points of the trace before, for ``tonexty``.

    Returns:
        Handles for the legend, and the points.
    """
    units.known(str(trace["type"]), trace, f"{SCREEN} {_SCATTER}")
    line, marker = trace.get("line") or {}, trace.get("marker") or {}
    units.known("scatter.line", line, _LINE)
    units.known("scatter.marker", marker, _MARKER)
    n = len(trace["y"] if trace.get("x") is None else trace["x"])
    x, y = (positions(trace, w, s, n) for w, s in (("x", place.x), ("y", place.y)))
    if trace.get("connectgaps"):
        there = np.isfinite(x) & np.isfinite(y)
        x, y = x[there], y[there]
    mode = trace.get("mode") or ("lines+markers" if n < 20 else "lines")
    parts = set(mode.split("+"))
    if parts - {"lines", "markers", "text", "none"}:
        raise ValueError(f"cannot draw scatter.mode {mode!r}")
    ink = line.get("color") or _one(marker.get("color")) or place.color
    opacity, clip = float(trace.get("opacity", 1)), bool(trace.get("cliponaxis", True))
    handles: list[Any] = []
    if trace.get("fill", "none") != "none":
        handles.append(_fill(trace, place, x, y, before, ink, opacity))
    for which in ("x", "y"):
        _error(trace, which, place, (x, y), ink, opacity)
    width = units.points(line.get("width", 2))
    if "lines" in parts and width > 0:
        shape = line.get("shape", "linear")
        if shape not in _STEPS:
            raise ValueError(f"cannot draw scatter.line.shape {shape!r}")
        handles += place.ax.plot(
            x, y, color=units.color(ink, opacity), linewidth=width, clip_on=clip,
            linestyle=units.dash(line.get("dash"), width), drawstyle=_STEPS[shape],
            dash_capstyle="butt", zorder=place.order,
        )  # fmt: skip
    if "markers" in parts:
        handles.append(_points(marker, place, x, y, ink, opacity, clip))
    if "text" in parts:
        _words(trace, place, x, y)
    return handles, (x, y)


def _one(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _fill(
    trace: Mapping[str, Any], place: Place, x: np.ndarray, y: np.ndarray,
    before: tuple | None, ink: Any, opacity: float,
) -> Any:  # fmt: skip
    kind = trace["fill"]
    shade = trace.get("fillcolor")
    look: dict[str, Any] = {"color": units.color(shade, opacity) if shade else units.color(ink, 0.5 * opacity),
            "linewidth": 0, "zorder": place.order - 0.3}  # fmt: skip
    if (trace.get("line") or {}).get("shape", "linear") != "linear" and kind != "toself":
        raise ValueError(f"cannot draw scatter.fill {kind!r} under a stepped line")
    if kind == "toself":
        return place.ax.fill(x, y, **look)[0]
    if kind == "tozeroy":
        return place.ax.fill_between(x, y, 0, **look)
    if kind == "tozerox":
        return place.ax.fill_betweenx(y, x, 0, **look)
    if kind == "tonexty" and before is not None:
        return place.ax.fill(np.r_[x, before[0][::-1]], np.r_[y, before[1][::-1]], **look)[0]
    raise ValueError(f"cannot draw scatter.fill {kind!r}")


def _error(
    trace: Mapping[str, Any], which: str, place: Place, at: tuple[np.ndarray, np.ndarray],
    ink: Any, opacity: float,
) -> None:  # fmt: skip
    bars = trace.get(f"error_{which}") or {}
    units.known(
        f"error_{which}", bars,
        "type symmetric array arrayminus value valueminus color thickness width visible",
    )  # fmt: skip
    if not bars or bars.get("visible") is False:
        return
    both = _lengths(bars, at[0] if which == "x" else at[1])
    place.ax.errorbar(
        *at, **{f"{which}err": np.nan_to_num(both)}, fmt="none",
        ecolor=units.color(bars.get("color") or ink, opacity),
        elinewidth=units.points(bars.get("thickness", 2)), capsize=units.points(bars.get("width", 4)),
        clip_on=bool(trace.get("cliponaxis", True)), zorder=place.order - 0.1,
    )  # fmt: skip


def _lengths(bars: Mapping[str, Any], at: np.ndarray) -> np.ndarray:
    """``(2, n)``: how far an error bar reaches down and up."""
    kind = bars.get("type") or ("data" if bars.get("array") is not None else "percent")
    if kind == "data":
        up = units.numbers(bars["array"])
        down = up if bars.get("arrayminus") is None else units.numbers(bars["arrayminus"])
    elif kind in ("constant", "percent"):
        by = np.abs(at) / 100 if kind == "percent" else np.ones_like(at)
        up = by * float(bars.get("value", 10))
        down = by * float(bars.get("valueminus", bars.get("value", 10)))
    elif kind == "sqrt":
        up = down = np.sqrt(np.abs(at))
    else:
        raise ValueError(f"cannot draw an error bar of type {kind!r}")
    symmetric = bars.get("symmetric", bars.get("arrayminus", bars.get("valueminus")) is None)
    return np.stack([up if symmetric else down, up])


def _points(
    marker: Mapping[str, Any], place: Place, x: np.ndarray, y: np.ndarray, ink: Any,
    opacity: float, clip: bool,
) -> Any:  # fmt: skip
    n, edge = len(x), marker.get("line") or {}
    units.known("scatter.marker.line", edge, "color width")
    raw = marker.get("size", 6)
    size = np.broadcast_to(np.asarray(raw, float), (n,))
    if np.ndim(raw) and marker.get("sizemode", "diameter") == "area":
        size = 2 * np.sqrt(size / marker.get("sizeref", 1) / 2)
    elif np.ndim(raw):
        size = size / marker.get("sizeref", 1)
    alpha = np.broadcast_to(np.asarray(marker.get("opacity", 1), float) * opacity, (n,))
    shades = shade(marker, n, ink, alpha)
    symbols = marker.get("symbol", "circle")
    kinds = list(symbols) if isinstance(symbols, Sequence | np.ndarray) and not isinstance(
        symbols, str) else [symbols] * n  # fmt: skip
    drawn: Any = None
    for kind in dict.fromkeys(kinds):
        form, outline = units.symbol(kind)
        of = np.array([k == kind for k in kinds], bool)
        width = units.points(edge.get("width", 1 if outline else 0))
        rims = [units.color(edge["color"], a) for a in alpha[of]] if _one(
            edge.get("color")) and not outline else shades[of]  # fmt: skip
        drawn = place.ax.scatter(
            x[of], y[of], s=units.points(1) ** 2 * np.maximum(size[of], marker.get("sizemin", 0)) ** 2,
            marker=form, linewidths=max(width, 0.9) if outline else width, clip_on=clip,
            facecolors="none" if outline and form not in _LINES else shades[of],
            edgecolors=None if form in _LINES else rims, zorder=place.order + 0.1,
        )  # fmt: skip
    return drawn if n else None


def shade(marker: Mapping[str, Any], n: int, ink: Any, alpha: Any = 1.0) -> np.ndarray:
    """``(n, 4)`` colours: one, one each, or numbers on a colour scale."""
    value = marker.get("color", ink)
    alpha = np.broadcast_to(np.asarray(alpha, float), (n,))
    if isinstance(value, str):
        found = np.array([units.color(value)] * n).reshape(n, 4)
    elif all(isinstance(v, str) for v in value):
        found = np.array([units.color(v) for v in value]).reshape(n, 4)
    else:
        numbers = units.numbers(value)
        low, high = marker.get("cmin", np.nanmin(numbers)), marker.get("cmax", np.nanmax(numbers))
        cmap = units.colormap(marker.get("colorscale"), bool(marker.get("reversescale")))
        found = np.array(cmap((numbers - low) / ((high - low) or 1)))
    found[:, 3] *= alpha
    return found


def _words(trace: Mapping[str, Any], place: Place, x: np.ndarray, y: np.ndarray) -> None:
    words = trace.get("text")
    if words is None:
        return
    words = [words] * len(x) if isinstance(words, str) else words
    spots = trace.get("textposition", "middle center")
    spots = [spots] * len(x) if isinstance(spots, str) else spots
    font = trace.get("textfont") or {}
    units.known("scatter.textfont", font, "color size family")
    size = (trace.get("marker") or {}).get("size", 6) if "markers" in trace.get("mode", "") else 0
    for i, (word, spot) in enumerate(zip(words, spots, strict=True)):
        vertical, _, side = spot.partition(" ")
        away = units.points(np.broadcast_to(size, (len(x),))[i] / 2 + 2)
        place.ax.annotate(
            inline(word), (x[i], y[i]), textcoords="offset points", annotation_clip=True,
            xytext=({"left": -away, "center": 0, "right": away}[side],
                    {"top": away, "middle": 0, "bottom": -away}[vertical]),
            ha={"left": "right", "center": "center", "right": "left"}[side],
            va={"top": "bottom", "middle": "center", "bottom": "top"}[vertical],
            fontsize=units.font_size(font), color=units.color(font.get("color", "#262730")),
            zorder=place.order + 0.5,
        )  # fmt: skip


_LINES = ("+", "x", "_", "|")
"""Markers of matplotlib that have no inside."""
_BAR = "x y x0 dx y0 dy marker base width offset orientation error_x error_y opacity text"


def bars(
    traces: Sequence[Mapping[str, Any]], places: Sequence[Place], layout: Mapping[str, Any]
) -> list[Any]:
    """Bars of one pair of axes, grouped, stacked or laid over each other; a handle for each."""
    mode, n = layout.get("barmode", "group"), len(traces)
    if mode not in ("group", "stack", "overlay", "relative"):
        raise ValueError(f"cannot draw barmode {mode!r}")
    gap = float(layout.get("bargap", 0 if traces[0]["type"] == "histogram" else 0.2))
    inner = float(layout.get("bargroupgap", 0))
    tops: dict[tuple[float, bool], float] = {}
    handles = []
    for i, (trace, place) in enumerate(zip(traces, places, strict=True)):
        units.known("bar", trace, f"{SCREEN} {_BAR}")
        if trace.get("text") is not None:
            raise ValueError('cannot draw bar.text: leave it out, or use engine="browser"')
        flat = trace.get("orientation") == "h"
        along, across = (place.y, place.x) if flat else (place.x, place.y)
        heights = across.at(trace["x" if flat else "y"])
        at = positions(trace, "y" if flat else "x", along, len(heights))
        step = float(np.diff(np.unique(at)).min()) if len(np.unique(at)) > 1 else 1.0
        wide = step * (1 - gap)
        if mode == "group" and trace.get("width") is None:
            wide /= n
            at = at + (i - (n - 1) / 2) * wide
        widths = np.asarray(trace.get("width", wide * (1 - inner)), float)
        if trace.get("offset") is not None:
            at = at + np.asarray(trace["offset"], float) + widths / 2
        base = np.broadcast_to(np.asarray(trace.get("base", 0), float), heights.shape).copy()
        if mode in ("stack", "relative"):
            for j, (place_, height) in enumerate(zip(at, heights, strict=True)):
                key = (float(place_), mode == "relative" and height < 0)
                base[j] += tops.get(key, 0.0)
                tops[key] = base[j] + (height if np.isfinite(height) else 0)
        handles.append(_bar(trace, place, flat, at, heights, widths, base))
    return handles


def _bar(
    trace: Mapping[str, Any], place: Place, flat: bool, at: np.ndarray, heights: np.ndarray,
    wide: np.ndarray, base: np.ndarray,
) -> Any:  # fmt: skip
    marker, opacity = trace.get("marker") or {}, float(trace.get("opacity", 1))
    units.known("bar.marker", marker, "color line opacity colorscale cmin cmax reversescale")
    edge = marker.get("line") or {}
    fills = shade(marker, len(at), place.color, opacity * float(marker.get("opacity", 1)))
    look: dict[str, Any] = {"color": fills, "zorder": place.order,
            "edgecolor": units.color(edge.get("color", "#444444")) if edge.get("width") else "none",
            "linewidth": units.points(edge.get("width", 0))}  # fmt: skip
    if flat:
        place.ax.barh(at, heights, wide, left=base, **look)
    else:
        place.ax.bar(at, heights, wide, bottom=base, **look)
    ends = base + heights
    for which in ("x", "y"):
        _error(trace, which, place, (ends, at) if flat else (at, ends), "#444444", opacity)
    return Patch(color=fills[0] if len(fills) else units.color(place.color))


def histogram(trace: Mapping[str, Any]) -> dict[str, Any]:
    """A histogram as the bar trace that it stands for.

    Raises:
        ValueError: Without ``xbins``: plotly's own choice of bins is not ours to repeat.
    """
    which = "y" if trace.get("x") is None else "x"
    units.known("histogram", trace, f"{SCREEN} x y xbins ybins histnorm marker opacity orientation")
    bins = trace.get(f"{which}bins") or {}
    if not {"start", "end", "size"} <= set(bins):
        raise ValueError(f"cannot draw a histogram without {which}bins of start, end and size")
    count = int(np.ceil((bins["end"] - bins["start"]) / bins["size"] - 1e-9))
    edges = bins["start"] + bins["size"] * np.arange(count + 1)
    values = units.numbers(trace[which])
    found, _ = np.histogram(values[values < edges[-1]], edges)  # plotly's bins are half open
    norm = trace.get("histnorm", "")
    scales = {"": 1.0, "probability": 1 / max(found.sum(), 1), "density": 1 / bins["size"],
              "percent": 100 / max(found.sum(), 1),
              "probability density": 1 / max(found.sum(), 1) / bins["size"]}  # fmt: skip
    kept = {k: v for k, v in trace.items()
            if k not in ("x", "y", "xbins", "ybins", "histnorm", "orientation")}  # fmt: skip
    other = "x" if which == "y" else "y"
    return kept | {
        which: (edges[:-1] + edges[1:]) / 2, other: found * scales[norm],
        "width": bins["size"], "orientation": "h" if which == "y" else "v",
    }  # fmt: skip
