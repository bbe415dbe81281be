"""How far some work is: a row of the live area on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from dataclasses import replace

from grace_geom.terminal import AREA, Bar, say, voice
from grace_geom.terminal.area import can_draw
from grace_geom.terminal.voice import line as print_line


class Progress:
    """Shows on stderr a counter of parts, the stage, its steps, images a second, the time left and
    the newest numbers, each where it is known.

    A training has steps: ``step 20/300  310 images/s  45 s left  loss 0.41``. An evaluation has
    parts, each with images for steps: ``[2/7] OOD shapes:sketch 250/500  310 images/s  1 s left``.
    A study has parts whose time others know: ``[1/4] at-s0: step 5/20  3:20 min left``.

    On a terminal this is a row that is drawn several times a second, with a bar where the total is
    known; it is gone once the stage has ended. Elsewhere it is a line every so often.

    Args:
        total: Steps of the first stage.
        done: Steps done before (a resumed run).
        stage: What its steps are called.
        head: Stands before every line.
        parts: How many there are; ``part`` is the number of the current one. 0: nothing is counted.
        every: Seconds between lines where stderr is not a terminal.
        quiet: Show nothing; so does ``--quiet``.
    """

    def __init__(
        self,
        total: int = 0,
        done: int = 0,
        *,
        stage: str = "step",
        head: str = "",
        parts: int = 0,
        every: float = 10.0,
        quiet: bool = False,
    ) -> None:
        self.head, self.part, self.parts = head, 0, parts
        self.every, self.quiet = every, quiet or voice().quiet
        # Where rows are drawn, stderr may be what somebody else reads (the parts of a report).
        self.terminal = not self.quiet and (AREA.drawn or can_draw())
        self.last = self.began = time.perf_counter()
        self.stage, self.total, self.done, self.first = stage, total, done, done
        self.images = 0
        self.numbers: tuple[str, ...] = ()
        self.known_left: float | None = None

    def begin(self, stage: str, total: int = 0) -> None:
        """Another stage begins: its rate and its time left are counted from here."""
        self._set(stage, total, 0)
        self.draw()

    def resume(self, done: int) -> None:
        """So many steps of the stage were done before, and cost this run no time."""
        self._set(self.stage, self.total, done)

    def step(self, images: int, steps: int = 1) -> None:
        """One more step, of so many images; or several."""
        self.done, self.images = self.done + steps, self.images + images
        self.refresh()

    def look(self, stage: str, left: float, more: tuple[str, ...] = ()) -> None:
        """What is under way, the seconds left, and more in words, as somebody else knows them."""
        self.stage, self.known_left, self.numbers = stage, left, more

    def show(self, **numbers: float) -> None:
        """The newest values of some numbers (loss, accuracy)."""
        self.numbers = tuple(f"{name} {value:.4g}" for name, value in numbers.items())

    def end(self, text: str) -> None:
        """The stage is over. Where lines cannot be rewritten, ``text`` stays of it."""
        if self.terminal:
            self.clear()
        else:
            self.say(f"{self._heading()}{text}")

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            say(text)

    def draw(self) -> None:
        """Show the row from now on, where there is a terminal."""
        if self.terminal:
            AREA.show(self)

    def refresh(self) -> None:
        """Show the state, if it is time to."""
        if self.terminal:
            AREA.show(self)
        elif not self.quiet and time.perf_counter() - self.last >= self.every:
            print_line(self.line())
            self.last = time.perf_counter()

    def clear(self) -> None:
        """Take the row from the terminal; the next step brings it back."""
        if self.terminal:
            AREA.hide(self)

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.perf_counter() - self.began

    @property
    def images_per_s(self) -> float:
        """Mean since the stage began."""
        return self.images / max(self.seconds, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds to the end of the stage; ``None`` where nothing tells."""
        if self.known_left is not None:
            return self.known_left
        new = self.done - self.first
        if new <= 0 or self.done > self.total:
            return None
        return self.seconds / new * (self.total - self.done)

    def line(self) -> str:
        """The state in one line."""
        row = self.row()
        head = f"{row.label} {row.count}" if row.count else row.label
        return "  ".join([head, *row.facts, *row.more])

    def row(self) -> Bar:
        """The state as a row."""
        done, total = self.done, self.total  # the thread that draws asks at any time
        count = f"{done}/{total}" if total else ""
        if total and done > total:
            # Lanczos stops when it has converged, not when it was expected to.
            count = f"{done}, {total} were expected"
        left = self.left
        facts = [f"{_rate(self.images_per_s)} images/s"] if self.images else []
        facts += [f"{duration(left)} left"] if left is not None else []
        share = done / total if total else None
        return Bar(f"{self._heading()}{self.stage}", count, share, tuple(facts), self.numbers)

    def rows(self) -> Sequence[Bar]:
        """Its one row; where nothing tells a rate yet, with the time that it has taken."""
        row = self.row()
        return [row if row.facts else replace(row, facts=(f"{duration(self.seconds)} so far",))]

    def _set(self, stage: str, total: int, done: int) -> None:
        self.stage, self.total, self.done, self.first = stage, total, done, done
        self.images, self.numbers, self.known_left = 0, (), None
        self.began = time.perf_counter()

    def _heading(self) -> str:
        return self.head + (f"[{self.part}/{self.parts}] " if self.parts else "")


def duration(seconds: float) -> str:
    """``45 s``, ``3:20 min``, ``2 h 05 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def _rate(per_second: float) -> str:
    """Whole numbers; below ten, two digits: a slow attack is not one that stands still."""
    return f"{per_second:.0f}" if per_second >= 9.5 else f"{per_second:.2g}"
