"""How far a run is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm


class Progress:
    """Shows steps, images a second, time left and a few numbers, on stderr.

    Args:
        total: Steps of the whole run.
        done: Steps done before (a resumed run).
        every: Seconds between lines where stderr is not a terminal.
        quiet: Show nothing.
    """

    def __init__(self, total: int, done: int = 0, every: float = 10.0, quiet: bool = False) -> None:
        self.total, self.done, self.every, self.quiet = total, done, every, quiet
        self.first, self.images, self.numbers = done, 0, ""
        self.began = self.last = time.perf_counter()
        self.bar: tqdm[Any] | None = None
        if sys.stderr.isatty() and not quiet:
            self.bar = tqdm(
                total=total, initial=done, unit="step", dynamic_ncols=True, smoothing=0.1
            )

    def step(self, images: int) -> None:
        """One more step, of so many images."""
        self.done, self.images = self.done + 1, self.images + images
        if self.bar is not None:
            self.bar.update()
        elif not self.quiet and time.perf_counter() - self.last > self.every:
            self.last = time.perf_counter()
            print(self.line(), file=sys.stderr, flush=True)

    def show(self, **numbers: float) -> None:
        """The newest values of some numbers (loss, accuracy)."""
        self.numbers = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self.bar is not None:
            self.bar.set_postfix_str(
                f"{self.images_per_s:.0f} images/s  {self.numbers}", refresh=False
            )

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.close()

    @property
    def images_per_s(self) -> float:
        """Mean since the start."""
        return self.images / max(time.perf_counter() - self.began, 1e-9)

    def line(self) -> str:
        """The state of the run in one line."""
        seconds = time.perf_counter() - self.began
        if (
            self.done > self.total
        ):  # Lanczos stops when it has converged, not when it was expected to
            said = f"step {self.done}, {self.total} were expected  {self.images_per_s:.0f} images/s"
            return f"{said}  {self.numbers}".rstrip()
        left = seconds / max(self.done - self.first, 1) * (self.total - self.done)
        return (
            f"step {self.done}/{self.total}  {self.images_per_s:.0f} images/s  "
            f"{tqdm.format_interval(left)} left  {self.numbers}"
        ).rstrip()
