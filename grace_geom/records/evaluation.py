"""``eval.json``: every accuracy of one checkpoint."""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from grace_geom.files import write_text
from grace_geom.records.accuracy import SUITES, Accuracy
from grace_geom.records.forms import read_accuracies
from grace_geom.records.merge import merge_into
from grace_geom.records.schema import Plain, checked, dumps, read_record
from grace_geom.records.summary import summarise

EVAL_FORMAT = "grace_geom.eval/1"
MEND = "evaluate again"


class _EvalForm(Struct):
    accuracies: list[dict[str, Any]]


@dataclass(frozen=True)
class EvalRecord:
    """Every accuracy of one checkpoint: ``eval.json``.

    Attributes:
        checkpoint: SHA-256 of the checkpoint file.
        run: Name of the run directory (or of the file, for a checkpoint outside of one).
        method: Method that made it; empty where unknown.
        seed: Training seed, or ``None``.
        settings: What all accuracies share (data, evaluation seed, precision, classes, the model
            as it was loaded). Records merge if they agree.
        accuracies: One for each question and sample of images: what was measured on fewer images,
            or by a shorter attack, stands beside the stronger number, which is the one that counts
            (:func:`~grace_geom.records.strongest`).
        summary: ``ID``, ``OOD``, ``Adv``, ``NatAdv``, ``ZS``, ``HM`` and the paper's ``OOD'``,
            ``Adv'``, ``HM'``, in [0, 1]; ``None`` where a suite was not evaluated.
        intervals: 95 % interval ``[low, high]`` of each number of the summary, from image counts.
        versions: Of this package and of what it computed with.
    """

    checkpoint: str
    run: str
    method: str
    seed: int | None
    settings: Plain
    accuracies: tuple[Accuracy, ...]
    summary: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, list[float] | None] = field(default_factory=dict)
    versions: Plain = field(default_factory=dict)
    format: str = EVAL_FORMAT

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all."""
        write_text(path, dumps(dataclasses.asdict(self)))
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> "EvalRecord":
        """Read ``eval.json``.

        Raises:
            RecordError: If the file is missing, truncated, not of this kind, or of a newer version;
                for an entry of another type or that contradicts another, it names the key.
        """
        plain = read_record(path, EVAL_FORMAT)
        form = checked(plain, _EvalForm, path, MEND)
        rows = read_accuracies(form.accuracies, path, MEND)
        record = checked(plain | {"accuracies": []}, cls, path, MEND)
        return dataclasses.replace(record, accuracies=rows)

    def merged_into(
        self,
        path: Path | str,
        superseded: Collection[Accuracy] = (),
        aside: Callable[["EvalRecord"], Path] | None = None,
    ) -> "EvalRecord":
        """Write this record into its file with what another process has found meanwhile, and return
        both (:func:`~grace_geom.records.merge.merge_into`).

        Args:
            path: ``eval.json``; locked while it is read and written.
            superseded: Accuracies of the file that are not to be kept.
            aside: Where a record of the same checkpoint with other settings is kept.

        Raises:
            UserError: If the file cannot be written, or is of a newer version: it would be lost.
        """
        return merge_into(path, self, superseded, aside)

    def without(self, superseded: Collection[Accuracy]) -> "EvalRecord":
        """The same record less some accuracies."""
        kept = tuple(a for a in self.accuracies if a not in superseded)
        return dataclasses.replace(self, accuracies=kept)

    def summed(self) -> "EvalRecord":
        """The same record with the summary of its accuracies."""
        estimates = summarise(self.accuracies)
        return dataclasses.replace(
            self,
            summary={name: e.value if e else None for name, e in estimates.items()},
            intervals={name: [e.low, e.high] if e else None for name, e in estimates.items()},
        )

    def joined(self, newer: "EvalRecord") -> "EvalRecord":
        """The newer record with the accuracies of :meth:`merged`."""
        return dataclasses.replace(newer, accuracies=self.merged(newer)).summed()

    def merged(self, newer: "EvalRecord") -> "tuple[Accuracy, ...]":
        """The newer accuracies, and those of this record that answer other questions about the same
        checkpoint, or the same on other images.

        Nothing of this record is kept where the checkpoint or the shared settings differ.
        """
        if (self.checkpoint, self.settings) != (newer.checkpoint, newer.settings):
            return newer.accuracies
        kept = [a for a in self.accuracies if not any(b.replaces(a) for b in newer.accuracies)]
        order = {suite: i for i, suite in enumerate(SUITES)}
        return tuple(
            sorted([*kept, *newer.accuracies], key=lambda a: order.get(a.suite, len(order)))
        )
