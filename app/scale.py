"""One colour bar above maps that share their colours: they have none of their own, and fill their
columns.
"""

import html
import math
import weakref
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from plotly.colors import sample_colorscale

from grace_geom.plots.style import made

MOST_TICKS = 6
"""Steps between the numbers of a bar, at most."""
LOOK = (
    "display:flex;flex-wrap:wrap;align-items:flex-start;column-gap:.75rem;row-gap:.15rem;"
    "font-size:.875rem;line-height:1.2;white-space:nowrap"
)
TICK = "position:absolute;transform:translateX(-50%)"

_BARLESS: dict[int, tuple[weakref.ref[go.Figure], go.Figure]] = {}
"""What each map is without its bar, as long as there is the map."""


def barless(drawn: Mapping[str, go.Figure]) -> dict[str, go.Figure]:
    """The same maps without colour bars, each made once; figures without a map are left alone."""
    return {head: _barless(fig) if _coloured(fig) else fig for head, fig in drawn.items()}


def _barless(fig: go.Figure) -> go.Figure:
    place = id(fig)
    if (known := _BARLESS.get(place)) is None:
        bare = [
            {k: v for k, v in trace.to_plotly_json().items() if k != "colorbar"}
            | ({"showscale": False} if "colorbar" in trace else {})
            for trace in fig.data
        ]
        copy = made(bare, fig.layout.to_plotly_json())
        known = weakref.ref(fig, lambda _: _BARLESS.pop(place, None)), copy
        _BARLESS[place] = known
    return known[1]


def _coloured(fig: go.Figure) -> Any:
    """The first map of a figure, or ``None``."""
    return next((t for t in fig.data if t.type in ("heatmap", "contour")), None)


def bar(drawn: Mapping[str, go.Figure], ends: tuple[str, str] = ("", "")) -> None:
    """Draw the bar of the first map that has colours.

    Args:
        drawn: Maps with the same scale and their bars.
        ends: What the lowest and the highest colour mean, in words.
    """
    trace = next((t for fig in drawn.values() if (t := _coloured(fig)) is not None), None)
    if trace is not None:
        st.html(_bar(trace, ends))


def _bar(trace: Any, ends: tuple[str, str]) -> str:
    low, high, title = float(trace.zmin), float(trace.zmax), trace.colorbar.title.text or ""
    own = trace.colorbar.ticktext  # of a map that has said more than a number
    written = [(t, _said(t)) for t in ticks(low, high)]
    if own is not None:
        written = [
            (float(t), str(word)) for t, word in zip(trace.colorbar.tickvals, own, strict=True)
        ]
    size = float(trace.contours.size) if trace.type == "contour" else 0.0
    beyond = size > 0 and any(word.startswith("\u2265") for _, word in written)
    wide = high - low + size * beyond
    numbers = "".join(
        f'<span style="{TICK};left:{100 * (t - low) / wide:.2f}%">{html.escape(word)}</span>'
        for t, word in written
    )
    strip = (
        '<div style="flex:1 1 9rem;max-width:18rem">'
        f'<div style="height:.7rem;margin-top:.15rem;background:{_gradient(trace, size, beyond)}"></div>'
        f'<div style="position:relative;height:1.1rem;font-size:.75rem">{numbers}</div></div>'
    )
    words = [f"<span>{html.escape(word)}</span>" if word else "" for word in (title, *ends)]
    alt = f"Colours: {title} from {_said(low)} to {_said(high)}" + (
        f", {ends[0]} to {ends[1]}" if any(ends) else ""
    )
    return (
        f'<div style="{LOOK}" role="img" aria-label="{html.escape(alt)}">'
        f"{words[0]}{words[1]}{strip}{words[2]}</div>"
    )


def _gradient(trace: Any, size: float, beyond: bool) -> str:
    """The colours in CSS: without steps, or of contours a colour between each two levels and, with
    ``beyond``, the one above the last level.
    """
    scale = [(float(at), str(color)) for at, color in trace.colorscale]
    if not size:
        stops = ",".join(f"{color} {100 * at:.4g}%" for at, color in scale)
        return f"linear-gradient(to right,{stops})"
    n = max(round((trace.zmax - trace.zmin) / size), 1)
    colors = sample_colorscale([*map(list, scale)], [(i + 0.5) / n for i in range(n)])
    if beyond:
        colors, n = [*colors, scale[-1][1]], n + 1
    stops = ",".join(
        f"{color} {100 * i / n:.4g}% {100 * (i + 1) / n:.4g}%" for i, color in enumerate(colors)
    )
    return f"linear-gradient(to right,{stops})"


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most :data:`MOST_TICKS` steps apart."""
    least = (high - low) / MOST_TICKS
    ten = 10.0 ** math.floor(math.log10(least))
    step = next(head * ten for head in (1, 2, 2.5, 5, 10) if head * ten >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def _said(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
