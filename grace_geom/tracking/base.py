"""What every tracker does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["finished", "stopped", "failed"]
PROJECT = "grace_geom"
"""Project (wandb) or experiment (mlflow) of runs for which the environment names no other."""


HIDDEN = ".trackers"


@dataclass(frozen=True)
class Home:
    """Where a tracker keeps its files, and what it must know of an earlier part of its run.

    Attributes:
        folder: Of the run, evaluation or analysis that is reported.
        key: Of several tracker runs of one folder; empty for the training itself.
        known: What ``Tracker.start`` returned when the run began; empty for a new one.
        done: Steps that a resumed training goes on from; ``None`` where there are no steps.
    """

    folder: Path
    key: str = ""
    known: Mapping[str, str] = field(default_factory=dict)
    done: int | None = None

    @property
    def hidden(self) -> Path:
        """For what people need not see, such as a tracker's own copies: nobody shall take their
        ``config.yaml`` for a run's.
        """
        return self.folder / HIDDEN


class Tracker(Protocol):
    """One run at one tracker. All calls come from one thread, in this order: ``start``, any number
    of ``log`` and ``figure``, ``finish``. Each may raise what it likes: the run goes on without it.
    """

    def start(self, settings: Mapping[str, Any], name: str) -> dict[str, str]:
        """Begin, or continue what ``Home.known`` tells.

        Args:
            settings: Of the run, as plain values.
            name: Of the run, as people shall read it.

        Returns:
            What is needed to find the run again.
        """

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers by name at a step of the training; 0 for evaluations and analyses."""

    def figure(self, name: str, path: Path) -> None:
        """A picture (``.png``) or page (``.html``); a kind that it cannot show is left out."""

    def finish(self, status: Status) -> None:
        """The end, and how the run ended."""
