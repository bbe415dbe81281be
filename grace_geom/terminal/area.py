"""The live area: rows at the bottom of a terminal that are drawn again and again, below what is
said.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

BAR = (8, 40)
"""Fewest and most columns of a bar; where there is room for fewer it is left out."""
LABEL = 12
"""Columns that a label keeps, whatever is beside it."""
PER_SECOND = 4


@dataclass(frozen=True)
class Bar:
    """One line of the area: ``LABEL ━━━━──── 120/300  310 images/s  45 s left  loss 0.41``.

    Attributes:
        label: What is under way.
        count: How much of it is done, in words: ``120/300``.
        share: The same in [0, 1], for the bar; ``None``: no bar.
        facts: Rate and time left, what there is of them.
        more: The newest numbers, which go first where there is no room.
    """

    label: str
    count: str = ""
    share: float | None = None
    facts: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


class Owner(Protocol):
    """Whose rows the area shows."""

    def rows(self) -> Sequence[Bar]:
        """As they are now; asked several times a second, from another thread."""


class Area:
    """Shows the rows of its owners while there are any. Nothing of it stays on the screen.

    What is printed meanwhile, by anybody in this process, appears above.
    """

    def __init__(self) -> None:
        self._owners: list[Owner] = []
        self._live: Live | None = None

    @property
    def owners(self) -> int:
        """How many there are."""
        return len(self._owners)

    def show(self, owner: Owner) -> None:
        """Draw the rows of this owner from now on, below those of others."""
        if not any(other is owner for other in self._owners):
            self._owners.append(owner)
        if self._live is None:
            self._live = _live(self._rows)
            self._live.start(refresh=True)

    def hide(self, owner: Owner) -> None:
        """Draw its rows no longer."""
        self._keep([other for other in self._owners if other is not owner])

    def leave(self, owners: int) -> None:
        """Keep the first so many owners."""
        self._keep(self._owners[:owners])

    def above(self, text: str) -> bool:
        """Print a line above the rows, unbroken however long it is; whether that could be done."""
        from rich.file_proxy import FileProxy
        from rich.text import Text

        if self._live is None or not isinstance(sys.stderr, FileProxy):
            return False  # nothing is drawn, or somebody listens to what is printed
        self._live.console.print(Text.from_ansi(text), soft_wrap=True)
        return True

    @property
    def drawn(self) -> bool:
        """Whether there are rows on the screen."""
        return self._live is not None

    def _keep(self, owners: list[Owner]) -> None:
        self._owners = owners
        if not owners and self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _rows(self) -> "_Rows":
        return _Rows([row for owner in list(self._owners) for row in owner.rows()])


AREA = Area()
"""The one of this process."""


def can_draw() -> bool:
    """Whether stderr is a terminal whose lines can be drawn again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def in_colour() -> bool:
    """Whether what is said may have colours (https://no-color.org)."""
    return can_draw() and not os.environ.get("NO_COLOR")


def _live(rows: Callable[[], "_Rows"]) -> "Live":
    from rich.console import Console
    from rich.live import Live

    class Steady(Console):
        """Leaves the cursor alone: a command that is killed would leave a terminal without one."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    console = Steady(
        file=sys.stderr, force_terminal=True, force_jupyter=False, no_color=not in_colour(),
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    _mind_forks()
    return Live(
        get_renderable=rows, console=console, refresh_per_second=PER_SECOND, transient=True,
        redirect_stdout=sys.stdout.isatty(), redirect_stderr=True,
    )  # fmt: skip


_minding = False


def _mind_forks() -> None:
    """Give forked processes (of data loaders) the streams themselves: the thread that draws is not
    among what they inherit, the lock that it may hold is.
    """
    global _minding
    if not _minding and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_streams_themselves)
        _minding = True


def _streams_themselves() -> None:
    for name in ("stdout", "stderr"):
        proxied = getattr(getattr(sys, name), "rich_proxied_file", None)
        if proxied is not None:
            setattr(sys, name, proxied)


class _Rows:
    """Rows as rich draws them: one line each."""

    def __init__(self, rows: Sequence[Bar]) -> None:
        self.rows = rows

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.cells import cell_len, set_cell_size
        from rich.text import Text

        width = options.max_width - 1  # a full line would wrap on some terminals
        bars = "#-" if options.ascii_only else "━─"
        for i, row in enumerate(self.rows):
            line = Text(no_wrap=True, overflow="crop", end="\n" if i + 1 < len(self.rows) else "")
            for text, style in pieces(row, width, cell_len, set_cell_size, bars):
                line.append(text, style)
            yield line


def pieces(
    row: Bar,
    width: int,
    length: Callable[[str], int] = len,
    cut: Callable[[str, int], str] = lambda text, n: text[:n],
    bars: str = "━─",
) -> list[tuple[str, str]]:
    """The row in at most ``width`` columns, as texts with their styles.

    Where it does not fit, the newest numbers go first, then the middle of the label, then the rate.

    Args:
        row: What to show.
        width: Columns that there are.
        length: Columns of a text.
        cut: A text cut to so many columns.
        bars: How the done and the other part of a bar are drawn.
    """
    facts, more = list(row.facts), list(row.more)

    def room() -> int:
        rest = [row.count, *(f" {text}" for text in (*facts, *more))]
        return width - sum(length(text) + 1 for text in rest if text)

    while more and room() < length(row.label):
        more.pop()
    while facts and room() < min(LABEL, length(row.label)):
        facts.pop(0)
    label = _shortened(row.label, max(1, room()), length, cut)
    found = [(label, "bold")]
    size = min(BAR[1], room() - length(label) - 1)
    if row.share is not None and size >= BAR[0]:
        done = round(size * min(1.0, max(0.0, row.share)))
        found += [(" ", ""), (bars[0] * done, "cyan"), (bars[1] * (size - done), "bright_black")]
    found += [(f" {row.count}", "")] if row.count else []
    found += [(f"  {text}", "") for text in facts]
    return found + [(f"  {text}", "bright_black") for text in more]


def _shortened(text: str, width: int, length: Callable[[str], int], cut: Any) -> str:
    if length(text) <= width:
        return text
    head = max(0, (width - 1) // 2)
    tail = width - 1 - head
    end = text[len(text) - tail :] if tail else ""
    while length(end) > tail:  # wide characters
        end = end[1:]
    return f"{cut(text, head)}…{end}"
