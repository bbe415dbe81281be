"""From settings to a run directory: data, model and method are put together, trained, and kept
whole or not at all.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.checkpoint import Checkpoint, digest, load_checkpoint, recorded
from grace_geom.config import TrainConfig, differing, stored_settings
from grace_geom.data import ImageSet, loader
from grace_geom.devices import (
    Precision,
    deterministic,
    pick_device,
    pick_precision,
    pick_workers,
    room_for,
    tf32,
)
from grace_geom.errors import Interrupted, NotFiniteError, UserError
from grace_geom.files import alone
from grace_geom.methods import Method, Run
from grace_geom.methods.base import Part
from grace_geom.models import ClipClassifier, build
from grace_geom.models.sources import needed_again
from grace_geom.preprocess import Preprocess
from grace_geom.provenance import provenance
from grace_geom.serialise import read_yaml
from grace_geom.terminal import say
from grace_geom.tracking import check_installed
from grace_geom.training.data import check_ood, images_of, note_of, training_data
from grace_geom.training.directory import Follower, RunDirectory, record_of
from grace_geom.training.fast_attack import fast_attack
from grace_geom.training.fit import fit
from grace_geom.training.memory import choose_micro_batch, free_bytes, measure
from grace_geom.training.randomness import seed_global
from grace_geom.training.trainer import Plan, Trainer


def train_run(config: TrainConfig, *, quiet: bool = False, notes: Sequence[str] = ()) -> Path:
    """Train one method and keep everything in ``config.run_dir``.

    Nothing is written before data, model and method are known to fit, and nothing stays of a run
    that fails before its first checkpoint.

    Args:
        config: All settings.
        quiet: No progress on stderr.
        notes: Lines that are said once the training begins.

    Returns:
        The run directory: ``config.yaml``, ``metrics.jsonl``, ``curvature.jsonl``,
            ``checkpoints/``, ``ckpt.pt``.

    Raises:
        UserError: The directory exists (and ``resume`` is not set), or anything that does not fit;
            diverged training.
        Interrupted: Stopped by SIGINT, SIGTERM or ``stop_after`` (``StopReached``); the state is
            saved. Another process of the job is gone; the newest checkpoint is named.
    """
    with _only_one(config.run_dir), tf32(config.tf32), deterministic(config.deterministic):
        return _train(config, notes, quiet=quiet)


def _train(config: TrainConfig, notes: Sequence[str], *, quiet: bool) -> Path:
    check_installed(config.report_to)
    check_installed(("tensorboard",) * config.tensorboard, "--tensorboard")
    out, resumed = config.run_dir, _newest(config)
    check_ood(config)
    here = distributed.world()
    device = pick_device(config.device, config.tf32)
    precision = pick_precision(config.precision, device)
    with distributed.first_of_machine_first():
        train, held_out = images_of(config, resumed)
    data = training_data(config, train, held_out, resumed)
    val = held_out.subset(config.val_images, config.split_seed)
    model = _model(config, train, resumed, device)
    trainer = _trainer(config, model, precision, len(train))
    if resumed is not None:
        if resumed.step == trainer.plan.total_steps:
            if distributed.first():
                say(f"{out} is finished: {resumed.step} steps")
            return out
        _restore(trainer, resumed, out / "ckpt.pt")
        _tell_of_tf32(out / "config.yaml")
    if config.micro_batch == "auto" and trainer.plan.total_steps:
        trainer.plan = _fitting(
            trainer, config.batch_size // here.size, model.preprocess.at(config.image_size).size
        )
    where = provenance(device) | {
        "precision": precision,
        "data": {"train": note_of(train), "val": note_of(val), **data.record},
    }
    where |= _shared_out(trainer.method, config.batch_size, here) if here.size > 1 else {}

    feed = _Feed(config, train, held_out, model.preprocess.at(config.image_size), device)
    # All have looked at what is in the directory: now one of them may write there.
    distributed.wait_for_all()
    keeper = RunDirectory if here.rank == 0 else Follower
    with keeper(config, model, val, where, members=data.members, quiet=quiet) as kept:
        trainer.run.emit, trainer.run.images = kept.emit, feed.images
        trainer.run.pieces = lambda batch: batch.split(trainer.plan.micro_batch or len(batch))
        kept.start(trainer)
        for note in notes if distributed.first() and not quiet else ():
            say(note)
        trainer.run.fast = fast_attack(config, trainer, kept)  # not in what was measured before
        _fit_or_discard(trainer, feed.batches, kept, out)
        trainer.run.fast.end()
    return out


@dataclass(frozen=True)
class _Feed:
    """The images of a run, in batches: augmented ones for steps, clean ones for the method."""

    config: TrainConfig
    train: ImageSet
    held_out: ImageSet
    preprocess: Preprocess
    device: torch.device

    def batches(self, epoch: int, skip: int) -> Iterable[Batch]:
        """This process's share of an epoch's batches, from number ``skip`` on."""
        return loader(
            self.train,
            self.config.batch_size,
            self.preprocess,
            train=True,
            seed=self.config.seed,
            epoch=epoch,
            workers=pick_workers(self.config.workers, self.device),
            skip_batches=skip,
            drop_last=len(self.train) >= self.config.batch_size,
            device=self.device,
            buffer=self.config.shuffle_buffer,
            share=distributed.world(),
        )

    def images(self, part: Part) -> Iterator[Batch]:
        """See ``Run.images``."""
        found = loader(
            self.train if part == "train" else self.held_out,
            self.config.batch_size,
            self.preprocess,
            train=False,
            workers=pick_workers(self.config.workers, self.device),
            device=self.device,
        )
        return iter(found)


def _restore(trainer: Trainer, resumed: Checkpoint, file: Path) -> None:
    """Continue where a checkpoint was taken.

    Raises:
        UserError: Naming the file and the key that does not fit.
    """
    state = resumed.trainer or {}
    try:
        if state.get("step", resumed.step) != resumed.step:
            raise UserError(f"its trainer.step: is not its step, {resumed.step}")
        trainer.restore(state)
    except UserError as error:
        raise UserError(
            f"--resume: {file}: {error}; continue from an older one of checkpoints/, copied to its "
            "place, or start another run (--out)"
        ) from None


def _tell_of_tf32(path: Path) -> None:
    """Say where a run goes on in another arithmetic: before ``tf32`` was recorded, a GPU computed
    float32 convolutions in TF32, as PyTorch has it by default.
    """
    record = record_of(read_yaml(path), path)
    last = (record.get("resumed") or [record])[-1]
    on_gpu = str(last.get("device", "")).startswith("cuda")
    if "tf32" in last or not on_gpu or last.get("precision") != "float32":
        return
    if distributed.first():
        say(
            f"warning: --resume: {path.parent} was begun by a version that let GPUs compute float32 "
            "convolutions in TF32; it goes on without (config.yaml records both parts)"
        )


def _shared_out(method: Method, batch_size: int, here: distributed.World) -> dict[str, Any]:
    """The record of a run in several processes; what is another method there is said at once."""
    found: dict[str, Any] = {"processes": here.size}
    share, coupled = batch_size // here.size, method.coupled
    if coupled and (coupled.images is None or share % coupled.images):
        changes = coupled.otherwise.format(share=share)
        found["processes_change"] = changes
        if here.rank == 0:
            say(f"warning: in {here.size} processes this is another run than in one: {changes}")
    return found


def _fit_or_discard(
    trainer: Trainer, batches: Callable[[int, int], Iterable[Batch]], kept: Follower, out: Path
) -> None:
    """Train; what ends it early says how to go on, or leaves nothing behind where no checkpoint was
    saved yet.
    """
    try:
        _fit(trainer, batches, kept)
    except distributed.PeerLost as lost:
        if kept.saved is None:
            kept.discard()
        raise Interrupted(f"{lost}; {kept.way_on()}") from None
    except Interrupted as stop:
        _report_all(kept)
        raise type(stop)(
            f"{stop}; saved in {out}. Continue with: python -m grace_geom.train --out {out} "
            "--resume"
        ) from None
    except UserError as error:
        if not kept.in_place():
            raise
        if kept.saved is None:
            kept.discard()
            raise
        raise UserError(
            f"{error}\nthe last good checkpoint is step {kept.saved}: {out / 'ckpt.pt'}"
        ) from None
    except BaseException:
        if kept.saved is None:  # out of memory, say: what is left would block the next try
            kept.discard()
        raise


def _report_all(kept: Follower) -> None:
    """Have every process of a stopped job wait until the first one has told the trackers: torchrun
    ends all as soon as one has left.
    """
    kept.close("stopped")
    if kept.reports:
        with contextlib.suppress(distributed.PeerLost):  # who has left does not wait
            distributed.wait_for_all()


def _fit(trainer: Trainer, batches: Callable[[int, int], Iterable[Batch]], kept: Follower) -> None:
    """Train; what a method says when it meets numbers that are not finite becomes an error for
    people.
    """
    between, instead = "what comes before or between the steps", "a smaller --micro-batch or model"
    try:
        with room_for(between, instead):  # a step tells more
            fit(trainer, batches, kept)
    except NotFiniteError as error:
        raise UserError(f"step {trainer.run.step + 1}: {error}") from None
    except RuntimeError as error:
        model = trainer.run.model
        grey = torch.full((1, 3, *model.preprocess.size), 0.5, device=model.device)
        with torch.no_grad():
            sound = bool(model(grey, trainer.weights()).isfinite().all())
        if sound:
            raise
        raise UserError(
            f"step {trainer.run.step + 1}: the model's logits are not finite numbers; lower --lr, "
            "lengthen --warmup, or use --precision float32"
        ) from error


def _fitting(trainer: Trainer, images: int, side: tuple[int, int]) -> Plan:
    """The plan with as many images a forward pass as there is memory for."""
    memory = measure(trainer, side)
    size = choose_micro_batch(memory, images, free_bytes(trainer.device))
    if distributed.first():
        say(
            f"--micro-batch auto: {size} of {images} images a forward pass, about "
            f"{memory.of(size) / 2**30:.1f} GiB"
        )
    return replace(trainer.plan, micro_batch=size)


def _model(
    config: TrainConfig, train: ImageSet, resumed: Checkpoint | None, device: torch.device
) -> ClipClassifier:
    """The pretrained model, frozen, with the zero-shot head of the training classes."""
    again = needed_again(config.model, "--resume") if resumed else contextlib.nullcontext()
    with again:
        model = build(config.spec, train.class_names, train.templates, device, together=True)
    if resumed is not None:  # begun before resize modes were kept, it goes on without them
        model.read_as(recorded(resumed, model.preprocess.size, config.run_dir))
    if resumed is not None and resumed.base["sha256"] != digest(model.clip.state_dict()):
        raise UserError(
            f"--resume: {config.run_dir} started from other weights of {config.model} than those "
            "found here now"
        )
    if config.grad_checkpoint:
        model.checkpoint_activations()
    if config.bf16_residual:
        model.keep_residual_low()
    return model


def _trainer(
    config: TrainConfig, model: ClipClassifier, precision: Precision, images: int
) -> Trainer:
    """The method at step 0 of its run, everything random seeded."""
    method = config.build_method()
    seed_global(config.seed)
    params, state = method.setup(model, torch.Generator().manual_seed(config.seed))
    plan = _plan(config, images, precision, trains=method.trains)
    generator = torch.Generator(model.device).manual_seed(
        config.seed + 1
    )  # not the initial factors' numbers again
    return Trainer(method, Run(model, params, generator, plan.total_steps, state), plan)


def _newest(config: TrainConfig) -> Checkpoint | None:
    """The checkpoint to continue from; ``None`` for a fresh run, or one that was stopped before its
    first.
    """
    out = config.run_dir
    if not out.exists() or (out.is_dir() and not _files(out)):
        if config.resume:
            raise UserError(f"--resume: there is no run at {out}; name its directory with --out")
        return None
    if not config.resume:
        raise UserError(
            f"{out} exists already: --resume continues it, --out NAME starts another run"
        )
    stored = stored_settings(out)
    if not stored:
        raise UserError(f"--resume: {out} is not a run directory: it has no config.yaml")
    if changed := differing(config, stored):
        raise UserError(
            f"--resume: {out} is another run: {'; '.join(changed[:4])}. Drop these flags, or use "
            "another --out"
        )
    if not (out / "ckpt.pt").is_file():
        return None
    checkpoint = load_checkpoint(out / "ckpt.pt")
    if checkpoint.trainer is None and config.build_method().trains:
        raise UserError(f"--resume: {out / 'ckpt.pt'} holds no training state")
    return checkpoint


def _files(folder: Path) -> list[Path]:
    """What lies in a folder but for the lock and temporary files of a process that was killed."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@contextlib.contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Hold the run directory for this job: two would mix their logs and checkpoints.

    Raises:
        UserError: Another process is at work there, in every process of this job.
    """
    with contextlib.ExitStack() as stack:
        refused = ""
        if distributed.first() and not out.is_file():
            try:
                stack.enter_context(alone(out, "training"))
            except UserError as error:
                refused = str(error)
        if refused := distributed.of_first(refused):
            raise UserError(refused)
        yield


def _plan(config: TrainConfig, images: int, precision: Precision, *, trains: bool) -> Plan:
    per_epoch = max(1, images // config.batch_size)
    total = config.total_steps(per_epoch) if trains else 0
    warmup = config.warmup * total if config.warmup < 1 else config.warmup
    return Plan(
        total_steps=total,
        steps_per_epoch=per_epoch,
        warmup_steps=min(round(warmup), total),
        schedule=config.schedule,
        micro_batch=None if config.micro_batch == "auto" else config.micro_batch,
        adapt=config.micro_batch == "auto",
        clip_norm=config.largest_norm,
        precision=precision,
        eval_every=config.eval_every * per_epoch,
        eval_at=config.eval_at,
        save_every=config.save_every or 0,
        log_every=config.log_every,
        stop_after=config.stop_after,
        ema=config.ema if trains else 0.0,
    )
