"""How wide the columns of a table are, and which of them are seen at once."""

import html
from collections.abc import Sequence

from grace_geom.plots.variants import cut
from grace_geom.records.printed import Cell, Figure, Printed

ROOM = 545
"""Pixels that a table has on a laptop beside the figures."""
LEAST = 280
"""Pixels of the narrowest page that somebody reads."""
MOST_NAMED = 4
"""Columns out of sight that are named."""
EDGE = 2
"""Pixels of a table's frame."""
MORE = (
    ".more{container-type:inline-size}.more p{display:none;margin:0;padding-top:.4rem;"
    "font-size:.875rem}[data-testid=stElementContainer]:has(>.stHtml>.more){margin-top:-1rem}"
)  # without a gap of its own where no sentence is seen
ADVANCE = {
    200: " ", 255: ".,:;'ijl|\u00b7", 311: "fI()[]!-", 350: "tr/", 425: "sz", 470: "cvxy",
    505: "aegkFJLY0123456789+=_\u2212\u2013", 556: "bdhnopquAESTVXZ",
    588: "BCKPR\u03b1\u03b2\u03b5\u03bb\u03c1\u03c4", 665: "DGHNOQU", 720: "w", 850: "mMW%@",
}  # fmt: skip
"""Thousandths of the size of Source Sans that a letter takes, at most: no column is too narrow."""
OF_LETTER = {letter: 0.014 * share for share, letters in ADVANCE.items() for letter in letters}
UNKNOWN = 14.0
"""Pixels of any other letter."""
BOLD = 1.05
"""How much wider names in their colours are."""
MOST_TEXT = 360
"""Pixels of a column of text, at most."""
NUMBERS = 35
"""Pixels of the column of numbers that stand for names."""
NUMBER, RUN = "#", "run"
"""Heads of the numbers that stand for long names, and of the names."""


def fitting(table: Printed, last: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns that a laptop shows beside the figures without scrolling, and those that it does not.

    Args:
        table: All that there is.
        last: Columns that are shown only where there is room, the first ones first; all others are
            in any case.
    """
    room = ROOM
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
    """Which columns are not seen before the table is scrolled: a bar that shows only while it is
    used says nothing of them. HTML with a sentence for each room that leaves some out, of which
    that is seen which is true; empty where all are seen on the narrowest page.
    """
    edges, used = [], EDGE
    for i, head in enumerate(table.heads):
        used += taken(head, [row[i] for row in table.rows])
        edges.append(used)
    rules, said, least = [], [], 0
    for i, edge in enumerate(edges):
        if edge > max(least, LEAST):
            where = f"more-{least}-{edge}"
            rules.append(
                f"@container (min-width:{least}px) and (max-width:{edge - 0.02:.2f}px)"
                f"{{.{where}{{display:block!important}}}}"
            )
            names = html.escape(_named(table.heads[i:]))
            said.append(f'<p class="{where}">Scroll the table sideways for {names}.</p>')
            least = edge
    if not said:
        return ""
    return f'<style>{MORE}{"".join(rules)}</style><div class="more">{"".join(said)}</div>'


def _named(heads: Sequence[str]) -> str:
    more = len(heads) - MOST_NAMED
    if more < 2:
        return ", ".join(heads)
    return f"{', '.join(heads[:MOST_NAMED])} and {more} more columns"


def taken(head: str, cells: Sequence[Cell]) -> int:
    """Pixels of a column."""
    if head == NUMBER:
        return NUMBERS
    if any(isinstance(cell, Figure) for cell in cells):
        return width(head, cells)
    texts = [cut(str(cell or "")) if head == RUN else str(cell or "") for cell in cells]
    longest = max(map(letters, texts), default=0.0) * (BOLD if head == RUN else 1.0)
    return min(round(20 + max(longest, letters(head))), MOST_TEXT)


def letters(text: str) -> float:
    """Pixels of a text."""
    return sum(OF_LETTER.get(letter, UNKNOWN) for letter in text)


def width(head: str, cells: Sequence[Cell]) -> int:
    """Pixels that a column needs: Streamlit measures numbers as if none was bold."""
    written = [round(17 + 5.8 * len(x.short())) for x in cells if isinstance(x, Figure)]
    return max([64, round(20 + 6.6 * len(head)), *written])
