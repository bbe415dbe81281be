"""Who is told how far an evaluation is."""

from typing import Protocol

from grace_geom.evaluation.measures import Target
from grace_geom.records import Accuracy


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
