"""The files that ``evaluate`` writes on demand beside ``eval.json``, and those that it reads."""

from collections.abc import Sequence
from pathlib import Path

from grace_geom.distributed import first, world
from grace_geom.errors import UserError
from grace_geom.evaluation.adversarial import read_adversarial, save_adversarial
from grace_geom.evaluation.class_tables import write_class_tables
from grace_geom.evaluation.outcomes import Gatherer, SetOutcomes, check_kind, write_outcomes
from grace_geom.evaluation.table import names_of
from grace_geom.evaluation.transfer import Extras
from grace_geom.records import EvalRecord


class ExtraFiles:
    """What is gathered while several checkpoints are evaluated, and written when all are done.

    Args:
        class_tables: Folder of per-class accuracies and confusion matrices.
        outcomes: File of the outcomes image by image.
        adversarial: Folder of adversarial images; written after each checkpoint.
        transfer: Adversarial images of other checkpoints.
        calibration: Measure calibration, too.

    Raises:
        UserError: For an ending that is not known, a file that cannot be read, or adversarial
            images that several processes would have to save.
    """

    def __init__(
        self,
        class_tables: Path | None = None,
        outcomes: Path | None = None,
        adversarial: Path | None = None,
        transfer: Sequence[Path] = (),
        calibration: bool = False,
    ) -> None:
        if outcomes is not None:
            check_kind(outcomes)
        if adversarial is not None and world().size > 1:
            raise UserError("--save-adversarial works in one process only: start without torchrun")
        self.class_tables, self.outcomes, self.adversarial = class_tables, outcomes, adversarial
        self.calibration = calibration
        self.transfer = tuple(map(read_adversarial, transfer))
        self._gather: Gatherer | None = None
        self._found: list[list[SetOutcomes]] = []
        self._written: list[Path] = []

    def begun(self) -> Extras:
        """For the evaluation of one more checkpoint."""
        if self.outcomes is not None or self.adversarial is not None:
            self._gather = Gatherer(self.adversarial is not None)
        return Extras(self._gather, self.transfer, self.calibration)

    def done(self, record: EvalRecord) -> None:
        """A checkpoint is evaluated."""
        if self._gather is None or not first():
            return
        found = self._gather.found
        if self.adversarial is not None:
            size = int(record.settings["image_size"])
            made = [some for some in found if some.moved]
            self._written += save_adversarial(
                self.adversarial, record.run, record.checkpoint, size, made
            )
            for some in made:
                some.moved.clear()
        self._found.append(found)

    def written(self, records: Sequence[EvalRecord]) -> list[Path]:
        """Write what is left, and all paths."""
        if self.outcomes is not None:
            runs = list(zip(names_of(records), self._found, strict=True))
            write_outcomes(self.outcomes, runs)
            self._written.append(self.outcomes)
        if self.class_tables is not None:
            self._written += write_class_tables(self.class_tables, records)
        return self._written
