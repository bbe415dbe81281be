"""Where panels stand in a composed figure: rows and columns, and the room that labels need."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from grace_geom.plots.style import plain_html, unbroken

COLUMNS = 3
"""Panels in a row at most."""
WIDTH = 740
"""Pixels of all panels of a row at the narrowest, in print on a page."""
NARROW = 290
"""The same on a telephone."""
SMALL = 250
"""Pixels of the height of a map that stands beside another one on a telephone."""
_LETTER = 6.8
"""Pixels of a letter of 12 px."""
CHROME = 90
"""Pixels of a panel figure's height that are labels and margins."""
_BAR, _TITLE, _TICKS, _GAP = 72, 20, 18, 16
_COLOURED = ("heatmap", "contour", "surface")

Span = tuple[float, float]


@dataclass
class PlacedFigure:
    """A panel figure and its place.

    Attributes:
        title: Plain text above it.
        traces: Of the figure, as dictionaries that belong to the cell.
        layout: Of the figure.
        x, y: Its place in shares of all panels' room.
        head: Its title, wrapped, as plotly reads it.
        sheet: Pixels of all panels of a row.
        first: The cell to the left whose vertical axis is this one's too.
    """

    title: str
    traces: list[dict[str, Any]]
    layout: Mapping[str, Any]
    x: Span = (0.0, 1.0)
    y: Span = (0.0, 1.0)
    head: str = ""
    sheet: float = WIDTH
    first: "PlacedFigure | None" = None

    @classmethod
    def of(cls, title: str, figure: go.Figure, sheet: float = WIDTH) -> "PlacedFigure":
        """A copy of a figure: arrays stay arrays, which ``figure.to_plotly_json`` would encode."""
        traces = [trace.to_plotly_json() for trace in figure.data]
        return cls(title, traces, figure.layout.to_plotly_json(), sheet=sheet)

    @property
    def bars(self) -> list[dict[str, Any]]:
        """Traces with a colour bar."""
        return [t for t in self.traces if t["type"] in _COLOURED and t.get("showscale", True)]

    @property
    def solid(self) -> bool:
        """Whether it has three axes."""
        return bool(self.traces) and all(t["type"] in ("surface", "scatter3d") for t in self.traces)

    @property
    def square(self) -> bool:
        """Whether its scales are equal, so that it cannot use a place of another shape."""
        return self.solid or any(
            axis.get("scaleanchor") for key, axis in self.layout.items() if key.startswith("yaxis")
        )

    @property
    def pictures(self) -> bool:
        """Whether it shows pictures alone, as wide and high as they are."""
        return bool(self.traces) and all(t["type"] == "image" for t in self.traces)

    @property
    def width(self) -> float:
        """Pixels between its axes, at the narrowest."""
        return (self.x[1] - self.x[0]) * self.sheet

    @property
    def height(self) -> float:
        """Pixels between its axes; of equal scales no more than the width can use."""
        least = 30.0 if self.pictures else 80.0
        asked = max(float(self.layout.get("height") or 300) - CHROME, least)
        if not self.square:
            return asked
        mapped = any(t["type"] in ("heatmap", "contour") for t in self.traces)
        return min(asked, (1.0 if mapped else 1.1) * self.width)  # as high as the bar beside it

    @property
    def overhang(self) -> float:
        """Pixels that the name of the last tick reaches beyond the end of the horizontal axis."""
        axis = self.layout.get("xaxis") or {}
        words = [] if self.square else list(axis.get("ticktext") or ())
        return max(0.0, _LETTER * _letters(words[-1]) / 2 - _GAP) if words else 0.0

    @property
    def leads(self) -> float:
        """Pixels that a number below the beginning of the horizontal axis needs, where the vertical
        one is named by the first cell: the last number of the cell before stands there, too.
        """
        return 18.0 if self.first is not None and not self.square else 0.0

    def room(self, side: str) -> float:
        """Pixels that ticks and title need ``left`` of the axes or ``below`` them."""
        if self.solid:  # matplotlib's titles and ticks of three axes stand outside of their box
            return 44.0 if side == "left" else 18.0
        letter = "y" if side == "left" else "x"
        axis = self.layout.get(f"{letter}axis") or {}
        words = list(axis.get("ticktext") or ())
        if axis.get("type") == "category" and not words:
            words = [v for t in self.traces for v in t.get(letter, ()) if isinstance(v, str)]
        longest = max((_letters(word) for word in words), default=5)
        if not axis.get("showticklabels", True):
            ticks = 0.0
        elif side == "left" or abs(axis.get("tickangle") or 0) > 45:
            ticks = _LETTER * longest + 8
        else:
            ticks = _TICKS * (1 + max((w.count("<br>") for w in words), default=0))
        title = ((axis.get("title") or {}).get("text") or "").split("<br>")
        return ticks + _TITLE * len(title) * bool(title[0])


@dataclass(frozen=True)
class Arranged:
    """All cells in their places.

    Attributes:
        cells: Row by row.
        height: Pixels of all panels with what stands between them.
        above, below, left: Pixels that labels need around them.
    """

    cells: Sequence[PlacedFigure]
    height: float
    above: float
    below: float
    left: float


def arrange(
    rows: Sequence[Sequence[PlacedFigure]], columns: int = COLUMNS, narrow: bool = False
) -> Arranged:
    """Wrap rows of more than ``columns`` cells as evenly as can be, and place every cell.

    Cells that were one row keep one width, and rows of as many columns the same gaps. Those of a
    row whose colours mean the same share the bar of the last one, and neighbours with one vertical
    scale the numbers and the title of the first one's. Rows of one square cell each, which would
    leave most of the sheet white, become one row.

    Args:
        rows: None of them empty.
        columns: Cells in a row at most.
        narrow: Whether the page is a telephone's: one cell in a row, or two flat square ones.
    """
    if all(len(row) == 1 and row[0].square and not row[0].pictures for row in rows):
        rows = [[cell for row in rows for cell in row]]
    wrapped = [
        (list(part), most)
        for row in rows
        for part, most in _wrapped(row, min(columns, _most(row)) if narrow else columns)
    ]
    for cells, _ in wrapped:
        _share_bars(cells)
        _share_axes(cells)
    gaps: dict[int, float] = {}
    for cells, most in wrapped:
        needed = max((max(cell.room("left"), cell.leads) for cell in cells[1:]), default=0.0) + _GAP
        needed += max((cell.overhang for cell in cells[:-1]), default=0.0)
        gaps[most] = max(gaps.get(most, 0.0), needed)
    for cells, most in wrapped:
        _place_columns(cells, most, gaps[most])
        for cell in cells:
            _fit_axes(cell)
    heads = [max(_headed(cell) for cell in cells) for cells, _ in wrapped]
    feet = [max(cell.room("below") for cell in cells) for cells, _ in wrapped]
    heights = [max(cell.height for cell in cells) for cells, _ in wrapped]
    total = sum(heights) + sum(heads[1:]) + sum(feet[:-1]) + _GAP * (len(heights) - 1)
    top = total
    for (cells, _), height, foot, head in zip(
        wrapped, heights, feet, [*heads[1:], 0.0], strict=True
    ):
        for cell in cells:
            cell.y = (top - height) / total, top / total
        top -= height + foot + head + _GAP
    left = max(cells[0].room("left") for cells, _ in wrapped)
    return Arranged([c for cells, _ in wrapped for c in cells], total, heads[0], feet[-1], left)


def _most(row: Sequence[PlacedFigure]) -> int:
    """Cells of a row that stand side by side on a telephone."""
    if all(cell.pictures for cell in row):
        return 3
    high = any(float(cell.layout.get("height") or 300) > SMALL for cell in row)
    if high and any(cell.bars for cell in row):
        return 1
    return 2 if all(cell.square and not cell.solid for cell in row) else 1


def _wrapped(
    row: Sequence[PlacedFigure], columns: int
) -> Iterator[tuple[Sequence[PlacedFigure], int]]:
    """Parts of a row, and the columns that they are set in."""
    lines = -(-len(row) // columns)
    most, start = -(-len(row) // lines), 0
    for i in range(lines):
        n = len(row) // lines + (i < len(row) % lines)
        yield row[start : start + n], most
        start += n


def _share_bars(cells: Sequence[PlacedFigure]) -> None:
    """Of cells that colour alike, only the last keeps its bar."""
    bars = [trace for cell in cells for trace in cell.bars]
    alike = {str([_scale(trace)]) for trace in bars}
    if len(alike) == 1 and all(cell.bars for cell in cells):
        for trace in bars[:-1]:
            trace["showscale"] = False


def _share_axes(cells: Sequence[PlacedFigure]) -> None:
    """Of cells side by side with one vertical axis, only the first names it."""
    axes = [str(_vertical(cell)) for cell in cells]
    for i, cell in enumerate(cells[1:], 1):
        if axes[i] != axes[i - 1]:
            continue
        cell.first = cells[i - 1].first or cells[i - 1]
        axis = cell.layout["yaxis"]
        axis["showticklabels"] = False
        axis.pop("title", None)


def _vertical(cell: PlacedFigure) -> list[Any]:
    """What a vertical axis is: its range, or its categories; of what data decide, nobody knows
    whether it is another's too.
    """
    axis = cell.layout.get("yaxis") or {}
    pairs = {(trace.get("xaxis"), trace.get("yaxis")) for trace in cell.traces}
    names = [list(t["y"]) for t in cell.traces if t["type"] == "heatmap"]
    ends = axis.get("range") or (names if axis.get("type") == "category" else None)
    if cell.solid or cell.pictures or len(pairs) > 1 or not ends:
        return [id(cell)]
    return [ends, *(axis.get(key) for key in ("type", "tickvals", "ticktext", "title"))]


def _scale(trace: Mapping[str, Any]) -> list[Any]:
    """What the colours of a trace mean; of ends that data decide, nobody knows whether they are
    equal.
    """
    low, high = ("cmin", "cmax") if trace["type"] == "surface" else ("zmin", "zmax")
    ends = [trace.get(low), trace.get(high)]
    own = id(trace) if None in ends else 0
    return [ends, own, trace.get("colorscale"), (trace.get("colorbar") or {}).get("title")]


def _place_columns(cells: Sequence[PlacedFigure], most: int, gap: float) -> None:
    """Equal widths; room for the bar of the last cell, or for one beside each."""
    each = any(cell.bars for cell in cells[:-1])
    last = bool(cells[-1].bars)
    bars = _BAR * (most if each else int(last))
    sheet = cells[0].sheet
    width = (sheet - gap * (most - 1) - bars) / most
    for i, cell in enumerate(cells):
        start = i * (width + gap + _BAR * each)
        cell.x = start / sheet, (start + width) / sheet


def _fit_axes(cell: PlacedFigure) -> None:
    """Wrap titles that are longer than their axes, and name fewer places on a short axis."""
    for which, length in (("x", cell.width), ("y", cell.height)):
        axis = cell.layout.get(f"{which}axis")
        if not axis or cell.solid:
            continue
        if which == "x" and length < 300 and not any(k in axis for k in ("dtick", "tickvals")):
            axis.setdefault("nticks", 5)
        words = (axis.get("title") or {}).get("text") or ""
        most = max(8, int(length / (1.1 * _LETTER)))
        if "<" not in words and len(words) > most:
            axis["title"]["text"] = "<br>".join(textwrap.wrap(words, most, break_long_words=False))


def _headed(cell: PlacedFigure) -> float:
    """Wrap the title of a cell to its width, each of its lines. Returns the pixels above the axes;
    the corners of a scene are empty, and hold it.
    """
    letters = max(10, int(cell.width / (1.1 * _LETTER)))
    whole = unbroken(cell.title)
    long = any(
        len(word) > letters for word in re.split(r"[ \n]", whole)
    )  # it would lie over a neighbour
    lines = [
        line for part in whole.split("\n")
        for line in textwrap.wrap(part, letters, break_on_hyphens=long, break_long_words=long)
    ]  # fmt: skip
    cell.head = "<br>".join(plain_html(line) for line in lines)
    named = any(
        note.get("y") == 1 and note.get("yanchor") == "bottom"
        for note in cell.layout.get("annotations") or ()
    )
    return 8.0 if cell.solid else 17.0 * (len(lines) + named) + 8


def _letters(text: str) -> int:
    """Of the longest line, without tags; an entity is one letter."""
    shown = re.sub(r"&#?\w+;", "x", re.sub(r"<(?!br)[^>]*>", "", str(text)))
    return max(map(len, shown.split("<br>")))
