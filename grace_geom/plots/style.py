"""What all figures share beside the looks of their runs: fonts, grid, text that plotly shows as it
is.
"""

import html
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.basedatatypes import BaseFigure
from plotly.colors import get_colorscale

from grace_geom.plots.palette import Ground

FLAT = ("scatter", "scattergl", "bar", "histogram", "heatmap", "contour", "image")
SOLID = ("surface", "scatter3d")
"""Kinds of traces that can be printed without a browser, of two axes and of three."""


def plain_html(text: str) -> str:
    """Text for plotly, which reads tags, maths and templates: ``<``, ``$`` and ``%{`` stay as they
    are.
    """
    return html.escape(text, quote=False).replace("$", "&#36;").replace("%{", "&#37;{")


def unbroken(text: str) -> str:
    """Text whose lines break at no percent sign and within no equation."""
    return re.sub(r" (?=%)|(?<=\w) (?== \S)|(?<=\w =) ", "\u00a0", text)


def faint(color: str) -> str:
    """``#rrggbb`` at half strength."""
    return see_through(color, 0.5)


def see_through(color: str, share: float) -> str:
    """``#rrggbb`` at a share of its strength."""
    return f"rgba({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))}, {share:g})"


def on_screen(ground: Ground) -> dict[str, Any]:
    """Layout of what only a screen has: whole names at the pointer, and a bar of tools in the
    page's own colours.
    """
    bar = {"bgcolor": "rgba(0,0,0,0)", "color": ground.muted, "activecolor": ground.text}
    return {"hoverlabel": {"namelength": -1}, "modebar": bar}


def dress(figure: go.Figure, ground: Ground, height: int, **layout: Any) -> go.Figure:
    """Fonts, grid, transparent ground, room for axis titles; legend above the plot.

    Args:
        figure: Changed in place; what its layout already holds stays unless it is named here.
        ground: Light or dark.
        height: In pixels.
        layout: More of the layout, which overrules.
    """
    there = figure.layout.to_plotly_json()
    common = _common(there, ground, height)
    # Set at once: plotly looks at the whole layout again after each change of a part.
    figure.layout = _merged(_merged({**there, "template": {}}, common), layout)
    return figure


def dressed(
    traces: Sequence[Mapping[str, Any]], ground: Ground, height: int, **layout: Any
) -> go.Figure:
    """The same of traces that are not drawn yet, made at once and without plotly's checks: a sixth
    of the time. What is drawn is the same.

    Args:
        traces: What ``go.Figure`` takes, each with its ``type``; settings within settings, not
            ``title_text``.
        ground: Light or dark.
        height: In pixels.
        layout: More of the layout, which overrules; axes that it names are dressed too.
    """
    common = _common(layout, ground, height)
    return made(traces, _merged(common, layout))


UNCHECKED = {"_validate": False} if getattr(BaseFigure, "_allow_disable_validation", False) else {}
"""plotly's own switch for figures that need no checks; a plotly without it looks at each setting,
which takes six times as long.
"""


def made(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> go.Figure:
    """A figure whose settings plotly does not look at: tests do. What is changed later it does."""
    figure = go.Figure([_in_full(trace) for trace in traces], _in_full(layout), **UNCHECKED)
    for part in (figure, figure.layout, *figure.data) if UNCHECKED else ():
        part._validate = True
    return figure


def _in_full(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a browser reads them, which plotly's checks would have made of them: titles have
    parts, scales of colours their colours, and nothing is ``None`` or empty.
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "title" and isinstance(value, str):
            found[key] = {"text": value}
        elif key == "colorscale" and isinstance(value, str):
            colors = [color for _, color in get_colorscale(value)]
            found[key] = [[i / (len(colors) - 1), color] for i, color in enumerate(colors)]
        elif isinstance(value, Mapping):
            found |= {key: inner} if (inner := _in_full(value)) else {}
        elif key in ("shapes", "annotations", "images") and not value:
            continue
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            found[key] = [_in_full(one) for one in value]
        elif value is not None:
            found[key] = value
    return found


NONE: dict[str, Any] = {"data": {"scatter": [{"type": "scatter"}]}}
"""A template that sets nothing, as plotly writes it: its own is none of ours."""


def _common(axes_of: Collection[str], ground: Ground, height: int) -> dict[str, Any]:
    """The layout that all figures have, for the axes that a layout names."""
    axis = {
        "gridcolor": ground.grid,
        "zeroline": False,
        "linecolor": ground.muted,
        "ticks": "outside",
        "tickcolor": ground.muted,
        "automargin": True,
        "title": {"font": {"size": 13, "color": ground.text}},
    }
    axes = {"xaxis", "yaxis"} | {key for key in axes_of if re.fullmatch(r"[xy]axis\d+", key)}
    return dict.fromkeys(axes, axis) | {
        "template": NONE,
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": ground.text, "family": "Source Sans, sans-serif"},
        "margin": {"l": 10, "r": 12, "t": 12, "b": 10},
        **on_screen(ground),
        "legend": {
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.01,
            "xanchor": "left",
            "x": 0,
            "title": {"text": ""},
        },
    }


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings within settings, those of ``over`` where both have one."""
    found = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found


def from_zero(values: Iterable[float | None], room: float = 0.05) -> list[float]:
    """A range that holds zero and everything finite, with room at both ends: a marker at its end
    would lie over the names beside the axis.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    low, high = min(0.0, *known, 0.0), max(0.0, *known, 0.0)
    margin = room * (high - low) or 1.0
    return [low - margin, high + margin]


def row_bands(rows: int, ground: Ground) -> list[dict[str, Any]]:
    """Every other row of a dot plot on a faint band, the first one too: shapes of a layout, behind
    what is drawn at heights ``0 ... rows - 1``.
    """
    band = {"type": "rect", "xref": "x domain", "x0": 0, "x1": 1, "yref": "y", "layer": "below"}
    band |= {"fillcolor": ground.band, "line": {"width": 0}}
    return [band | {"y0": j - 0.5, "y1": j + 0.5} for j in range(0, rows, 2)]
