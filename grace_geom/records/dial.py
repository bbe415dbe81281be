"""``dial.json``: the accuracies of one run along the line from its pretrained weights."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from grace_geom.files import write_text
from grace_geom.records.accuracy import SUITES, Accuracy
from grace_geom.records.forms import PointForm, read_accuracies
from grace_geom.records.merge import merge_into
from grace_geom.records.schema import Plain, checked, dumps, misfit, read_record
from grace_geom.records.summary import summarise

DIAL_FORMAT = "grace_geom.dial/1"
MEND = "turn the dial again"


class _DialForm(Struct):
    points: list[dict[str, Any]]


@dataclass(frozen=True)
class DialPoint:
    """The model at one t.

    Attributes:
        t: Where on the line; 0 is the pretrained model, 1 the run's.
        accuracies: On evaluation data.
        held_out: On held-out training images, which t may be chosen by: clean, and under a short
            attack.
    """

    t: float
    accuracies: tuple[Accuracy, ...] = ()
    held_out: tuple[Accuracy, ...] = ()

    def answered(self, accuracies: Sequence[Accuracy], held_out: Sequence[Accuracy]) -> "DialPoint":
        """The same point with newer answers; those to other questions, or on other images, stay."""
        order = sorted(_beside(self.accuracies, accuracies), key=lambda a: SUITES.index(a.suite))
        return DialPoint(self.t, tuple(order), tuple(_beside(self.held_out, held_out)))


@dataclass(frozen=True)
class DialRecord:
    """The accuracies of one run along its line.

    Attributes:
        checkpoint: SHA-256 of the checkpoint file.
        run: Name of the run directory.
        method: Method that made it.
        settings: What all numbers share.
        points: By ascending t.
        chosen: The t with the highest held-out score, or ``None``.
        chosen_by: What the score is, in words, and which other t reach it; empty where nothing was
            chosen.
        versions: Of this package and of what it computed with.
    """

    checkpoint: str
    run: str
    method: str
    settings: Plain
    points: tuple[DialPoint, ...] = ()
    chosen: float | None = None
    chosen_by: str = ""
    versions: Plain = field(default_factory=dict)
    format: str = DIAL_FORMAT

    def point(self, t: float) -> DialPoint:
        """The point at ``t``, empty where there is none."""
        return next((p for p in self.points if p.t == t), DialPoint(t))

    def with_point(self, point: DialPoint) -> "DialRecord":
        """The same record with this point in place of the one at its t."""
        others = [p for p in self.points if p.t != point.t]
        return dataclasses.replace(self, points=tuple(sorted([*others, point], key=lambda p: p.t)))

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all; each point with the summary of its accuracies."""
        plain = dataclasses.asdict(self)
        for row, point in zip(plain["points"], self.points, strict=True):
            estimates = summarise(point.accuracies)
            row["summary"] = {name: e.value if e else None for name, e in estimates.items()}
            row["intervals"] = {
                name: [e.low, e.high] if e else None for name, e in estimates.items()
            }
        write_text(path, dumps(plain))
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> "DialRecord":
        """Read ``dial.json``.

        Raises:
            RecordError: If the file is missing, truncated, not of this kind, or of a newer version;
                for an entry of another type or that contradicts another, it names the key.
        """
        plain = read_record(path, DIAL_FORMAT)
        rows = checked(plain, _DialForm, path, MEND).points
        points = tuple(_read(row, path, f"$.points[{i}]") for i, row in enumerate(rows))
        if len({point.t for point in points}) < len(points):
            raise misfit(path, "$.points", "the same t is there twice", MEND)
        record = checked(plain | {"points": []}, cls, path, MEND)
        return dataclasses.replace(record, points=points)

    def merged_into(
        self,
        path: Path | str,
        superseded: Collection[DialPoint] = (),
        aside: Callable[["DialRecord"], Path] | None = None,
    ) -> "DialRecord":
        """Write this record into its file with the points that another process has found meanwhile,
        and return both (:func:`~grace_geom.records.merge.merge_into`).

        Args:
            path: ``dial.json``; locked while it is read and written.
            superseded: Points of the file that are not to be kept.
            aside: Where a record of the same checkpoint with other settings is kept.

        Raises:
            UserError: If the file cannot be written, or is of a newer version: it would be lost.
        """
        return merge_into(path, self, superseded, aside)

    def without(self, superseded: Collection[DialPoint]) -> "DialRecord":
        """The same record less some points."""
        kept = tuple(p for p in self.points if p not in superseded)
        return dataclasses.replace(self, points=kept)

    def joined(self, newer: "DialRecord") -> "DialRecord":
        """The newer record with the points of this one, and at each t with the answers that no
        newer one replaces; the newer alone where the checkpoint or the shared settings differ.
        """
        if (self.checkpoint, self.settings) != (newer.checkpoint, newer.settings):
            return newer
        record = newer
        if newer.chosen is None and not newer.chosen_by:  # it was not asked to choose
            record = dataclasses.replace(newer, chosen=self.chosen, chosen_by=self.chosen_by)
        for point in self.points:
            ours = record.point(point.t)
            record = record.with_point(point.answered(ours.accuracies, ours.held_out))
        return record


def _beside(older: Sequence[Accuracy], newer: Sequence[Accuracy]) -> list[Accuracy]:
    return [*(a for a in older if not any(b.replaces(a) for b in newer)), *newer]


def _read(row: Plain, path: Path | str, at: str) -> DialPoint:
    form = checked(row, PointForm, path, MEND, at)
    return DialPoint(
        form.t,
        read_accuracies(form.accuracies, path, MEND, f"{at}.accuracies"),
        read_accuracies(form.held_out, path, MEND, f"{at}.held_out"),
    )
