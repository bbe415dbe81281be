"""The loop: schedule, accumulation, stopping, and what it does about numbers that are not
numbers."""

import math
import os
import signal
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch.testing import assert_close

from grace_geom.errors import Interrupted, StopReached, UserError
from grace_geom.methods import METHODS
from grace_geom.methods.ft import Ft
from grace_geom.training import Plan, Trainer, fit
from tests.toys import toy_batch, toy_clip, toy_run

BATCHES = [toy_batch(8, seed) for seed in range(4)]


def batches(epoch: int, skip: int):
    return BATCHES[skip:]


class Notes:
    """A recorder that remembers everything it is told."""

    def __init__(self, on_step=lambda n: None) -> None:
        self.records, self.saved, self.images, self.on_step = [], [], 0, on_step

    def step(self, images: int) -> None:
        self.images += images
        self.on_step(self.images // 8)

    def log(self, record) -> None:
        self.records.append(record)

    def evaluate(self, weights):
        return {"val_acc": 0.25}

    def save(self, trainer, weights) -> None:
        self.saved.append(trainer.run.step)
        self.weights = {name: w.clone() for name, w in weights.items()}


def trainer(method=None, **plan) -> Trainer:
    plan = Plan(**({"total_steps": 8, "steps_per_epoch": 4, "log_every": 1} | plan))
    method = method or Ft(lr=1e-3)
    return Trainer(method, toy_run(method, steps=plan.total_steps), plan)


def test_schedule_is_linear_then_a_half_cosine():
    plan = Plan(total_steps=10, steps_per_epoch=5, warmup_steps=4)
    assert [plan.rate(t) for t in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [plan.rate(t) for t in range(4, 10)] == pytest.approx(
        [math.cos(math.pi * t / 12) ** 2 for t in range(6)]
    )
    assert replace(plan, schedule="constant").rate(9) == 1.0
    assert Plan(total_steps=3, steps_per_epoch=1, warmup_steps=3).rate(2) == 1.0


def test_records_hold_the_promised_fields():
    notes, t = Notes(), trainer(METHODS["grace"](lr=1e-3, attack_steps=1, r=2), warmup_steps=2)
    fit(t, batches, notes)
    steps = [r for r in notes.records if "loss" in r]
    wanted = {
        "step",
        "epoch",
        "images_seen",
        "seconds",
        "lr",
        "loss",
        "loss_task",
        "loss_lar",
        "loss_gv",
        "train_acc",
    }
    assert steps[0].keys() >= wanted | {"images_per_s", "grad_norm"}
    assert all(type(value) in (int, float) for value in steps[0].values())
    assert [r["step"] for r in steps] == list(range(1, 9))
    assert [r["images_seen"] for r in steps] == [8 * n for n in range(1, 9)]
    assert [r["lr"] for r in steps] == pytest.approx([1e-3 * t.plan.rate(n) for n in range(8)])
    assert steps[3]["loss"] == pytest.approx(
        sum(steps[3][f"loss_{name}"] for name in ("task", "lar", "gv")), rel=1e-5
    )
    assert steps[-1]["epoch"] == 2.0


def test_evaluates_every_epoch_and_saves_after_it():
    notes, t = Notes(), trainer(eval_every=4, save_every=3, total_steps=10, log_every=5)
    t.run.total_steps = 10
    fit(t, batches, notes)
    assert notes.saved == [3, 4, 6, 8, 9, 10]
    assert [r["step"] for r in notes.records if "val_acc" in r] == [4, 8, 10]
    assert [r["step"] for r in notes.records if "loss" in r] == [5, 10]
    assert t.metrics == {"val_acc": 0.25, "best_val_acc": 0.25, "best_step": 4}


@pytest.mark.parametrize("micro", [1, 3, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch(micro):
    whole, split = (
        trainer(Ft(lr=1e-3, optimizer="sgd")),
        trainer(Ft(lr=1e-3, optimizer="sgd"), micro_batch=micro),
    )
    a, b = whole.step(BATCHES[0]), split.step(BATCHES[0])
    for name in ("loss", "loss_task", "train_acc", "grad_norm"):
        assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-4)
    for name, w in whole.run.params.items():
        assert_close(split.run.params[name], w, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step_of_sgd():
    t = trainer(
        Ft(lr=1.0, optimizer="sgd", momentum=0.0, weight_decay=0.0),
        clip_norm=1e-3,
        schedule="constant",
    )
    before = {name: w.detach().clone() for name, w in t.run.params.items()}
    norm = t.step(BATCHES[0])["grad_norm"]
    moved = (
        torch.stack([(w - before[n]).square().sum() for n, w in t.run.params.items()]).sum().sqrt()
    )
    assert norm > 1e-3
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)
    free = trainer(
        Ft(lr=1.0, optimizer="sgd", momentum=0.0, weight_decay=0.0),
        clip_norm=None,
        schedule="constant",
    )
    free.step(BATCHES[0])
    moved = (
        torch.stack([(w - before[n]).square().sum() for n, w in free.run.params.items()])
        .sum()
        .sqrt()
    )
    assert moved.item() == pytest.approx(norm.item(), rel=1e-3)


def test_learns():
    notes = Notes()
    fit(trainer(Ft(lr=3e-3), total_steps=40), batches, notes)
    losses = [r["loss"] for r in notes.records if "loss" in r]
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


@dataclass
class Breaks(Ft):
    """A second term that becomes NaN or infinite at step 5."""

    value: float = math.nan
    at: ClassVar[int] = 4

    def losses(self, run, weights, batch):
        found = super().losses(run, weights, batch)
        scale = self.value if run.step == self.at else 0.0
        extra = {"extra": scale * weights["head.bias"].exp().sum()}
        return found._replace(terms=found.terms | extra)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_stops_before_it_spoils_the_weights(value):
    t, notes = trainer(Breaks(value=value), save_every=3, log_every=100), Notes()
    with pytest.raises(UserError, match=r"step 5: loss_extra is not a finite number; lower --lr"):
        fit(t, batches, notes)
    assert notes.saved == [3]
    assert all(w.isfinite().all() for w in t.run.params.values())
    assert t.run.step == 4


def test_an_overflow_of_the_gradient_alone_is_named():
    t = trainer()
    grads = t.method.gradients

    def gradients(run, batches):
        terms = grads(run, batches)
        run.params["head.bias"].grad.fill_(math.inf)
        return terms

    t.method.gradients = gradients
    with pytest.raises(UserError, match="step 1: the gradient is not a finite number"):
        t.step(BATCHES[0])


def test_where_looking_waits_for_the_device_the_first_bad_step_is_remembered():
    t = trainer(Breaks(), log_every=100)
    t.watch.waits = False  # as on a GPU
    notes = Notes()
    with pytest.raises(UserError, match="step 5: loss_extra is"):
        fit(t, batches, notes)
    assert notes.saved == [], "nothing is saved after the first bad step"


def test_fp16_skips_steps_that_overflow_and_stops_if_all_do():
    t = trainer(Breaks(value=math.inf), precision="fp16", total_steps=6)
    fit(t, batches, Notes())
    assert t.run.step == 6 and t.scaler.get_scale() == 2.0**15, (
        "one step was skipped, the scale halved once"
    )
    assert all(w.isfinite().all() for w in t.run.params.values())

    class AlwaysBreaks(Breaks):
        def losses(self, run, weights, batch):
            extra = {"extra": math.inf * weights["head.bias"].exp().sum()}
            found = Ft.losses(self, run, weights, batch)
            return found._replace(terms=found.terms | extra)

    with pytest.raises(UserError, match="loss_extra is not a finite number"):
        fit(trainer(AlwaysBreaks(), precision="fp16", total_steps=40), batches, Notes())


def test_bf16_is_used_and_put_back():
    seen = []

    class Looks(Ft):
        def losses(self, run, weights, batch):
            seen.append(run.model.autocast_dtype)
            return super().losses(run, weights, batch)

    t = trainer(Looks(lr=1e-3), precision="bf16", total_steps=2)
    fit(t, batches, Notes())
    assert seen == [torch.bfloat16] * 2 and t.run.model.autocast_dtype is None
    assert all(w.dtype == torch.float32 for w in t.run.params.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_the_step_with_the_state_saved(number):
    usual = signal.getsignal(number)
    notes = Notes(on_step=lambda n: os.kill(os.getpid(), number) if n == 3 else None)
    with pytest.raises(Interrupted, match="stopped after step 3 of 8"):
        fit(trainer(), batches, notes)
    assert notes.saved == [3]
    assert signal.getsignal(number) is usual


def test_a_second_signal_does_not_wait():
    def twice(n: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(), batches, Notes(on_step=twice))


def test_stop_after_is_an_interrupt_that_nobody_asked_for():
    notes = Notes()
    with pytest.raises(StopReached, match="step 5 of 8"):
        fit(trainer(stop_after=5), batches, notes)
    assert notes.saved == [5]

    def ask(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as stop:
        fit(trainer(stop_after=5), batches, Notes(on_step=ask))
    assert type(stop.value) is Interrupted, "Ctrl-C at that very step is not lost"


def test_further_steps_may_be_evaluated_and_saved():
    notes, t = Notes(), trainer(eval_at=(3, 5), total_steps=8, stop_after=5)
    with pytest.raises(StopReached):
        fit(t, batches, notes)
    assert notes.saved == [3, 5]
    assert [r["step"] for r in notes.records if "val_acc" in r] == [3, 5]


def test_a_worker_killed_by_the_same_ctrl_c_is_no_fault():
    def dying(epoch, skip):
        yield BATCHES[0]
        os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")

    notes = Notes()
    with pytest.raises(Interrupted, match="step 1 of 8"):
        fit(trainer(), dying, notes)
    assert notes.saved == [1]


def test_an_epoch_without_batches_is_a_fault():
    with pytest.raises(RuntimeError, match="gave no batch"):
        fit(trainer(), lambda epoch, skip: [], Notes())


def test_no_steps_leave_the_base():
    for name in ("lora", "zero-shot"):
        notes, t = Notes(), trainer(METHODS[name](), total_steps=0)
        fit(t, batches, notes)
        model = toy_clip()
        with torch.no_grad():
            assert_close(
                model(BATCHES[0].images, notes.weights), model(BATCHES[0].images), rtol=0, atol=0
            )
        assert notes.saved == [0]
