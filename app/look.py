"""How a run looks on every page: colour, dash and marker from a hash of its id, never from its
place in a list.
"""

import hashlib
import html
import re
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's colours, as in the printed figures; on dark ground the dark ones of them are
# lifted.
_COLORS = {
    "light": (
        "#0072B2",
        "#D55E00",
        "#009E73",
        "#CC79A7",
        "#C98A00",
        "#3A9BD0",
        "#7A5195",
        "#8C6D31",
    ),
    "dark": (
        "#4C9FE0",
        "#EE7733",
        "#2DBE93",
        "#E29BC4",
        "#E69F00",
        "#7CC8F2",
        "#B08CD0",
        "#C2A15C",
    ),
}
_DASHES = (
    "solid",
    "dash",
    "dashdot",
    "dot",
    "longdash",
    "longdashdot",
    "8px,2px",
    "3px,2px,9px,2px",
)
_MARKERS = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "hexagon",
    "star",
)
_GREY = {"light": "#595959", "dark": "#B0B0B0"}
_SALT = "2799517"
"""Chosen once, so that the usual runs of a demo and of a comparison differ in colour."""


@dataclass(frozen=True)
class Look:
    """How one run is drawn, with and without colour."""

    color: str
    dash: str
    marker: str


@dataclass(frozen=True)
class Ground:
    """Colours of everything that is not a run.

    Attributes:
        name: ``light`` or ``dark``.
        text, muted: Of titles and labels; of what may stand back.
        grid, band: Grid lines; every other row of a dot plot.
        paper: The page.
    """

    name: str
    text: str
    muted: str
    grid: str
    band: str
    paper: str


GROUNDS = {
    "light": Ground("light", "#262730", "#5b6270", "#e3e5e9", "rgba(0,0,0,0.035)", "#ffffff"),
    "dark": Ground("dark", "#edebe8", "#b3b3b3", "#3a3936", "rgba(255,255,255,0.05)", "#171614"),
}


def look(run: str, ground: Ground) -> Look:
    """The look of a run id; zero-shot runs are grey, the reference that the others are seen
    against.
    """
    if re.match(r"zero.?shot|pretrained", run.rsplit("/", 1)[-1]):
        return Look(_GREY[ground.name], "2px,2px", "x")
    bits = hashlib.sha256(f"{_SALT}:{run}".encode()).digest()
    return Look(_COLORS[ground.name][bits[0] % 8], _DASHES[bits[1] % 8], _MARKERS[bits[2] % 8])


def labels(runs: list[str]) -> dict[str, str]:
    """The last part of each id where that is enough to tell the runs apart, else the whole id."""
    short = {run: run.rsplit("/", 1)[-1] for run in runs}
    seen = list(short.values())
    return {run: name if seen.count(name) == 1 else run for run, name in short.items()}


def plain_html(text: str) -> str:
    """Text for plotly, which reads tags, maths and templates: ``<``, ``$`` and ``%{`` stay as they
    are.
    """
    return html.escape(text, quote=False).replace("$", "&#36;").replace("%{", "&#37;{")


def faint(color: str) -> str:
    """``#rrggbb`` at half strength."""
    return see_through(color, 0.5)


def see_through(color: str, share: float) -> str:
    """``#rrggbb`` at a share of its strength."""
    return f"rgba({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))}, {share:g})"


def of_sets(names: list[str], ground: Ground) -> dict[str, str]:
    """Colours of distributions, where colours do not mean runs: ID grey, attacked red, the others
    in fixed order.
    """
    others = [name for name in names if name not in ("id", "adv")]
    colors = ("#E69F00", "#009E73", "#56B4E9", "#B08CD0", "#C2A15C", "#E29BC4")
    found = {name: colors[i % len(colors)] for i, name in enumerate(others)}
    return {"id": _GREY[ground.name], **found, "adv": "#EE5A24"}


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
        hoverlabel={"namelength": -1},
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
