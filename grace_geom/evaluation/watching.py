"""Who is told how far an evaluation is."""

from typing import Protocol

from grace_geom.evaluation.measures import Target
from grace_geom.evaluation.table import TITLES
from grace_geom.progress import Progress
from grace_geom.records import Accuracy, shown


class Watcher(Protocol):
    """Who is told how far an evaluation is."""

    def plan(self, numbers: int) -> None:
        """So many accuracies will be measured or found on record."""

    def begin(self, target: Target, images: int) -> None:
        """The accuracy of a target is begun, on so many images."""

    def advance(self, images: int) -> None:
        """So many more of its images are done."""

    def end(self, accuracy: Accuracy, known: bool) -> None:
        """It is there; ``known``: it was on record."""


class Silent:
    """Tells nobody."""

    def plan(self, numbers: int) -> None:
        """How many numbers there will be."""

    def begin(self, target: Target, images: int) -> None:
        """A set begins."""

    def advance(self, images: int) -> None:
        """Some images are done."""

    def end(self, accuracy: Accuracy, known: bool) -> None:
        """A set is done, or was ``known`` from an earlier evaluation."""


class Heard(Silent):
    """Keeps the answers to what an evaluation was asked, apart from others on record.

    Attributes:
        found: In the order of the questions.
    """

    def __init__(self) -> None:
        self.found: list[Accuracy] = []

    def end(self, accuracy: Accuracy, known: bool) -> None:
        """A set is done, or was ``known`` from an earlier evaluation."""
        self.found.append(accuracy)


class Console:
    """Says what is measured, on stderr: a line that changes on a terminal, a line a number
    elsewhere.

    Args:
        head: Put before every line, such as the checkpoint's name.
    """

    def __init__(self, head: str = "") -> None:
        self.reused = 0
        self._progress = Progress(head=head, every=QUIET_REFRESH)

    def plan(self, numbers: int) -> None:
        """How many numbers there will be."""
        self._progress.parts = numbers

    def begin(self, target: Target, images: int) -> None:
        """A set begins."""
        self._progress.part += 1
        self._progress.begin(f"{TITLES[target.suite]} {target.name}", images)

    def advance(self, images: int) -> None:
        """Some images are done."""
        self._progress.step(images, images)

    def end(self, accuracy: Accuracy, known: bool) -> None:
        """A set is done, or was ``known`` from an earlier evaluation."""
        if known:
            self._progress.part += 1
            self.reused += 1
            return
        where, found = f"{TITLES[accuracy.suite]} {accuracy.data}", 100 * shown(accuracy).value
        self._progress.end(f"{where}: {found:.1f} ({self._progress.seconds:.1f} s)")


QUIET_REFRESH = 60.0  # seconds between lines within one number, where stderr is not a terminal
