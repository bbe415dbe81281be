"""What all figures share beside the looks of their runs: fonts, grid, text that plotly shows as it
is.
"""

import html
import re
from typing import Any

import plotly.graph_objects as go

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
    """Fonts, grid, transparent ground, room for axis titles; legend above the plot."""
    axis = {
        "gridcolor": ground.grid,
        "zeroline": False,
        "linecolor": ground.muted,
        "ticks": "outside",
        "tickcolor": ground.muted,
        "automargin": True,
        "title": {"font": {"size": 13, "color": ground.text}},
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12, "color": ground.text, "family": "Source Sans, sans-serif"},
        margin={"l": 10, "r": 12, "t": 12, "b": 10},
        **on_screen(ground),
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.01,
            "xanchor": "left",
            "x": 0,
            "title": {"text": ""},
        },
    )
    figure.update_layout(**layout)
    return figure
