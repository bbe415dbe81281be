"""How wide the columns of a table are, and which of them are seen at once."""

import html
from collections.abc import Sequence

from grace_geom.plots.variants import cut
from grace_geom.records.printed import Cell, Figure, Printed

LETTER = 5.7
"""Pixels of a letter of a name."""
ROOM = {"wide": 545, "narrow": 385}
"""Pixels that a table has on a laptop, beside the figures, and on a telephone."""
MORE = """<style>.more{font-size:.875rem;margin:0}.more.narrow{display:none}
@media(max-width:640px){.more.narrow{display:block}.more.wide{display:none}}</style>"""
NUMBERS = 35
"""Pixels of the column of numbers that stand for names."""
NUMBER = "#"
"""Head of the numbers that stand for long names."""


def fitting(table: Printed, last: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns that a laptop shows beside the figures without scrolling, and those that it does not.

    Args:
        table: All that there is.
        last: Columns that are shown only where there is room, the first ones first; all others are
            in any case.
    """
    room = ROOM["wide"]
    needed = {head: taken(head, [r[i] for r in table.rows]) for i, head in enumerate(table.heads)}
    used = sum(pixels for head, pixels in needed.items() if head not in last)
    left_out = []
    for head in (head for head in last if head in needed):
        if used + needed[head] <= room:
            used += needed[head]
        else:
            left_out.append(head)
    kept = [head for head in table.heads if head not in left_out]
    return kept, [head for head in table.heads if head in left_out]


def further(table: Printed) -> str:
    """Which columns are not seen before the table is scrolled, on a laptop and on a telephone: a
    bar that shows only while it is used says nothing of them. HTML, of which one part is seen.
    """
    said = []
    for where, room in ROOM.items():
        used, hidden = 0, []
        for i, head in enumerate(table.heads):
            used += taken(head, [row[i] for row in table.rows])
            hidden += [head] if used > room else []
        if hidden:
            names = html.escape(", ".join(hidden))
            said.append(f'<p class="more {where}">Scroll the table sideways for {names}.</p>')
    return MORE + "".join(said)


def taken(head: str, cells: Sequence[Cell]) -> int:
    """Pixels of a column."""
    if head == NUMBER:
        return NUMBERS
    if any(isinstance(cell, Figure) for cell in cells):
        return width(head, cells)
    longest = max((len(cut(str(cell or ""))) for cell in cells), default=0)
    return round(20 + LETTER * max(longest, len(head)))


def width(head: str, cells: Sequence[Cell]) -> int:
    """Pixels that a column needs: Streamlit measures numbers as if none was bold."""
    written = [round(17 + 5.8 * len(x.short())) for x in cells if isinstance(x, Figure)]
    return max([64, round(20 + 6.6 * len(head)), *written])
