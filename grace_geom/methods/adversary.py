"""The inner maximisation over images that adversarial methods share (grace.md Eq. 19; Madry et al.
2018).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks import pgd, pgd_until
from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.fields import bounded, pixel_bounded
from grace_geom.methods.base import Run
from grace_geom.methods.fast_attack import Raised, cross_entropy
from grace_geom.weights import Weights, detach

PUBLIC_SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "lr": 1e-4,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "eps": 1 / 255,
    "alpha": 1 / 255,
    "attack_steps": 2,
}
"""What the public codes of the methods for zero-shot robustness share."""


class Reach(NamedTuple):
    """How far the attack goes in one optimiser step: radius, step size (pixels of [0, 1]) and
    number of steps.
    """

    eps: float
    alpha: float
    steps: int


class Attack(NamedTuple):
    """What an attack found.

    Attributes:
        images: Attacked images ``(B, C, H, W)``, detached.
        observed: Numbers to be logged, means over the images.
    """

    images: Float[Tensor, " b c h w"]
    observed: dict[str, Tensor | float]

    def of(self, batch: Batch) -> Batch:
        """The batch with the attacked images in the place of its own."""
        return replace(batch, images=self.images)


@dataclass(frozen=True)
class Attacked(Batch):
    """A piece of an optimiser step with what the adversary found for it.

    Attributes:
        x_adv: Its attacked images, ``(B, C, H, W)``, detached.
        perturb: From effective weights to perturbed ones. The perturbation itself is a constant,
            one for the whole step however many pieces it is cut into.
        observed: What the attack of this piece saw.
    """

    x_adv: Float[Tensor, " b c h w"]
    perturb: Callable[[Weights], Weights]
    observed: dict[str, Tensor | float] = field(default_factory=dict)

    @classmethod
    def from_attack(
        cls, batch: Batch, found: Attack, perturb: Callable[[Weights], Weights]
    ) -> "Attacked":
        """A piece, the attack on it, and the perturbation of the whole step."""
        return cls(batch.images, batch.labels, batch.index, found.images, perturb, found.observed)


@dataclass
class Adversary:
    """Fields of every method that trains on attacked images.

    Attributes:
        eps: Radius of the L-infinity ball, in pixels of [0, 1].
        alpha: PGD step size, in pixels of [0, 1].
        attack_steps: Number of PGD steps, from a uniform random start.
        eps_warmup: Fraction of the run over which eps and alpha rise linearly from 0; 0: full
            radius from the start.
        steps_warmup: Fraction of the run over which the number of PGD steps rises linearly from 1;
            0: all steps from the start (ours). At 1 the run takes about half of the PGD steps.
        attack_stop: Stop attacking an image once its cross-entropy exceeds this many nats, that is
            once its true class has probability below ``exp(-attack_stop)``. At ln 2 = 0.69 every
            misclassified image stops, and some others; at ln K (2.48 for 12 classes) only
            misclassified ones do. ``null``: never. Logs ``attack_looks``, gradients per image (two
            forward passes each). On a GPU images leave the passes two steps late, so that nothing
            waits for the device.
    """

    raised: ClassVar[str] = "the cross-entropy"
    """What the attack raises, in words; only a cross-entropy of the true class can be held against
    nats.
    """

    eps: float = pixel_bounded(4 / 255)
    alpha: float = pixel_bounded(1 / 255)
    attack_steps: int = bounded(10, least=0)
    eps_warmup: float = bounded(0.0, least=0, most=1)
    steps_warmup: float = bounded(0.0, least=0, most=1)
    attack_stop: float | None = bounded(None, least=0)

    def check(self) -> None:
        """``attack_stop`` is in nats of a cross-entropy.

        Raises:
            UserError: If the attack raises something else.
        """
        if self.attack_stop is not None and self.raised != Adversary.raised:
            raise UserError(
                "--attack-stop is in nats of the cross-entropy; the attack of this method raises "
                f"{self.raised}: leave it out, or use --steps-warmup or fewer --attack-steps"
            )

    def attack(
        self,
        run: Run,
        weights: Weights,
        batch: Batch,
        left_out: int = 0,
        sums: list[Tensor] | None = None,
    ) -> Attack:
        """Images that maximise :meth:`maximised` at fixed effective weights; no weight gradient is
        computed.

        Args:
            run: The training under way.
            weights: Effective weights.
            batch: Images and labels.
            left_out: Steps at the end that the caller makes itself.
            sums: Where the sums of the steps' gradients go then: the caller looks at them with
                those of its own steps (:func:`grace_geom.attacks.pgd`).
        """
        fixed, reach = detach(weights), self.reach(run)
        reach = reach._replace(steps=reach.steps - left_out)
        if self.attack_stop is None:
            raised = self.maximised(run, fixed, batch)
            gradient = run.fast.gradient(run.model, raised, fixed, batch, self.graph_loss)
            x_adv = pgd(
                raised, batch.images, *reach, generator=run.generator, gradient=gradient, sums=sums
            )
            return Attack(x_adv, {})

        run.fast.refuse("--attack-stop leaves fewer images from step to step")

        def loss(x: Tensor, rows: Int[Tensor, " b"]) -> Tensor:
            return self.maximised(run, fixed, batch.take(rows))(x)

        x_adv, looks = pgd_until(
            loss, batch.images, *reach, self.attack_stop, run.generator, sums=sums
        )
        return Attack(x_adv, {"attack_looks": looks.float().mean() + left_out})

    def maximised(self, run: Run, fixed: Weights, batch: Batch) -> Callable[[Tensor], Tensor]:
        """``x -> (B,)``, what the attack raises of each image: the cross-entropy."""
        return lambda x: cross_entropy(run.model, fixed, batch.labels, x)

    @property
    def graph_loss(self) -> Raised | None:
        """What the attack raises as a function of weights and labels alone, which a CUDA graph
        needs; ``None`` where it depends on more.
        """
        plain = type(self).maximised is Adversary.maximised
        return cross_entropy if plain else None

    def reach(self, run: Run) -> Reach:
        """The attack of the step that is under way."""
        size, share = (_ramp(run, warmup) for warmup in (self.eps_warmup, self.steps_warmup))
        return Reach(self.eps * size, self.alpha * size, math.ceil(self.attack_steps * share))


def _ramp(run: Run, warmup: float) -> float:
    return min(1.0, (run.step + 1) / (warmup * run.total_steps)) if warmup > 0 else 1.0
