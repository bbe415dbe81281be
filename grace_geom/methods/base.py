"""What a method is: hyper-parameters as fields, facts about it as data, and a few hooks in the
order a run meets them.

A method that only changes the objective overrides :meth:`Method.losses`; one that needs the whole
step before its first gradient overrides :meth:`Method.gradients`. Both return what they found:
nothing is written into the :class:`Run` but the method's own ``state``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.fields import bounded, check_bounds
from grace_geom.methods.fast_attack import FastAttack
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights, detach, leaves, select

Part = Literal["train", "val"]
"""The images that train, and those of the training data that are held out."""


class Losses(NamedTuple):
    """What a batch costs, and what was seen on the way.

    Attributes:
        terms: Named loss terms, batch means, whose sum is minimised.
        observed: Numbers to be logged beside them, batch means too.
    """

    terms: dict[str, Tensor]
    observed: dict[str, Tensor | float] = {}  # noqa: RUF012  # of a tuple: never written to


class Coupled(NamedTuple):
    """Images of a step that one process must hold together for the gradient of the whole step.

    Attributes:
        images: How many; ``None``: all of the step.
        otherwise: What a step is where a process holds others, with ``{share}`` for how many.
    """

    images: int | None
    otherwise: str


class Passes(NamedTuple):
    """Forward passes that a run spends outside its steps, a backward pass being two.

    Attributes:
        train: Over each training image.
        held_out: Over each held-out image.
        held_out_batches: Over a batch, of a step's size, of held-out images.
    """

    train: float = 0.0
    held_out: float = 0.0
    held_out_batches: float = 0.0


@dataclass
class Run:
    """What a method sees of the training that is under way.

    Attributes:
        model: The frozen pretrained classifier; its own weights are theta_0.
        params: The leaves that train, by name.
        state: The method's own tensors and plain values; saved with and restored from checkpoints.
        generator: The only source of randomness, on the model's device.
        step: Optimiser steps done so far.
        total_steps: Optimiser steps this run will have.
        backward: Back-propagates a loss (through the fp16 scaler where one is in use).
        emit: Writes one record to ``NAME.jsonl`` of the run directory.
        images: Every clean image of a part of the training data, without augmentation, in order, on
            the model's device, in batches of a step's size however steps are cut; each call begins
            anew. For what a method does before or after its steps.
        pieces: Cuts a batch of ``images`` into what fits the device at once, as steps are cut.
        fast: How the attack's gradients are computed.
    """

    model: ClipClassifier
    params: Weights
    generator: torch.Generator
    total_steps: int
    state: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    backward: Callable[[Tensor], None] = lambda loss: loss.backward()
    emit: Callable[[str, dict[str, Any]], None] = lambda stream, record: None
    images: Callable[[Part], Iterable[Batch]] = lambda part: ()
    pieces: Callable[[Batch], list[Batch]] = lambda batch: [batch]
    fast: FastAttack = field(default_factory=FastAttack)


NO_CLIPPING: dict[str, Any] = {"clip_norm": None}
"""For presets of codes in which we know of no clipping of gradients."""


@dataclass
class Method:
    """Fine-tuning of some weights with cross-entropy; every other method says how it differs.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Weight decay towards zero on every trained tensor: decoupled (AdamW) or L2
            (SGD).
        optimizer: Optimizer: ``adamw`` (betas 0.9, 0.999) or ``sgd``.
        momentum: Momentum of SGD.
    """

    lr: float = bounded(3e-5, above=0)
    weight_decay: float = bounded(0.1, least=0)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = bounded(0.9, least=0, most=0.999999)

    name: ClassVar[str]
    """Its name on the command line. Only a class that states one is a method that can be chosen."""
    tables: ClassVar[tuple[int, ...]] = ()
    """Numbers of the paper's tables that it has a row in; not inherited."""
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    """Settings by the name of a data set, for runs that say nothing else; not inherited."""
    trains: ClassVar[bool] = True
    """Whether it makes optimiser steps. A method that makes none is one run, whatever the seed."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Named settings, of a method's origin or ours: values of its fields, which ``--preset`` lays
    under the other flags. One that states a learning rate takes the place of a data set's recipe;
    any other lies over it.
    """
    preset_training: ClassVar[dict[str, dict[str, Any]]] = {}
    """Settings of the training loop that belong to a preset, by its name."""
    deciding: ClassVar[tuple[str, ...]] = ()
    """Fields whose value decides what :meth:`settings_on` says."""

    @classmethod
    def settings_on(cls, data: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings for a run on a data set that says nothing else.

        Args:
            data: SPEC of the training data.
            given: What the user sets, the ``deciding`` fields among it.
        """
        return dict(cls.__dict__.get("recipes", {}).get(data, {}))

    @property
    def keeps_leaves(self) -> bool:
        """Whether checkpoints keep the trained leaves beside the merged weights, as they do
        low-rank factors.
        """
        return False

    @property
    def captions(self) -> Literal["unused", "taken", "needed"]:
        """Whether images train with captions of their own: never, where the data have some, or
        always. Other methods than ``unused`` can do without labels.
        """
        return "unused"

    @property
    def coupled(self) -> Coupled | None:
        """Images that several processes must not share out; ``None``: any may be."""
        return None

    @property
    def outside(self) -> Passes:
        """What a run costs beside its steps, for estimates."""
        return Passes()

    def check(self) -> None:
        """Refuse values that do not go together; each class states its own rule.

        Raises:
            UserError: Naming the flags.
        """

    @classmethod
    def before(cls, data: str) -> dict[str, Any]:
        """What runs on ``data`` (a SPEC) did before a field was there, where that is not the
        field's default.
        """
        return {}

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The leaves that train and the method's initial state. ``generator`` lives on the CPU."""
        raise NotImplementedError

    @property
    def follows_steps(self) -> bool:
        """Whether something of the method's own follows each step of the optimiser.

        A fused step in fp16 is run, and has no effect, where a gradient overflowed: what follows it
        would read gradients that are not finite. Other steps are left out there.
        """
        return False

    def make_optimizer(self, params: Weights) -> torch.optim.Optimizer:
        """The optimiser over the leaves, which hold their values from :meth:`setup`, in resumed
        runs too.

        What a resumed run needs of it must be in its ``state_dict``.
        """
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                list(params.values()),
                lr=self.lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
            )
        on_gpu = all(w.device.type == "cuda" for w in params.values())
        fused = on_gpu and not self.follows_steps  # one kernel, not ten
        return torch.optim.AdamW(
            list(params.values()),
            lr=self.lr,
            weight_decay=self.weight_decay,
            fused=True if fused else None,
        )

    def weights(self, model: ClipClassifier, params: Weights) -> Weights:
        """The effective weights W(theta) as a differentiable function of the leaves."""
        return params

    def state_flaw(self, run: Run, state: Mapping[str, Any], step: int) -> str:
        """What is wrong with a stored state of this method, ``KEY: what``; empty where nothing is.

        Args:
            run: Before its first step.
            state: Read from a file: plain values and finite tensors.
            step: Optimiser steps that were done.
        """
        return ""

    def prepare(self, run: Run) -> None:
        """Called once, before the first step, with ``run.images`` in reach; may change leaves and
        state in place.
        """

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """The loss terms of one batch at these effective weights."""
        logits = run.model(batch.images, weights)
        return Losses(
            {"task": F.cross_entropy(logits, batch.labels)},
            {"train_acc": share_right(logits, batch.labels)},
        )

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Leave the gradient of the mean loss over the whole step in the leaves; return the means
        over it.

        What needs the whole step's data before any gradient (curvature, say) comes first here.

        Args:
            run: The training under way.
            batches: The step's images, cut into what fits the device at once.
        """
        return self.accumulate(run, batches)

    @final
    def accumulate(
        self, run: Run, batches: Sequence[Batch], offset: Weights | None = None
    ) -> Losses:
        """Add the gradient of the mean loss, at the effective weights plus a fixed ``offset``, to
        that of the leaves; return the means over all batches.
        """
        n = sum(len(batch) for batch in batches)
        means: dict[str, Any] = {}
        observed: dict[str, Tensor | float] = {}  # of a tuple: never written to
        for batch in batches:
            share = len(batch) / n
            weights = self.weights(run.model, run.params)
            if offset:
                weights = weights | {name: weights[name] + v for name, v in offset.items()}
            found = self.losses(run, weights, batch)
            run.backward(share * torch.stack(list(found.terms.values())).sum())
            parts: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
                (means, found.terms), (observed, found.observed)
            )  # fmt: skip
            for total, part in parts:
                for name, value in part.items():
                    value = value.detach() if isinstance(value, Tensor) else value
                    total[name] = total.get(name, 0.0) + share * value
        return Losses(means, observed)

    def snapshot(self, run: Run) -> Weights:
        """The plain model at this moment, named as the model names it: for held-out numbers and
        checkpoints.
        """
        with torch.no_grad():
            return detach(self.weights(run.model, run.params))

    def finish(self, run: Run) -> Weights:
        """The weights that this run leaves behind, once its steps are done: merged, plain."""
        return self.snapshot(run)

    @final
    def kept_leaves(self, run: Run) -> Weights:
        """The leaves that checkpoints keep beside the merged weights; most methods have none."""
        return {name: w.detach() for name, w in run.params.items()} if self.keeps_leaves else {}


@dataclass
class FullFt(Method):
    """Base of the methods that train the image tower's own weights.

    Attributes:
        train_head: Also train the classification head (initialised to s T, bias 0).
        targets: Regular expression for the names of the trained tensors of the image tower.
    """

    train_head: bool = False
    targets: str = r"^visual\."

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The tensors of the image tower that ``targets`` matches, and the head if ``train_head``.

        Raises:
            UserError: If ``targets`` matches no tensor.
        """
        chosen = select(
            {n: w for n, w in model.weights().items() if n not in model.head}, self.targets
        )
        return leaves(chosen | (model.head if self.train_head else {})), {}


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of right answers, a scalar tensor (no host synchronisation)."""
    return (logits.detach().argmax(dim=-1) == labels).float().mean()


def check_fields(method: Method) -> None:
    """Refuse values that have no meaning: out of bounds, or against a rule of one of its classes.

    Raises:
        UserError: Naming the flag, its value and what it may be.
    """
    check_bounds(method)
    pattern = getattr(method, "targets", "")
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"--targets {pattern!r} is not a regular expression: {error}") from None
    for cls in reversed(type(method).__mro__):
        if "check" in cls.__dict__:
            cls.__dict__["check"](method)


def check_order(method: object, low: str, high: str) -> None:
    """Refuse a lower limit above the upper one, two fields of a method.

    Raises:
        UserError: Naming both flags.
    """
    if getattr(method, low) > getattr(method, high):
        flags = [f"--{name.replace('_', '-')}" for name in (low, high)]
        raise UserError(
            f"{flags[0]} is {getattr(method, low)}, it must not exceed {flags[1]} "
            f"{getattr(method, high)}"
        )
