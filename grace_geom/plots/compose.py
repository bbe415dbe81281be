"""Panel figures as one figure, for an HTML page and for print: rows of panels, one legend."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from grace_geom.plots.cells import COLUMNS, NARROW, WIDTH, Arranged, PlacedFigure, arrange
from grace_geom.plots.legend import Legend
from grace_geom.plots.moving import Counters, Moved, move
from grace_geom.plots.style import on_screen, plain_html, unbroken
from grace_geom.plots.texts import begun

_KEYED = ("scatter", "scattergl", "scatter3d", "bar", "histogram")
_SHARED = ("barmode", "bargap", "bargroupgap")
TITLE = 36
"""Pixels that the title of a figure takes above everything else."""
_LINE = 15
"""Pixels of a line of the note."""
NOTE = 132
"""Letters of a line of the note on a page."""


def headed(lines: int) -> int:
    """Pixels that a title of so many lines takes."""
    return TITLE + 21 * (lines - 1) if lines else 0


def compose(
    title: str,
    rows: Sequence[Mapping[str, go.Figure]],
    legend: Legend,
    note: str = "",
    columns: int = COLUMNS,
    width: float = WIDTH,
) -> go.Figure:
    """Rows of panel figures under one title and one legend.

    Every panel keeps its traces, axes, shapes, annotations, colour bars and scenes. A run has one
    entry in the legend, which hides it in all panels: its traces are those whose ``legendgroup`` is
    the run. Other named traces of lines, points and bars have one entry a name. Panels of a row
    whose colours mean the same share a colour bar.

    Args:
        title: Plain text above everything; empty for none.
        rows: Plain text above the panel -> figure; first row above. More than ``columns`` panels
            wrap, as evenly as can be, and a single one takes the whole width. Rows without panels
            are left out.
        legend: Name and look of each run.
        note: Plain text below everything, small: ``n = 60, seed 0``.
        columns: Panels in a row at most.
        width: Pixels of a row at the narrowest that it is shown or printed.

    Returns:
        A figure with a height and without a width. Where the legend is ``narrow``, it is as wide as
        a telephone, whatever ``columns`` and ``width`` say.

    Raises:
        ValueError: There is no panel, or panels disagree about ``barmode`` and the like, which a
            figure has only once.
    """
    width = NARROW if legend.narrow else width
    cells = [
        [PlacedFigure.of(name, fig, width) for name, fig in row.items()] for row in rows if row
    ]
    if not cells:
        raise ValueError(f"no panel to compose for {title!r}")
    sheet, counters = arrange(cells, columns, legend.narrow), Counters()
    moved = [move(cell, counters) for cell in sheet.cells]
    _join(sheet.cells, moved)
    traces = [trace for part in moved for trace in part.traces]
    keys = _run_keys(traces, legend)
    _own_keys(traces, legend)
    heads = [_head(cell, part, legend) for cell, part in zip(sheet.cells, moved, strict=True)]
    figure = go.Figure([*keys, *traces], skip_invalid=False)
    figure.update_layout(
        {key: settings for part in moved for key, settings in part.layout.items()}
        | _common([cell.layout for cell in sheet.cells])
        | {
            "shapes": [shape for part in moved for shape in part.shapes],
            "annotations": [*(note for part in moved for note in part.notes), *heads],
        }
    )
    shown = [str(t["name"]) for t in [*keys, *traces] if t.get("showlegend")]
    said = legend.said.removesuffix(".")
    whole = "; ".join(part for part in (note, said[:1].lower() + said[1:]) if part)
    return _dress(figure, title, legend, sheet, shown, begun(whole))


def pages(
    rows: Mapping[str, tuple[str, Sequence[Mapping[str, go.Figure | None]], str]],
    legend: Legend,
    columns: int = COLUMNS,
) -> dict[str, go.Figure]:
    """Several figures by key, each :func:`compose` of ``(title, rows, note)``. Panels that are
    ``None`` are left out, and so are figures without any.
    """
    drawn = {}
    for key, (title, panels, note) in rows.items():
        known = [{name: fig for name, fig in row.items() if fig is not None} for row in panels]
        if any(known):
            drawn[key] = compose(title, known, legend, note, columns)
    return drawn


def _join(cells: Sequence[PlacedFigure], moved: Sequence[Moved]) -> None:
    """Let vertical axes that only the first cell names be one for the pointer, too; those of equal
    scales, which hang on the horizontal ones already, stay apart.
    """
    at = {id(cell): part for cell, part in zip(cells, moved, strict=True)}
    for cell, part in zip(cells, moved, strict=True):
        first = at.get(id(cell.first))
        if first and first.pair and part.pair and not cell.square:
            part.layout[f"yaxis{part.pair[1][1:]}"]["matches"] = first.pair[1]


def _common(layouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Settings that a figure has once for all panels."""
    found: dict[str, Any] = {}
    for key in _SHARED:
        values = {layout[key] for layout in layouts if key in layout}
        if len(values) > 1:
            raise ValueError(f"cannot compose panels of {key} {' and '.join(map(str, values))}")
        found |= dict(zip([key], values, strict=False))
    return found


def _run_keys(traces: Sequence[dict[str, Any]], legend: Legend) -> list[dict[str, Any]]:
    """An entry in the legend for each run that is drawn; its traces have none of their own."""
    found: list[dict[str, Any]] = []
    flat = next((t for t in traces if "xaxis" in t), {})
    for run, style in legend.looks.items():
        own = [trace for trace in traces if trace.get("legendgroup") == run]
        if not own:
            continue
        for trace in own:
            trace["showlegend"] = False
        lines = any("lines" in trace.get("mode", "lines") for trace in own)
        key: dict[str, Any] = {
            "type": "scatter", "x": [None], "y": [None], "name": plain_html(legend.names[run]),
            "legendgroup": run, "showlegend": True, "hoverinfo": "skip",
            "mode": "lines+markers" if lines else "markers",
            "line": {"color": style.color, "dash": style.dash, "width": 1.8},
            "marker": {"symbol": style.marker, "size": 8, "color": style.color},
        }  # fmt: skip
        found.append(key | {w: flat[w] for w in ("xaxis", "yaxis") if w in flat})
    return found


def _own_keys(traces: Sequence[dict[str, Any]], legend: Legend) -> None:
    """The first of all traces of a name that are no run's stands in the legend for all of them."""
    seen: set[str] = set()
    for trace in traces:
        if trace.get("legendgroup") in legend.looks or trace["type"] == "image":
            continue  # pictures have no place in a legend, and no setting of it
        name = trace.get("name")
        keyed = bool(name) and trace["type"] in _KEYED and trace.get("showlegend", True)
        if keyed:
            trace["legendgroup"] = str(name)
        trace["showlegend"] = keyed and name not in seen
        seen |= {str(name)} if keyed else set()


def _head(cell: PlacedFigure, part: Moved, legend: Legend) -> dict[str, Any]:
    """The title of a panel, above its left corner."""
    at: dict[str, Any] = {"x": cell.x[0], "y": cell.y[1], "xref": "paper", "yref": "paper"}
    if part.pair:  # axes of equal scale are smaller than their place
        at = {"x": 0, "y": 1} | {f"{n[0]}ref": f"{n} domain" for n in part.pair}
    return at | {
        "text": cell.head, "showarrow": False, "xanchor": "left", "align": "left",
        "yanchor": "top" if cell.solid else "bottom", "yshift": 7 if cell.solid else 3,
        "font": {"size": 13, "color": legend.ground.text},
    }  # fmt: skip


def _dress(
    figure: go.Figure, title: str, legend: Legend, sheet: Arranged, shown: Sequence[str], note: str
) -> go.Figure:
    """Title, legend, note, and margins that hold them."""
    width = sheet.cells[0].sheet
    keys = _lines_of_keys(shown, width)
    lines = textwrap.wrap(unbroken(note), int(NOTE * width / WIDTH), break_on_hyphens=False)
    heads = textwrap.wrap(title, int(width / 7)) if legend.narrow else [title] * bool(title)
    left, below = sheet.left + 8, sheet.below + 6
    top = 8 + headed(len(heads)) + 21 * keys + sheet.above
    bottom = below + _LINE * len(lines) + 6
    height = round(top + sheet.height + bottom)
    figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12, "color": legend.ground.text, "family": "Source Sans, sans-serif"},
        margin={"l": left, "r": 16, "t": top, "b": bottom},
        hovermode="closest",
        **on_screen(legend.ground),
        showlegend=bool(shown),
        title={
            "text": "<br>".join(map(plain_html, heads)), "font": {"size": 17}, "x": 0.006, "xanchor": "left",
            "y": 1 - 10 / height, "yanchor": "top", "yref": "container",
        },
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "yanchor": "bottom",
            "y": 1 + (sheet.above + 2) / sheet.height,
        },
    )  # fmt: skip
    if lines:
        figure.add_annotation(
            text="<br>".join(map(plain_html, lines)), showarrow=False, align="left",
            x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top",
            xshift=10 - left, yshift=-below, font={"size": 11, "color": legend.ground.muted},
        )  # fmt: skip
    return figure


def _lines_of_keys(names: Sequence[str], width: float = WIDTH) -> int:
    """Lines that a legend of these entries takes where a figure is narrow."""
    lines, used = 1 if names else 0, 0.0
    for name in names:
        need = 55 + 7 * len(name)
        if used and used + need > width:
            lines, used = lines + 1, 0.0
        used += need
    return lines
