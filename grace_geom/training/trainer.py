"""One optimiser step at a time: schedule, accumulation, scaling, clipping, and a state that
continues bit for bit.
"""

import contextlib
import gc
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.devices import Precision
from grace_geom.errors import UserError
from grace_geom.methods import Losses, Method, Run
from grace_geom.terminal import say
from grace_geom.training.average import Average
from grace_geom.training.finite import FiniteWatch
from grace_geom.training.randomness import random_state, restore_random_state, to_device
from grace_geom.training.stored import check_state
from grace_geom.weights import Weights

SKIPS_ALLOWED = 25
"""fp16 steps in a row that may overflow: the scaler starts at 2^16 and halves each time."""


@dataclass(frozen=True)
class Plan:
    """How long a run is and how its steps are made.

    Attributes:
        total_steps: Optimiser steps; the learning-rate schedule ends there.
        steps_per_epoch: Batches an epoch.
        warmup_steps: Steps of linear warm-up.
        schedule: ``cosine`` decays to 0 at the end, ``constant`` does not.
        micro_batch: Images a forward pass; larger batches accumulate gradients. ``None``: the whole
            batch.
        adapt: Halve ``micro_batch`` where the device has no room for it.
        clip_norm: Largest gradient norm; ``None``: any.
        precision: Of the image tower's autocast; weights and optimiser stay float32.
        eval_every: Steps between held-out evaluations (the last step always has one); 0: never.
        eval_at: Further steps with one.
        save_every: Steps between checkpoints (each evaluation is followed by one); 0: only then and
            at the end.
        log_every: Steps between records (the last step always has one).
        stop_after: Stop after this step as if interrupted; ``None``: at the end.
        ema: Decay of an average of the leaves, which is evaluated and kept; 0: none.
    """

    total_steps: int
    steps_per_epoch: int
    warmup_steps: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    micro_batch: int | None = None
    adapt: bool = False
    clip_norm: float | None = 1.0
    precision: Precision = "float32"
    eval_every: int = 0
    eval_at: tuple[int, ...] = ()
    save_every: int = 0
    log_every: int = 10
    stop_after: int | None = None
    ema: float = 0.0

    def rate(self, step: int) -> float:
        """Share of the peak learning rate in the step that follows ``step`` done ones."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))


@dataclass
class Trainer:
    """One method in training: its leaves, optimiser and scaler, and where it stands.

    Attributes:
        method: What is trained, and how.
        run: What the method sees.
        plan: Length and schedule.
        images_seen: Images that gradients were taken on.
        seconds: Training time before this process (a resumed run).
        metrics: Newest held-out numbers, and the best.
    """

    method: Method
    run: Run
    plan: Plan
    images_seen: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.device = self.run.model.device
        nothing = {
            "nothing": torch.zeros(1, device=self.device)
        }  # zero-shot: optimisers refuse an empty list
        self.optimizer = self.method.make_optimizer(self.run.params or nothing)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.plan.precision == "fp16")
        self.run.backward = lambda loss: self.scaler.scale(loss).backward()
        self.watch = FiniteWatch(self.device)
        self._overflows = torch.zeros((), dtype=torch.int64, device=self.device)
        self._scaled: dict[str, Tensor] = {}  # what the last step in fp16 saw
        self.average = Average(self.run.params, self.plan.ema) if self.plan.ema else None

    def weights(self) -> Weights:
        """Effective weights now, of the average where there is one, without a graph."""
        with self.averaged():
            return self.method.snapshot(self.run)

    def finished(self) -> Weights:
        """The weights that the method leaves behind, merged and plain."""
        with self.averaged():
            return self.method.finish(self.run)

    def kept_leaves(self) -> Weights:
        """The leaves that checkpoints keep beside these weights."""
        with self.averaged():
            return self.method.kept_leaves(self.run)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """The run with the average in the place of its leaves, where there is one."""
        return self.average.in_place(self.run) if self.average else contextlib.nullcontext()

    def step_that_fits(self, batch: Batch) -> dict[str, Tensor | float]:
        """One optimiser step; where the device has no room for it, again in halved pieces if the
        plan says so.

        Raises:
            UserError: Without room, where pieces may not be halved: one image, a fixed size, or
                several processes (the others are in the middle of theirs).
        """
        run = self.run
        while True:
            state, generator = dict(run.state), run.generator.get_state()
            try:
                with _records_held(run):
                    return self.step(batch)
            except torch.OutOfMemoryError:
                size = min(self.plan.micro_batch or len(batch), len(batch))
                half = math.ceil(size / 2)
                if not self.plan.adapt or size == 1 or distributed.world().size > 1:
                    raise UserError(
                        f"step {run.step + 1}: the device has no room for {size} images at once; "
                        f"use --micro-batch {half}, --grad-checkpoint, or a smaller --batch-size"
                    ) from None
            run.state = state
            run.generator.set_state(generator)
            self.optimizer.zero_grad(set_to_none=True)
            run.fast.forget()
            if self.device.type == "cuda":
                gc.collect()  # graphs of the failed pass that lie in cycles
                torch.cuda.empty_cache()
            self.plan = replace(self.plan, micro_batch=half)
            say(f"no room for {size} images at once: going on with --micro-batch {half}")

    def step(self, batch: Batch) -> dict[str, Tensor | float]:
        """One optimiser step; returns its numbers (tensors stay on the device).

        Raises:
            UserError: If the loss or the gradient is not a number, on the CPU at once, elsewhere
                when next asked.
        """
        run, plan = self.run, self.plan
        batches = batch.split(plan.micro_batch or len(batch))
        rate = plan.rate(run.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        self.optimizer.zero_grad(set_to_none=True)
        terms, observed = self._averaged(self.method.gradients(run, batches))
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(run.params.values(), plan.clip_norm or math.inf)
        values = {f"loss_{name}": value for name, value in terms.items()} | {"grad_norm": norm}
        self._update(values)
        run.step += 1
        if self.average:
            self.average.update(run.params, run.step)
        self.images_seen += len(batch) * distributed.world().size
        loss = torch.stack([value.to(norm.device) for value in terms.values()]).sum()
        lr = self.optimizer.param_groups[0]["lr"]
        return {"lr": lr, "loss": loss, **values, **observed}

    def _averaged(self, found: Losses) -> Losses:
        """The means over all processes, each of which holds an equal share of the batch: one
        message a step.

        It carries the leaves' gradients, the terms and the numbers to be logged.
        """
        run = self.run
        if distributed.world().size == 1:
            return found
        numbers = found.terms | found.observed
        row = torch.stack([self._number(value) for value in numbers.values()])
        gradients = [w.grad for w in run.params.values() if w.grad is not None]
        distributed.mean([*gradients, row], wait=False)
        means = dict(zip(numbers, row, strict=True))
        return Losses(*({name: means[name] for name in part} for part in found))

    def _number(self, value: Tensor | float) -> Tensor:
        """Made on the device, if it is Python's: a copy to it would wait."""
        if isinstance(value, Tensor):
            return value.detach().to(self.device, torch.float32)
        return torch.full((), value, device=self.device, dtype=torch.float32)

    def _update(self, values: dict[str, Tensor]) -> None:
        """The optimiser's part of a step. The graphs are gone by then, so smaller pieces of the
        batch would not help where it finds no room, and some leaves may have moved already.

        Raises:
            UserError: Without room for the optimiser's state; where the step is not finite.
        """
        try:
            if self.scaler.is_enabled():
                self._scaled_step(values)
            else:
                self.watch.see(values, self.run.step + 1)
                self.optimizer.step()
        except torch.OutOfMemoryError:
            raise UserError(
                f"step {self.run.step + 1}: the device has no room for the optimizer's state; use "
                "a smaller model, a method with fewer trained weights (--method lora, grace), or "
                "--optimizer sgd"
            ) from None

    def _scaled_step(self, values: dict[str, Tensor]) -> None:
        """A step in fp16, left out where a gradient overflowed; how often in a row is counted on
        the device.
        """
        distributed.heard_of_all()  # the scaler asks the device whether one did
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._overflows = torch.where(values["grad_norm"].isfinite(), 0, self._overflows + 1)
        self._scaled = values
        if self.watch.waits:
            self.check()

    @property
    def skipped(self) -> int:
        """Steps in a row up to now that were left out because a gradient overflowed fp16."""
        return int(self._overflows)

    def check(self) -> None:
        """Raise if something is not finite that must be; waits for the device. All processes call
        it at the same step.

        Raises:
            UserError: Naming the step and what was not finite.
            PeerLost: If another process is gone.
        """
        self.watch.check()
        if self.scaler.is_enabled() and self.skipped > SKIPS_ALLOWED:
            step = self.run.step + (1 if self.watch.waits else 0)  # on a CPU it is under way
            self.watch.see(self._scaled, step, strict=True)
            raise UserError(
                f"step {step}: the gradient overflowed fp16 in {self.skipped} steps in a row; use "
                "--precision bf16 or float32"
            )

    def state(self) -> dict[str, Any]:
        """All that :meth:`restore` needs to continue bit for bit on the CPU: plain types and
        tensors.
        """
        epoch, batch = divmod(self.run.step, self.plan.steps_per_epoch)
        return {
            "step": self.run.step,
            "sampler": {
                "epoch": epoch,
                "batch": batch,
                "steps_per_epoch": self.plan.steps_per_epoch,
            },
            "scheduler": {
                "total_steps": self.plan.total_steps,
                "warmup_steps": self.plan.warmup_steps,
            },
            "images_seen": self.images_seen,
            "params": {name: w.detach() for name, w in self.run.params.items()},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
            "method": self.run.state,
            "rng": random_state(self.run.generator, self.device),
            "metrics": dict(self.metrics),
            **({"average": dict(self.average.values)} if self.average else {}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken.

        Raises:
            UserError: If the state belongs to other parameters, data or length, or holds what no
                training writes; nothing is restored then.
        """
        self._check_run(state)
        check_state(state, self.state(), self._stepped)
        if flaw := self.method.state_flaw(self.run, state["method"], state["step"]):
            raise UserError(f"its trainer.method.{flaw}")
        with torch.no_grad():
            for name, w in self.run.params.items():
                w.copy_(state["params"][name])
            for name, w in (self.average.values if self.average else {}).items():
                w.copy_(state["average"][name])
        self.optimizer.load_state_dict(self._here(state["optimizer"]))
        self.scaler.load_state_dict(state["scaler"])
        self.run.state = to_device(state["method"], self.device)
        self.run.step, self.images_seen = state["step"], state["images_seen"]
        self._overflows = torch.full_like(self._overflows, state["skipped"])
        self.metrics = dict(state["metrics"])
        try:
            restore_random_state(state["rng"], self.run.generator, self.device)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UserError(f"its trainer.rng: is no state of generators ({error})") from None

    def _here(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The optimiser's state with this device's kernels: a run may go on on another one."""
        own = self.optimizer.param_groups
        groups = [
            {**group, **({"fused": mine["fused"]} if "fused" in mine else {})}
            for group, mine in zip(stored["param_groups"], own, strict=True)
        ]
        return {**stored, "param_groups": groups}

    def _check_run(self, state: Mapping[str, Any]) -> None:
        """Refuse the state of a run of another length; damaged numbers are told afterwards."""
        sampler, scheduler = state.get("sampler"), state.get("scheduler")
        if not isinstance(sampler, Mapping) or not isinstance(scheduler, Mapping):
            return
        there = (
            sampler.get("steps_per_epoch"),
            scheduler.get("total_steps"),
            scheduler.get("warmup_steps"),
        )
        here = (self.plan.steps_per_epoch, self.plan.total_steps, self.plan.warmup_steps)
        if all(type(n) is int and n >= 0 for n in there) and here != there:
            raise UserError(
                "the checkpoint belongs to another run: (steps an epoch, steps, warm-up) were "
                f"{there}, now {here}"
            )

    def _stepped(self) -> dict[int, dict[str, Any]]:
        """What this optimiser keeps of each parameter after two steps of small ones."""
        small = {name: torch.zeros([2] * w.ndim) for name, w in self.run.params.items()}
        optimizer = self.method.make_optimizer(small)
        for _ in range(2):
            for w in small.values():
                w.grad = torch.ones_like(w)
            optimizer.step()
        found: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
        return found


@contextlib.contextmanager
def _records_held(run: Run) -> Iterator[None]:
    """Pass on what a step emits once the step is made: one that finds no room is made again, and
    would tell it twice.
    """
    held: list[tuple[str, dict[str, Any]]] = []
    emit, run.emit = run.emit, lambda stream, record: held.append((stream, record))
    try:
        yield
    finally:
        run.emit = emit
    for stream, record in held:
        emit(stream, record)
