"""A run directory: every file whole, records that fit the newest checkpoint, old checkpoints
removed after new ones.
"""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self, TextIO

import msgspec

from grace_geom.attacks import AttackSpec
from grace_geom.checkpoint import Checkpoint, checkpoint_of, digest, link, save_checkpoint
from grace_geom.cli import RECORD
from grace_geom.config import TrainConfig
from grace_geom.data import ImageSet
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.files import write_text
from grace_geom.models import ClipClassifier
from grace_geom.progress import Progress
from grace_geom.serialise import plain, read_yaml, to_yaml
from grace_geom.tracking import HIDDEN, Status, Trackers, asked
from grace_geom.training.sentences import held_out, introduction
from grace_geom.training.trainer import Trainer
from grace_geom.weights import Weights
from grace_geom.world import world

ATTACKED = 500
"""Most held-out images that are attacked."""


@dataclass(eq=False)
class Follower:
    """What the loop tells a process that is not the first: it takes its part in evaluations and
    keeps nothing.

    Attributes:
        config: Settings; ``config.run_dir`` is the run directory.
        model: The classifier that held-out images are shown to.
        val: Held-out images.
        where: Record of machine, versions and data.
        members: Which images are trained on and held out, for the checkpoint.
        quiet: No progress.
    """

    config: TrainConfig
    model: ClipClassifier
    val: ImageSet
    where: dict[str, Any]
    _: KW_ONLY
    members: Weights
    quiet: bool

    def __post_init__(self) -> None:
        self.out = self.config.run_dir
        self.reports = asked(self.config.report_to, self.config.tensorboard)
        self.saved: int | None = None
        self.share = max(1, self.config.batch_size // world().size)
        self.pieces: Callable[[], int] = lambda: self.share

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def close(self, status: Status) -> None:
        """Nothing is open."""

    def start(self, trainer: Trainer) -> None:
        """The run begins, or goes on."""
        self.saved = trainer.run.step or None
        self.pieces = lambda: min(trainer.plan.micro_batch or self.share, self.share)

    def step(self, images: int) -> None:
        """One step is done."""

    def log(self, record: dict[str, float]) -> None:
        """One line of ``metrics.jsonl``."""

    def emit(self, stream: str, record: dict[str, Any]) -> None:
        """One line of ``STREAM.jsonl``."""

    def save(self, trainer: Trainer, weights: Weights) -> None:
        """A checkpoint is due: the first process writes it."""
        self.saved = trainer.run.step

    def discard(self) -> None:
        """The run failed before its first checkpoint."""

    def in_place(self) -> bool:
        """Whether the run directory is still where it was."""
        return True

    def way_on(self) -> str:
        """What there is to continue from, and how."""
        if self.saved is None:
            return "there is no checkpoint yet: start again, and --save-every N keeps one every N steps"
        return (
            f"the newest checkpoint is step {self.saved}. Continue, on any number of processes, "
            f"with: python -m grace_geom.train --out {self.out} --resume (or torchrun -m "
            "grace_geom.train ...)"
        )

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Accuracy on the held-out images, and under a short attack where one is asked for; nothing
        of images that have captions alone.
        """
        if not self.val.labelled:
            return {}
        # A whole batch may have no room under attack: a step has a share of it here, perhaps cut.
        settings: dict[str, Any] = {
            "batch_size": self.pieces(),
            "image_size": self.config.image_size,
        }
        clean = evaluate_set(self.model, self.val, "id", "val", weights=weights, **settings)
        found = {"val_acc": clean.accuracy, "val_n": clean.n}
        if self.config.val_pgd:
            attack = AttackSpec(
                "pgd",
                getattr(self.config.build_method(), "eps", 4 / 255),
                steps=self.config.val_pgd,
            )
            some = self.val.subset(ATTACKED, self.config.split_seed)
            attacked = evaluate_set(
                self.model, some, "adv", "val", attack=attack, weights=weights, **settings
            )
            found |= {"val_acc_pgd": attacked.accuracy, "val_pgd_n": attacked.n}
        return found


class RunDirectory(Follower):
    """What the loop tells goes here: ``metrics.jsonl``, ``NAME.jsonl``, checkpoints, progress.

    The directory is made when the ``with`` block is entered.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        # Where a run lies is not what it is: the same run in another folder writes the same
        # checkpoint.
        self.settings = {
            name: v
            for name, v in self.config.flat().items()
            if name not in ("out", "resume", "resume_anyway", "stop_after")
        }
        self.base_sha256 = digest(self.model.clip.state_dict())
        self.streams: dict[str, TextIO] = {}
        self.progress = Progress(0, quiet=True)
        self.trackers = Trackers(self.reports, self.out, say=lambda text: self.progress.say(text))
        self.folder: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        self.out.mkdir(parents=True, exist_ok=True)
        self.folder = _identity(self.out)
        stored = read_yaml(self.out / "config.yaml") if (self.out / "config.yaml").is_file() else {}
        record = record_of(stored, self.out / "config.yaml") or self.where
        if stored and {**record, "resumed": None} != {**plain(self.where), "resumed": None}:
            record["resumed"] = [*(record.get("resumed") or []), self.where]
        write_text(
            self.out / "config.yaml",
            to_yaml(
                {**self.config.flat(), "resume": False, "resume_anyway": False, RECORD: record}
            ),
        )
        return self

    def in_place(self) -> bool:
        """Whether the run directory is still where it was, and no other has taken its place."""
        return self.folder == _identity(self.out)

    def check_place(self) -> None:
        """Write nothing where the run directory no longer is.

        Raises:
            UserError: If it was removed, renamed or replaced.
        """
        if not self.in_place():
            raise UserError(
                f"{self.out} was removed, renamed or replaced while the training ran: it stops, and "
                "nothing is written there any more. If the folder has another name now, continue "
                "with: python -m grace_geom.train --resume --out NAME"
            )

    def discard(self) -> None:
        """Take back a run that failed before its first checkpoint: what is left would only be in
        the way.
        """
        self.close("failed")
        if not self.in_place():
            return
        for path in [*self.out.glob("*.jsonl"), self.out / "config.yaml"]:
            path.unlink(missing_ok=True)
        for name in ("tensorboard", HIDDEN):
            shutil.rmtree(self.out / name, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: somebody else's file
            for folder in (self.out / "checkpoints", self.out):
                if folder.is_dir():
                    folder.rmdir()

    def __exit__(self, *error: object) -> None:
        stopped = isinstance(error[1], (Interrupted, KeyboardInterrupt))
        self.close("finished" if error[1] is None else "stopped" if stopped else "failed")

    def close(self, status: Status) -> None:
        """Close what is open; twice does no harm."""
        self.progress.clear()
        for stream in self.streams.values():
            stream.close()
        self.trackers.finish(status)

    def start(self, trainer: Trainer) -> None:
        """Cut records of steps that the newest checkpoint does not know, and begin to show
        progress.
        """
        super().start(trainer)
        step, total = trainer.run.step, trainer.plan.total_steps
        for path in self.out.glob("*.jsonl"):
            # A method's records are made before their step and count the steps before it, metrics
            # those after it.
            _cut_from(path, step + (path.stem == "metrics"))
        trainer.seconds = _last_seconds(self.out / "metrics.jsonl")
        self.progress = Progress(total, done=step, quiet=self.quiet)
        for line in introduction(self, trainer):
            self.progress.say(line)
        self.trackers.start(self.config.flat(), self.out.resolve().name, done=self.saved)

    def step(self, images: int) -> None:
        """One step is done."""
        self.progress.step(images)

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """See :class:`Follower`; on a terminal a row of its own shows how long it takes."""
        watch = Progress(quiet=self.quiet)
        watch.begin(f"  {len(self.val)} held-out images")
        try:
            return super().evaluate(weights)
        finally:
            watch.clear()

    def log(self, record: dict[str, float]) -> None:
        """One line of ``metrics.jsonl``."""
        self.emit("metrics", record)
        shown = {
            name: record[name] for name in ("loss", "train_acc", "train_acc_adv") if name in record
        }
        if shown:
            self.progress.show(**shown)
        if "val_acc" in record:
            self.progress.say(f"step {record['step']}: {held_out(record)}")
        self.trackers.log(int(record["step"]), record)

    def emit(self, stream: str, record: dict[str, Any]) -> None:
        """One line of ``STREAM.jsonl``."""
        self.check_place()
        try:
            if stream not in self.streams:
                self.streams[stream] = open(self.out / f"{stream}.jsonl", "a", encoding="utf-8")  # noqa: SIM115
            self.streams[stream].write(json.dumps(plain(record)) + "\n")
            self.streams[stream].flush()
        except OSError as error:
            raise UserError(f"cannot write {self.out / stream}.jsonl: {error.strerror}") from error

    def save(self, trainer: Trainer, weights: Weights) -> None:
        """``checkpoints/step_N.pt``, which ``ckpt.pt`` then is too, and ``checkpoints/best.pt`` if
        it is the best.
        """
        checkpoint = checkpoint_of(
            self.model,
            weights,
            base_sha256=self.base_sha256,
            config=self.settings,
            step=trainer.run.step,
            metrics=dict(trainer.metrics),
            adapter=trainer.kept_leaves(),
            trainer=trainer.state(),
            members=self.members,
        )
        self.keep(checkpoint)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; the newest is written whole before an older one is removed."""
        self.check_place()
        folder = self.out / "checkpoints"
        path = folder / f"step_{checkpoint.step}.pt"
        save_checkpoint(path, checkpoint)
        link(path, self.out / "ckpt.pt")
        if checkpoint.metrics.get("best_step", checkpoint.step) == checkpoint.step:
            link(path, folder / "best.pt")
        self.saved = checkpoint.step
        if self.config.keep:
            older = sorted(folder.glob("step_*.pt"), key=lambda p: int(p.stem[5:]), reverse=True)
            for old in older[self.config.keep :]:
                old.unlink()


class _Line(msgspec.Struct):
    """What a resumed run needs to know of a line of its records."""

    step: int
    seconds: float = 0.0


def _lines(path: Path) -> list[tuple[str, _Line]]:
    """The lines of a record with what they say; a last one that was cut short is left out.

    Raises:
        UserError: Naming the line that is no record of a step.
    """
    try:
        rows = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"--resume: {path} cannot be read ({error.strerror})") from None
    found = []
    for i, row in enumerate(rows):
        try:
            if row.strip():
                text = row.decode("utf-8")
                found.append((text, msgspec.convert(json.loads(text), _Line)))
        except (ValueError, msgspec.ValidationError, RecursionError) as error:
            if i == len(rows) - 1:  # the process was killed while it wrote this
                continue
            raise UserError(
                f"--resume: {path}, line {i + 1} is damaged ({' '.join(str(error).split())[:100]}): "
                "remove the line, or move the file away"
            ) from None
    return found


def _cut_from(path: Path, step: int) -> None:
    """Drop records of this and later steps, and a last line that was cut short: a resumed run
    writes them again.
    """
    kept = [text for text, line in _lines(path) if line.step < step]
    write_text(path, "".join(f"{text}\n" for text in kept))


def _last_seconds(path: Path) -> float:
    lines = _lines(path) if path.is_file() else []
    return lines[-1][1].seconds if lines else 0.0


def record_of(stored: dict[str, Any], path: Path) -> dict[str, Any]:
    """The record of where a run began; empty where there is none.

    Raises:
        UserError: If it is something else than a record.
    """
    record = stored.get(RECORD) or {}
    if not isinstance(record, dict) or not isinstance(record.get("resumed") or [], list):
        raise UserError(
            f"--resume: {path} is damaged: {RECORD} is not a record of where the run began; remove "
            "it from the file"
        )
    return record


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder this is, whatever its name; ``None`` where there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
