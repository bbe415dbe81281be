"""The numbers of an axis that stands above a column of panels, once more below the last one."""

from typing import Any

import plotly.graph_objects as go

from grace_geom.plots.style import made

ROOM = 32
"""Pixels below the last panel that the numbers need."""


def numbers_below(figure: go.Figure) -> go.Figure:
    """The same figure with the numbers of its axis above the first panel below the last one too:
    a column of panels can be taller than a screen. Both axes move together.

    Args:
        figure: Panels below each other on the axis ``x``.

    Returns:
        Another figure; the same where the axis is not above.
    """
    layout: dict[str, Any] = figure.layout.to_plotly_json()
    shared = layout["xaxis"]
    if shared.get("side") != "top":
        return figure
    panels = {
        name: axis
        for name, axis in layout.items()
        if name.startswith("yaxis") and axis.get("anchor") == "x"
    }
    last = min(panels, key=lambda name: panels[name]["domain"][0]).replace("axis", "")
    kept = {key: shared[key] for key in ("domain", "range", "type") if key in shared}
    layout["xaxis3"] = kept | {
        "anchor": last, "overlaying": "x", "matches": "x", "side": "bottom", "showgrid": False,
    }  # fmt: skip
    lacking = max(0, ROOM - layout["margin"].get("b", 0))
    layout["margin"]["b"] = layout["margin"].get("b", 0) + lacking
    layout["height"] += lacking
    empty = {  # an axis is drawn where something lies on it
        "type": "scatter", "x": [None], "y": [None], "xaxis": "x3", "yaxis": last,
        "mode": "lines", "showlegend": False, "hoverinfo": "skip",
    }  # fmt: skip
    return made([*(trace.to_plotly_json() for trace in figure.data), empty], layout)
