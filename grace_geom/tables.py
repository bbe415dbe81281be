"""Tables of numbers for a terminal and for Markdown. Knows widths and percentages, nothing of
models.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grace_geom.quantities import plus_minus

MISSING = "-"
GAP = "  "


@dataclass(frozen=True)
class Cell:
    """What one place of a table shows.

    Attributes:
        full: The text, with its interval.
        short: The same where room is scarce; empty means ``full``.
        value: The number behind it; ``None`` where there is none.
    """

    full: str
    short: str = ""
    value: float | None = None

    def text(self, short: bool) -> str:
        """The longer or the shorter form."""
        return self.short if short and self.short else self.full

    def marked(self, mark: str) -> "Cell":
        """The same with a sign behind it that a note explains; an empty one changes nothing."""
        if not mark:
            return self
        return Cell(f"{self.full} {mark}", f"{self.short} {mark}" if self.short else "", self.value)


def percent(
    value: float | None, low: float | None = None, high: float | None = None, signed: bool = False
) -> Cell:
    """``71.3 [69.2, 73.3]``, short ``71.3 ± 2.1`` (half of the interval, where it is nearly
    symmetric).

    From shares of 1; ``-`` for ``None``.
    """
    if value is None:
        return Cell(MISSING)
    number = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    if low is None or high is None:
        return Cell(number, value=value)
    full = f"{number} [{100 * low:.1f}, {100 * high:.1f}]"
    lopsided = abs(high + low - 2 * value) > 0.1 * (
        high - low
    )  # as at the ends of [0, 1], where a ± would mislead
    short = plus_minus(100 * value, 50 * (high - low), signed=signed)
    return Cell(full, full if lopsided else short, value)


@dataclass(frozen=True)
class Table:
    """A heading for each column and rows of cells; a plain string is a cell without a number.

    Attributes:
        columns: Headings.
        rows: One cell a column.
        labels: How many of the first columns name the row: left-aligned, and repeated when a table
            is cut in blocks.
        title: A line above.
        about: What the numbers are of; stands below the title.
        notes: Lines below.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    labels: int = 1
    title: str = ""
    notes: Sequence[str] = ()
    about: str = ""

    def text(self, width: int = 100, wrap: bool = False) -> str:
        """For a terminal of ``width`` columns: with intervals if they fit, else with ±, else cut
        into blocks.

        Args:
            width: Columns that there are.
            wrap: Break the longest label in several lines where a block has more columns.
        """
        full, short = self._cells(short=False), self._cells(short=True)
        one_line = next((cells for cells in (full, short) if _line_length(cells) <= width), None)
        blocks = [one_line] if one_line else self._blocks(full, width)
        body = "\n\n".join(self._aligned(block, width if wrap else None) for block in blocks)
        notes = "\n".join(textwrap.fill(note, width) for note in self.notes)
        about = textwrap.fill(self.about, width)
        head = filter(None, [self.title, about, body])
        return "\n".join(head) + (f"\n\n{notes}" if notes else "")

    def markdown(self) -> str:
        """GitHub Markdown, numbers right-aligned."""
        head, *rows = self._cells(short=False)
        rule = ["---" if i < self.labels else "---:" for i in range(len(head))]
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
            for row in [head, rule, *rows]
        ]
        title = [f"**{self.title}**", ""] if self.title else []
        title += [self.about, ""] if self.about else []
        return "\n".join([*title, *lines, *(["", *self.notes] if self.notes else [])]) + "\n"

    def _cells(self, short: bool) -> list[list[str]]:
        rows = [
            [cell if isinstance(cell, str) else cell.text(short) for cell in row]
            for row in self.rows
        ]
        return [list(self.columns), *rows]

    def _blocks(self, cells: list[list[str]], width: int) -> list[list[list[str]]]:
        widths = _widths(cells)
        room = width - sum(w + len(GAP) for w in widths[: self.labels])
        blocks: list[list[int]] = [[]]
        for column in range(self.labels, len(widths)):
            used = sum(widths[c] + len(GAP) for c in blocks[-1])
            if blocks[-1] and used + widths[column] > room:
                blocks.append([])
            blocks[-1].append(column)
        return [
            [[*row[: self.labels], *(row[c] for c in block)] for row in cells] for block in blocks
        ]

    def _aligned(self, cells: list[list[str]], width: int | None) -> str:
        aligned = _align_decimals(cells, self.labels)
        if width is not None:
            aligned = _broken(aligned, self.labels, width)
        widths = _widths(aligned)
        sides = [str.ljust if i < self.labels else str.rjust for i in range(len(widths))]
        lines = [GAP.join(map(_pad, sides, row, widths)) for row in aligned]
        rule = GAP.join("─" * w for w in widths)
        return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:]])


def _broken(cells: list[list[str]], labels: int, width: int) -> list[list[str]]:
    """Cells with the longest label column broken between words, so that lines fit ``width``; as
    they are where its longest word is too long.
    """
    over = _line_length(cells) - width
    if over <= 0 or not labels:
        return cells
    sizes = [max(len(row[i]) for row in cells) for i in range(labels)]
    column = sizes.index(max(sizes))
    room = sizes[column] - over
    if room < max(len(word) for row in cells for word in (*row[column].split(), "")):
        return cells
    found = []
    for row in cells:
        first, *more = textwrap.wrap(row[column], room) or [""]
        found.append([*row[:column], first, *row[column + 1 :]])
        found += [[part if i == column else "" for i in range(len(row))] for part in more]
    return found


def _pad(side: Callable[[str, int], str], cell: str, width: int) -> str:
    return side(cell, width)


def _align_decimals(cells: list[list[str]], labels: int) -> list[list[str]]:
    """Pad on the right so that the first numbers of a column end at the same place (``71.3`` above
    ``8.2 [...]``).
    """
    columns = [list(column) for column in zip(*cells, strict=True)]
    for column in columns[labels:]:
        tails = [cell[len(cell.split(" ", 1)[0]) :] for cell in column[1:]]
        longest = max(map(len, tails), default=0)
        for i, tail in enumerate(tails, start=1):
            column[i] = column[i] + " " * (longest - len(tail))
    return [list(row) for row in zip(*columns, strict=True)]


def _widths(cells: list[list[str]]) -> list[int]:
    """Room for each column, alignment of its numbers included."""
    widths = []
    for column in zip(*cells, strict=True):
        heads = [len(cell.split(" ", 1)[0]) for cell in column[1:]]
        tails = [len(cell) - head for cell, head in zip(column[1:], heads, strict=True)]
        widths.append(
            max(
                len(column[0]), max(map(len, column)), max(heads, default=0) + max(tails, default=0)
            )
        )
    return widths


def _line_length(cells: list[list[str]]) -> int:
    widths = _widths(cells)
    return sum(widths) + len(GAP) * (len(widths) - 1)
