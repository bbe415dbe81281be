"""The inner maximisation over images that adversarial methods share (grace.md Eq. 19; Madry et al. 2018)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.attacks import pgd
from grace_geom.batch import Batch
from grace_geom.methods.base import Run
from grace_geom.weights import Weights, detach


@dataclass
class Adversary:
    """Fields of every method that trains on attacked images.

    Attributes:
        eps: Radius of the L-infinity ball, in pixels of [0, 1].
        alpha: Step size, same unit.
        attack_steps: PGD steps, from a uniform random start.
        eps_warmup: Share of the run over which eps and alpha rise linearly from 0 (0 = the full ball at once).
    """

    eps: float = 4 / 255
    alpha: float = 1 / 255
    attack_steps: int = 10
    eps_warmup: float = 0.0

    def attack(self, run: Run, weights: Weights, batch: Batch) -> Float[Tensor, " b c h w"]:
        """Images that maximise the cross-entropy at fixed effective weights; no weight gradient is computed."""
        fixed = detach(weights)
        ramp = min(1.0, (run.step + 1) / (self.eps_warmup * run.total_steps)) if self.eps_warmup > 0 else 1.0

        def loss(x: Tensor) -> Tensor:
            return F.cross_entropy(run.model(x, fixed), batch.labels, reduction="sum")

        return pgd(
            loss, batch.images, eps=self.eps * ramp, alpha=self.alpha * ramp, steps=self.attack_steps,
            generator=run.generator,
        )  # fmt: skip
