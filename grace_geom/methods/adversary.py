"""The inner maximisation over images that adversarial methods share (grace.md Eq. 19; Madry et al. 2018)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.attacks import pgd
from grace_geom.batch import Batch
from grace_geom.methods.base import Run
from grace_geom.weights import Weights, detach


class Reach(NamedTuple):
    """How far the attack goes in one optimiser step: radius, step size (pixels of [0, 1]) and number of steps."""

    eps: float
    alpha: float
    steps: int


@dataclass(frozen=True)
class Attacked(Batch):
    """A piece of an optimiser step with what the adversary found for it.

    Attributes:
        x_adv: Its attacked images, ``(B, C, H, W)``, detached.
        perturb: From effective weights to perturbed ones. The perturbation itself is a constant, one for the whole
            step however many pieces it is cut into.
    """

    x_adv: Float[Tensor, " b c h w"]
    perturb: Callable[[Weights], Weights]


@dataclass
class Adversary:
    """Fields of every method that trains on attacked images.

    Attributes:
        eps: Radius of the L-infinity ball, in pixels of [0, 1].
        alpha: Step size, same unit.
        attack_steps: PGD steps, from a uniform random start.
        eps_warmup: Share of the run over which eps and alpha rise linearly from 0 (0 = the full ball at once).
        steps_warmup: Share of the run over which the number of PGD steps rises linearly from 1 (0 = all at once): a
            cheaper start (ours). At 1 the run makes about half of the steps.
    """

    eps: float = 4 / 255
    alpha: float = 1 / 255
    attack_steps: int = 10
    eps_warmup: float = 0.0
    steps_warmup: float = 0.0

    def attack(self, run: Run, weights: Weights, batch: Batch) -> Float[Tensor, " b c h w"]:
        """Images that maximise :meth:`maximised` at fixed effective weights; no weight gradient is computed."""
        loss = self.maximised(run, detach(weights), batch)
        return pgd(loss, batch.images, *self.reach(run), generator=run.generator)

    def maximised(self, run: Run, fixed: Weights, batch: Batch) -> Callable[[Tensor], Tensor]:
        """``x -> sum over images`` of what the attack raises: the cross-entropy."""
        return lambda x: F.cross_entropy(run.model(x, fixed), batch.labels, reduction="sum")

    def reach(self, run: Run) -> Reach:
        """The attack of the step that is under way."""
        size, share = (_ramp(run, warmup) for warmup in (self.eps_warmup, self.steps_warmup))
        return Reach(self.eps * size, self.alpha * size, math.ceil(self.attack_steps * share))


def _ramp(run: Run, warmup: float) -> float:
    return min(1.0, (run.step + 1) / (warmup * run.total_steps)) if warmup > 0 else 1.0
