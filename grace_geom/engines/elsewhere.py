"""What a task on another machine takes along from the command that asks for it, and brings back."""

import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOBase
from typing import Generic, TextIO

from grace_geom.engines.base import T, Task, TaskOutcome, attempt
from grace_geom.errors import Interrupted, UserError
from grace_geom.terminal import say
from grace_geom.terminal.voice import line, voice

OURS = "GRACE_GEOM_"
MOST = 200
"""Lines of a task that are brought back; the first ones of more are in the engine's logs alone."""


@dataclass(frozen=True)
class Origin:
    """Where the command runs.

    Attributes:
        folder: Its working folder, on a disk that all machines see.
        variables: Environment variables that are ours.
        quiet: Whether it is quiet.
    """

    folder: str
    variables: dict[str, str]
    quiet: bool

    @classmethod
    def here(cls) -> "Origin":
        """Of this process."""
        ours = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
        return cls(os.getcwd(), ours, voice().quiet)

    def enter(self) -> None:
        """Make this process work as one of the command's own.

        Raises:
            UserError: If this machine does not see the folder.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UserError(
                f"{os.uname().nodename} does not see {self.folder} ({error.strerror}): start the "
                "command in a folder that all machines see"
            ) from None
        os.environ |= self.variables
        voice().quiet, voice().relayed = self.quiet, True
        if self.quiet:
            warnings.simplefilter("ignore")


@dataclass(frozen=True)
class Report(Generic[T]):
    """What comes back.

    Attributes:
        outcome: Of the task.
        said: What it said meanwhile, line by line.
    """

    outcome: TaskOutcome[T]
    said: tuple[str, ...] = ()


def report(home: Origin, task: Task[T]) -> Report[T]:
    """Do a task in a process of an engine.

    One that is told to stop there (the machine is wanted back, or goes down) counts as lost: the
    command goes on, and so does the run, from its newest checkpoint.

    Args:
        home: Where the command runs.
        task: The task, all of it on this machine.
    """
    with _heard() as said:
        try:
            home.enter()
            outcome = _outcome(task)
        except UserError as error:
            outcome = TaskOutcome(task.name, error=str(error), failure="user")
        except (Interrupted, KeyboardInterrupt) as stopped:
            why = f"it was stopped there ({stopped})"
            outcome = TaskOutcome(task.name, error=why, failure="lost")
    return Report(outcome, tuple(said))


def _outcome(task: Task[T]) -> TaskOutcome[T]:
    if task.resources.processes == 1:
        return attempt(task)
    from grace_geom.engines.several import perform  # torch; small tasks need none

    return perform(task)


def tell(said: Sequence[str]) -> None:
    """Say here what a task said elsewhere."""
    for text in said:
        (say if text.startswith("warning: ") else line)(text)


class _Ear(TextIOBase):
    """A stream that remembers the last lines that were written to it."""

    def __init__(self, beside: TextIO, lines: "deque[str]") -> None:
        self._beside, self._lines, self._rest = beside, lines, ""

    def write(self, text: str) -> int:
        """Pass it on, and keep the lines that are whole."""
        self._beside.write(text)
        *whole, self._rest = (self._rest + text).split("\n")
        self._lines.extend(whole)
        return len(text)

    def flush(self) -> None:
        """Pass on what waits."""
        self._beside.flush()

    def fileno(self) -> int:
        """That of the stream beside."""
        return self._beside.fileno()


@contextmanager
def _heard() -> Iterator["deque[str]"]:
    """The last lines of stderr; they go to the engine's logs as well."""
    lines: deque[str] = deque(maxlen=MOST)
    before = sys.stderr
    sys.stderr = _Ear(before, lines)  # type: ignore[assignment]
    try:
        yield lines
    finally:
        sys.stderr = before
