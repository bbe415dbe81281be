"""The only training loop.

It knows no method, no file and no data set: methods give gradients, a recorder keeps things.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.devices import DTYPES
from grace_geom.errors import Interrupted, StopReached
from grace_geom.training.trainer import Trainer
from grace_geom.weights import Weights


class Recorder(Protocol):
    """What the loop tells the outside, and asks of it."""

    def step(self, images: int) -> None:
        """One step of so many images is done. Called every step: must be cheap."""

    def log(self, record: dict[str, float]) -> None:
        """One record of ``metrics.jsonl``."""

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Held-out numbers at these effective weights."""

    def save(self, trainer: Trainer, weights: Weights) -> None:
        """Keep the state, with the plain weights that it amounts to."""


def fit(
    trainer: Trainer, batches: Callable[[int, int], Iterable[Batch]], recorder: Recorder
) -> Weights:
    """Train to the end of the plan.

    Args:
        trainer: At step 0, or restored.
        batches: ``(epoch, batches to skip) -> the batches of that epoch from there``.
        recorder: Keeps records and checkpoints.

    Returns:
        The merged weights that the method leaves behind.

    Raises:
        Interrupted: SIGINT or SIGTERM; the state is saved.
        StopReached: ``plan.stop_after``; the same.
        UserError: The loss or gradient is not a number; the last checkpoint is older and good.
    """
    run, plan, model = trainer.run, trainer.plan, trainer.run.model
    usual, model.autocast_dtype = model.autocast_dtype, DTYPES[plan.precision]
    clock = _Clock(trainer.seconds, trainer.images_seen)
    try:
        if run.step == 0:
            trainer.method.prepare(run)
        with stop_requests() as stop:
            for batch in _stream(trainer, batches, stop):
                numbers = trainer.step_that_fits(batch.to(trainer.device))
                recorder.step(len(batch) * distributed.world().size)
                done = run.step == plan.total_steps
                if done or run.step % plan.log_every == 0:
                    trainer.check()
                    recorder.log(_record(trainer, numbers, clock))
                saved = _evaluate_and_save(trainer, recorder, clock, done)
                # Asked every step and of all processes: none may go on into a sum that another has
                # left.
                asked = not done and distributed.anyone(bool(stop))
                if asked or (not done and run.step == plan.stop_after):
                    trainer.check()
                    if not saved:
                        recorder.save(trainer, trainer.weights())
                    kind = Interrupted if asked else StopReached
                    raise kind(f"stopped after step {run.step} of {plan.total_steps}")
        distributed.heard_of_all()
        if stop and run.step < plan.total_steps:  # asked to stop while waiting for data
            recorder.save(trainer, trainer.weights())
            raise Interrupted(f"stopped after step {run.step} of {plan.total_steps}")
        return _finish(trainer, recorder, clock)
    finally:
        model.autocast_dtype = usual


def _stream(
    trainer: Trainer, batches: Callable[[int, int], Iterable[Batch]], stop: list[int]
) -> Iterator[Batch]:
    """Batches from where the trainer stands to the end of its plan; the caller makes one step of
    each.
    """
    run, plan = trainer.run, trainer.plan
    while run.step < plan.total_steps:
        epoch, skip = divmod(run.step, plan.steps_per_epoch)
        before = run.step
        try:
            for batch in batches(epoch, skip):
                yield batch
                if run.step >= plan.total_steps or run.step >= (epoch + 1) * plan.steps_per_epoch:
                    break
        except RuntimeError:
            if stop:  # the terminal interrupts the loader's workers too, and they die of it
                return
            raise
        if run.step == before:
            raise RuntimeError(
                f"epoch {epoch} gave no batch after the first {skip}, expected "
                f"{plan.steps_per_epoch}"
            )


def _evaluate_and_save(trainer: Trainer, recorder: Recorder, clock: "_Clock", done: bool) -> bool:
    """The evaluation and the checkpoint that are due now; the end has its own."""
    step, plan = trainer.run.step, trainer.plan
    due = (plan.eval_every > 0 and step % plan.eval_every == 0) or step in plan.eval_at
    evaluate = not done and due
    save = not done and (evaluate or (plan.save_every > 0 and step % plan.save_every == 0))
    if not save:
        return False
    trainer.check()
    weights = trainer.weights()
    if evaluate:
        _evaluate(trainer, recorder, clock, weights)
    recorder.save(trainer, weights)
    return True


def _finish(trainer: Trainer, recorder: Recorder, clock: "_Clock") -> Weights:
    weights = trainer.finished()
    _evaluate(trainer, recorder, clock, weights)
    recorder.save(trainer, weights)
    return weights


def _evaluate(trainer: Trainer, recorder: Recorder, clock: "_Clock", weights: Weights) -> None:
    found = recorder.evaluate(weights)
    best = trainer.metrics.get("best_val_acc", -math.inf)
    trainer.metrics.update(found)
    if found.get("val_acc", -math.inf) > best:
        trainer.metrics |= {"best_val_acc": found["val_acc"], "best_step": trainer.run.step}
    if found:
        recorder.log(_where(trainer, clock) | found)


class _Clock:
    """Seconds of the whole run, and images a second since the last record."""

    def __init__(self, before: float, images: int) -> None:
        self.before, self.images = before, images
        self.began = self.last = time.perf_counter()

    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    def images_per_s(self, images: int) -> float:
        now = time.perf_counter()
        rate = (images - self.images) / max(now - self.last, 1e-9)
        self.last, self.images = now, images
        return rate


def _where(trainer: Trainer, clock: _Clock) -> dict[str, float]:
    step = trainer.run.step
    epoch = step / trainer.plan.steps_per_epoch
    return {
        "step": step,
        "epoch": round(epoch, 4),
        "images_seen": trainer.images_seen,
        "seconds": round(clock.seconds(), 3),
    }


def _record(
    trainer: Trainer, numbers: dict[str, Tensor | float], clock: _Clock
) -> dict[str, float]:
    """The numbers as floats, with one host synchronisation for all of them."""
    tensors = {name: value for name, value in numbers.items() if isinstance(value, Tensor)}
    stacked = torch.stack(
        [value.detach().to(trainer.device, torch.float64) for value in tensors.values()]
    ).tolist()
    values = {
        name: float(value) for name, value in numbers.items() if not isinstance(value, Tensor)
    }
    values |= dict(zip(tensors, stacked, strict=True))
    ordered = {name: values[name] for name in numbers}
    return (
        _where(trainer, clock)
        | ordered
        | {"images_per_s": round(clock.images_per_s(trainer.images_seen), 2)}
    )


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that SIGINT or SIGTERM fill, so that the step under way can end; a second one
    interrupts at once.
    """
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield asked
        return
    usual = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
