"""Which columns of a table a telephone has room for."""

import re
from collections.abc import Sequence

from grace_geom.tables import Cell, Table

ROOM = 345.0
"""Pixels of a table on a telephone of 375."""
LETTER, SMALL = 7.4, 6.5
"""Pixels of a letter of a cell and of a heading there."""
GAP = 12.0
"""Pixels beside a cell."""


def kept(table: Table) -> int:
    """How many columns a telephone shows, names included: one of numbers at least."""
    widths = [_width(table, i) for i in range(len(table.columns))]
    used = 0.0
    for i, width in enumerate(widths):
        used += width
        if used > ROOM and i > table.labels:
            return i
    return len(widths)


def rest(table: Table, start: int) -> Table:
    """The names of the rows and the columns from ``start`` on, without title and notes."""

    def some(row: Sequence[Cell | str]) -> list[Cell | str]:
        return [*row[: table.labels], *row[start:]]

    heads = [*table.columns[: table.labels], *table.columns[start:]]
    return Table(heads, [some(row) for row in table.rows], table.labels)


def is_short(name: str) -> bool:
    """Whether a name is so short that it stays in one line on a telephone."""
    return len(name) <= 16


def _width(table: Table, i: int) -> float:
    """A heading breaks between words there, a name too if it is long; an interval stands below
    its number.
    """
    cells = [row[i] for row in table.rows]
    texts = [cell if isinstance(cell, str) else cell.full for cell in cells]
    if i < table.labels:
        parts = [text if is_short(text) else max(text.split(), key=len) for text in texts]
    else:
        parts = [part for text in texts for part in text.split(" [")]
    # no line breaks beside ± and =
    words = re.sub(r" ([±=]) ", r"_\1_", table.columns[i]).split()
    longest = max(map(len, parts), default=0) * LETTER
    return max(longest, max(map(len, words), default=0) * SMALL) + GAP
