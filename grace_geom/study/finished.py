"""The finished runs of a study, for work on them afterwards; and tables of how that went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grace_geom.errors import UserError
from grace_geom.evaluation import record_file
from grace_geom.files import sha256
from grace_geom.records import EvalRecord, RecordError
from grace_geom.study.state import Say
from grace_geom.tables import Cell, Table


@dataclass(frozen=True)
class LaterWork:
    """Which study, and where the work is done.

    Attributes:
        study: Directory of a study, or another folder of runs.
        workers: Number of tasks at a time, each in its own process; torch's threads and the GPUs
            are divided among them. null: 1; with --engine ray or slurm as many as there is room
            for.
        device: Device: cpu, cuda, cuda:1; auto: GPUs if there are some, shared among the workers.
        data_root: Directory of the torchvision and ImageNet data sets; default: that of each run.
        deterministic: Same bits in every measurement on the same GPU, for some speed.
        fresh: Measure again, even what is known.
    """

    study: Path = field(metadata={"group": "study"})
    workers: int | None = None
    device: str = "auto"
    data_root: Path | None = None
    deterministic: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers must be at least 1, not {self.workers}")


@dataclass(frozen=True)
class FinishedRun:
    """A run that was trained and evaluated.

    Attributes:
        file: Its checkpoint.
        sha: SHA-256 of that.
        record: Its evaluation.
    """

    file: Path
    sha: str
    record: EvalRecord

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.file.parent

    @property
    def name(self) -> str:
        """Its run directory's name."""
        return self.folder.name


def finished_runs(study: Path, say: Say) -> list[FinishedRun]:
    """Runs of a study whose newest checkpoint was evaluated, by name; of the others it is said.

    Raises:
        UserError: If there is no such folder, or no finished run in it.
    """
    if not study.is_dir():
        raise UserError(f"no such study: {study}")
    found = []
    for file in sorted(study.glob("*/ckpt.pt")):
        try:
            record, sha = EvalRecord.load(record_file(file)), sha256(file)
        except RecordError:
            say(f"{file.parent.name} is not finished: left out")
            continue
        if record.checkpoint != sha:
            say(f"{file.parent.name} was trained on after its evaluation: left out")
            continue
        found.append(FinishedRun(file, sha, record))
    if not found:
        raise UserError(
            f"{study} holds no finished run; `python -m grace_geom.compare --out {study}` finishes "
            "a study"
        )
    return found


def summary_table(
    rows: Sequence[str], columns: Sequence[str], states: Mapping[tuple[str, str], str]
) -> Table:
    """How the work on each run went: one row a run, one column a kind of work.

    Args:
        rows: Names of runs.
        columns: Kinds of work.
        states: (kind, run) -> what became of it.
    """
    cells: list[list[Cell | str]] = [
        [row, *(states.get((column, row), "-") for column in columns)] for row in rows
    ]
    note = "current: measured before, with the same settings on the same contents."
    some = any(state == "current" for state in states.values())
    return Table(["run", *columns], cells, notes=[note] if some else [])
