"""How far some work is: one line that is rewritten on a terminal, plain lines now and then
elsewhere.
"""

import shutil
import sys
import time

REDRAW = 0.1  # seconds between two states of a line on a terminal, which a fast loop would flood


class Progress:
    """Shows on stderr a counter of parts, the stage, its steps, images a second, the time left and
    the newest numbers, each where it is known.

    A training has steps: ``step 20/300  310 images/s  45 s left  loss 0.41``. An evaluation has
    parts, each with images for steps: ``[2/7] OOD shapes:sketch 250/500  310 images/s  1 s left``.
    A study has parts whose time others know: ``[1/4] at-s0: step 5/20  3:20 min left``.

    Args:
        total: Steps of the first stage.
        done: Steps done before (a resumed run).
        stage: What its steps are called.
        head: Stands before every line.
        parts: How many there are; ``part`` is the number of the current one. 0: nothing is counted.
        every: Seconds between lines where stderr is not a terminal.
        quiet: Show nothing.
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
        self.every, self.quiet = every, quiet
        self.terminal = sys.stderr.isatty() and not quiet
        self.last = self.began = time.perf_counter()
        self.stage, self.total, self.done, self.first = stage, total, done, done
        self.images, self.numbers = 0, ""
        self.known_left: float | None = None

    def begin(self, stage: str, total: int = 0) -> None:
        """Another stage begins: its rate and its time left are counted from here."""
        self._set(stage, total, 0)
        self._draw()

    def resume(self, done: int) -> None:
        """So many steps of the stage were done before, and cost this run no time."""
        self._set(self.stage, self.total, done)

    def step(self, images: int, steps: int = 1) -> None:
        """One more step, of so many images; or several."""
        self.done, self.images = self.done + steps, self.images + images
        self.refresh()

    def look(self, stage: str, left: float) -> None:
        """What is under way, and the seconds left, as somebody else knows them."""
        self.stage, self.known_left = stage, left

    def show(self, **numbers: float) -> None:
        """The newest values of some numbers (loss, accuracy)."""
        self.numbers = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())

    def end(self, text: str) -> None:
        """The stage is over. Where lines cannot be rewritten, ``text`` stays of it."""
        if self.terminal:
            self.clear()
        else:
            self.say(f"{self._heading()}{text}")

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.clear()
            print(text, file=sys.stderr, flush=True)

    def refresh(self) -> None:
        """Show the state, if it is time to."""
        pause = REDRAW if self.terminal else self.every
        if self.quiet or time.perf_counter() - self.last < pause:
            return
        if self.terminal:
            self._draw()
        else:
            print(self.line(), file=sys.stderr, flush=True)
        self.last = time.perf_counter()

    def clear(self) -> None:
        """Empty the line of a terminal, so that others can be printed."""
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

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
        steps = f" {self.done}/{self.total}" if self.total else ""
        if self.total and self.done > self.total:
            # Lanczos stops when it has converged, not when it was expected to.
            steps = f" {self.done}, {self.total} were expected"
        left = self.left
        parts = [
            f"{self._heading()}{self.stage}{steps}",
            f"{_rate(self.images_per_s)} images/s" if self.images else "",
            f"{duration(left)} left" if left is not None else "",
            self.numbers,
        ]
        return "  ".join(part for part in parts if part)

    def _set(self, stage: str, total: int, done: int) -> None:
        self.stage, self.total, self.done, self.first = stage, total, done, done
        self.images, self.numbers, self.known_left = 0, "", None
        self.began = time.perf_counter()

    def _heading(self) -> str:
        return self.head + (f"[{self.part}/{self.parts}] " if self.parts else "")

    def _draw(self) -> None:
        if self.terminal:  # a line that the terminal breaks in two could not be rewritten
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{self.line()[:width]}", end="", file=sys.stderr, flush=True)


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
