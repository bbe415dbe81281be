"""Interactive figures: curves, contours and surfaces of all checkpoints, in rows of panels, as one
plotly figure.

A checkpoint has the colour, dash and marker of :func:`grace_geom.figures.looks` in every panel and
one entry in the legend, which hides it everywhere. All fields share one colour scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from grace_geom import figures

COLUMNS = 3
"""Panels in a row, unless the caller wraps otherwise."""

_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
_MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "x": "x-thin-open",
}
_GAP = 95  # pixels between rows of panels, which hold titles and ticks
_TOP = 140  # title and legend


@dataclass(frozen=True)
class Curve:
    """One checkpoint's points in a panel.

    Attributes:
        label: Of the checkpoint.
        x, y: ``(m,)``; ``x`` may be names.
        error: Standard errors ``(m,)``.
        low, high: A band ``(m,)`` around the curve.
        mode: ``lines``, ``markers`` or ``lines+markers``.
        pale: Drawn beside the checkpoint's main curve.
        hover: What the pointer shows for each point, beside the coordinates.
    """

    label: str
    x: Any
    y: Any
    error: Any = None
    low: Any = None
    high: Any = None
    mode: str = "lines+markers"
    pale: bool = False
    hover: Sequence[str] | None = None


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Attributes:
        title, x, y: Words above it and along its axes.
        curves: What it shows.
        log_x, log_y: Logarithmic axes.
        ticks: Names at 0, 1, 2 ... of the x axis.
        lines: Abscissae of thin vertical lines.
        grounds: Thin grey curves ``(x, y)`` without a name.
        zero: Whether the y axis begins at 0.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[str] | None = None
    lines: Sequence[float] = ()
    grounds: Sequence[tuple[Any, Any]] = ()
    zero: bool = False
    height: int = field(default=290, init=False)


@dataclass(frozen=True)
class Field:
    """A function of two coordinates, as contours or as a surface that can be turned.

    Attributes:
        title, x, y: Words above it and along its axes.
        xs, ys, values: Abscissae ``(n,)``, ordinates ``(m,)`` and the values ``(m, n)`` there.
        levels: Ascending levels, the same for all fields of a figure; what is above the last is
            drawn in its colour, and cut off from a surface.
        name: Of the values.
        marks: Named points.
        surface: Draw a surface.
    """

    title: str
    x: str
    y: str
    xs: Float[np.ndarray, " n"]
    ys: Float[np.ndarray, " m"]
    values: Float[np.ndarray, " m n"]
    levels: Float[np.ndarray, " k"]
    name: str
    marks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    surface: bool = False

    @property
    def height(self) -> int:
        """Pixels."""
        return 430 if self.surface else 340


Cell = Panel | Field


def wrapped(cells: Sequence[Cell], columns: int = COLUMNS) -> list[list[Cell]]:
    """Rows of at most ``columns`` cells, as even as can be."""
    rows = -(-len(cells) // columns)
    return (
        [list(row) for row in np.array_split(np.array(cells, dtype=object), rows)] if cells else []
    )


def page(title: str, labels: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> Any:
    """One plotly figure of all rows.

    Args:
        title: Above everything.
        labels: All checkpoints, in the order that gives them their looks.
        rows: Cells of each row; a row has cells of one height.
        note: A second, smaller line under the title.
    """
    from plotly.subplots import make_subplots

    looks, columns = figures.looks(labels), max(len(row) for row in rows)
    heights = [row[0].height for row in rows]
    inner = sum(heights) + _GAP * (len(rows) - 1)
    specs: list[list[dict[str, Any] | None]] = []
    for row in rows:
        wide = (
            {"colspan": columns} if len(row) == 1 else {}
        )  # a panel alone in its row takes all of it
        specs.append([*(_spec(cell) | wide for cell in row), *[None] * (columns - len(row))])
    figure = make_subplots(
        len(rows), columns, specs=specs, row_heights=heights, vertical_spacing=_GAP / inner,
        horizontal_spacing=0.28 / columns if columns > 1 else 0,
        subplot_titles=[cell.title for row in rows for cell in row],
    )  # fmt: skip
    bottom = (
        130 if isinstance(last := rows[-1][0], Panel) and last.ticks else 60
    )  # names of weights stand on end
    height = inner + _TOP + bottom
    scale = _scale(rows, heights, inner)
    for i, row in enumerate(rows, 1):
        for j, cell in enumerate(row, 1):
            at = {"row": i, "col": j}
            if isinstance(cell, Panel):
                _draw_panel(figure, cell, at, looks)
            else:
                _draw_field(figure, cell, at, scale)
                scale = None  # one is enough
    if any(isinstance(cell, Panel) for row in rows for cell in row):
        _draw_legend(figure, looks)
    figure.update_layout(
        template="simple_white",
        height=height,
        hovermode="closest",
        margin={"t": _TOP, "b": bottom, "l": 70, "r": 30},
        title={
            "text": title,
            "subtitle": {"text": note},
            "yref": "container",
            "y": 1 - 22 / height,
        },
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 1 - 74 / height,
            "yanchor": "top",
            "x": 0,
        },
    )
    return figure.update_annotations(font_size=13)


def _spec(cell: Cell) -> dict[str, Any]:
    return {"type": "scene" if isinstance(cell, Field) and cell.surface else "xy"}


def _draw_legend(figure: Any, looks: Mapping[str, figures.Look]) -> None:
    """An entry for every checkpoint with line and marker, whatever its curves have."""
    for label, look in looks.items():
        figure.add_scatter(
            x=[None], y=[None], name=label, legendgroup=label, **_style(look, "lines+markers")
        )


def _style(look: figures.Look, mode: str) -> dict[str, Any]:
    marker = {
        "color": look.color,
        "symbol": _MARKERS[look.marker],
        "size": 7,
        "line": {"color": look.color},
    }
    return {
        "mode": mode,
        "line": {"color": look.color, "dash": _dash(look), "width": 1.8},
        "marker": marker,
    }


def _draw_panel(
    figure: Any, panel: Panel, at: Mapping[str, int], looks: Mapping[str, figures.Look]
) -> None:
    for x, y in panel.grounds:
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": "#bbb", "width": 1},
            showlegend=False,
            hoverinfo="skip",
            **at,
        )
    for curve in panel.curves:
        _draw_curve(figure, curve, looks[curve.label], at)
    for x in panel.lines:
        figure.add_vline(x=x, line={"color": "#999", "width": 1, "dash": "dot"}, **at)
    x = _log([curve.x for curve in panel.curves]) if panel.log_x else {}
    y = _log([curve.y for curve in panel.curves]) if panel.log_y else {}
    figure.update_xaxes(title_text=panel.x, title_standoff=8, **x, **at)
    figure.update_yaxes(
        title_text=panel.y, title_standoff=4, showgrid=True, gridcolor="#eee",
        rangemode="tozero" if panel.zero else "normal", **y, **at,
    )  # fmt: skip
    if panel.ticks is not None:
        n = len(panel.ticks)
        figure.update_xaxes(
            tickvals=list(range(n)), ticktext=list(panel.ticks), range=[-0.5, n - 0.5], **at
        )


def _log(values: Sequence[Any]) -> dict[str, Any]:
    """A logarithmic axis: powers of ten, or 1, 2, 5 where there are few decades."""
    joined = (
        np.concatenate([np.asarray(v, float).ravel() for v in values]) if values else np.ones(1)
    )
    joined = joined[joined > 0]
    wide = joined.size > 0 and joined.max() > 300 * joined.min()
    return {"type": "log", "dtick": 1, "exponentformat": "power"} if wide else {
        "type": "log", "dtick": "D2", "tickformat": "~g"
    }  # fmt: skip


def _draw_curve(figure: Any, curve: Curve, look: figures.Look, at: Mapping[str, int]) -> None:
    if curve.low is not None:
        x, low, high = (np.asarray(a) for a in (curve.x, curve.low, curve.high))
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            mode="none",
            fillcolor=_faint(look.color),
            legendgroup=curve.label,
            showlegend=False,
            hoverinfo="skip",
            **at,
        )
    figure.add_scatter(
        x=curve.x,
        y=curve.y,
        name=curve.label,
        legendgroup=curve.label,
        showlegend=False,
        opacity=0.45 if curve.pale else 1.0,
        **_style(look, curve.mode),
        error_y=None if curve.error is None else {"array": curve.error, "thickness": 1, "width": 2},
        customdata=curve.hover,
        hovertemplate=("%{customdata}" if curve.hover is not None else "%{x:.4~g}, %{y:.4~g}"),
        **at,
    )


def _draw_field(
    figure: Any, cell: Field, at: Mapping[str, int], scale: Mapping[str, Any] | None
) -> None:
    """With the colour scale beside it where ``scale`` says how that looks."""
    step = cell.levels[1] - cell.levels[0]
    common = {
        "x": cell.xs,
        "y": cell.ys,
        "z": cell.values,
        "name": cell.title,
        "colorscale": "Viridis",
        "showscale": scale is not None,
        "colorbar": scale,
    }
    if cell.surface:
        ends = {"start": cell.levels[0], "end": cell.levels[-1], "size": step}
        lines = {"z": {"show": True, "color": "white", "width": 1, **ends}}
        figure.add_surface(contours=lines, hovertemplate="%{x:.3~g}, %{y:.3~g}: %{z:.4~g}",
                           cmin=cell.levels[0], cmax=cell.levels[-1], **common, **at)  # fmt: skip
        figure.update_scenes(
            **{
                f"{axis}axis": {
                    "title": {"text": text, "font": {"size": 11}},
                    "tickfont": {"size": 10},
                    "nticks": 5,
                }
                for axis, text in (("x", cell.x), ("y", cell.y), ("z", ""))
            },  # the colour bar names the height
            aspectmode="cube",
            camera={"eye": {"x": 1.7, "y": -1.7, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.12}},
            **at,
        )
        left, right = figure.get_subplot(**at).domain.x
        figure.update_scenes(
            zaxis_range=[
                cell.levels[0],
                cell.levels[-1],
            ],  # into the gaps, where a plane panel has its ticks
            domain_x=[max(left - 0.2 * (right - left), 0), min(right + 0.2 * (right - left), 1)],
            **at,
        )
        return
    figure.add_contour(
        contours={"start": cell.levels[0], "end": cell.levels[-1], "size": step},
        line={"width": 0.5, "color": "white"},
        hovertemplate="%{x:.3~g}, %{y:.3~g}: %{z:.4~g}",
        zmin=cell.levels[0],
        zmax=cell.levels[-1],
        **common,
        **at,
    )
    for (name, (x, y)), symbol in zip(
        cell.marks.items(), ("circle", "square", "triangle-up"), strict=False
    ):
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[name],
            textposition="top center",
            textfont={"color": "white"},
            marker={
                "color": "white",
                "symbol": symbol,
                "size": 9,
                "line": {"color": "black", "width": 1},
            },
            showlegend=False,
            hoverinfo="text",
            **at,
        )
    figure.update_xaxes(title_text=cell.x, title_standoff=8, constrain="domain", **at)
    anchor = figure.get_subplot(**at).yaxis.anchor
    figure.update_yaxes(
        title_text=cell.y, title_standoff=4, scaleanchor=anchor, constrain="domain", **at
    )


def _scale(
    rows: Sequence[Sequence[Cell]], heights: Sequence[int], inner: int
) -> dict[str, Any] | None:
    """The colour bar, beside the first row of fields."""
    for i, row in enumerate(rows):
        if isinstance(row[0], Field):
            middle = sum(heights[:i]) + _GAP * i + heights[i] / 2
            return {
                "title": {"text": row[0].name},
                "x": 1.01,
                "thickness": 14,
                "tickformat": ".3~g",
                "lenmode": "fraction",
                "len": heights[i] / inner,
                "ypad": 0,
                "y": 1 - middle / inner,
            }
    return None


def _dash(look: figures.Look) -> str:
    """Plotly's name of a dash, or its lengths in pixels."""
    if isinstance(look.dash, str):
        return _DASHES[look.dash]
    return ",".join(f"{2 * length}px" for length in look.dash[1])


def _faint(color: str) -> str:
    r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},0.15)"
