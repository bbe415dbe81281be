"""TRADES (Zhang et al. 2019, arXiv 1901.08573): accuracy on clean images and stability around them.

Objective: ``CE(l(x), y) + beta KL(p(x) | p(x_adv))``, x_adv raising the same divergence.

Paper against code: the paper's regulariser is a classification-calibrated surrogate of
``l(x) l(x_adv)``; the code's is this divergence, divided by the batch, with a gradient through both
sides. The code starts its attack at ``x + 0.001 N(0, 1)``; here it starts uniform in the ball as
all attacks here do (at x itself the gradient is 0). With lambda_kl = 0 nothing is attacked, and the
loss is the cross-entropy of ``ft``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.base import FullFt, Losses, Run, share_right
from grace_geom.weights import Weights


@dataclass
class Trades(Adversary, FullFt):
    """``CE(l(x), y) + lambda_kl KL(p(x) | p(x_adv))``, the head frozen unless ``train_head``.

    Attributes:
        lambda_kl: Weight of the KL divergence; the paper's beta (1 / lambda).
    """

    name: ClassVar[str] = "trades"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    raised: ClassVar[str] = "the divergence from the clean answer"

    lambda_kl: float = bounded(6.0, least=0)

    def maximised(self, run: Run, fixed: Weights, batch: Batch) -> Callable[[Tensor], Tensor]:
        """``KL(p(x) | p(x_adv))`` of each image, ``(B,)``: what the attack maximises."""
        with torch.no_grad():
            clean = run.model(batch.images, fixed)
        return lambda x: divergence(clean, run.model(x, fixed))

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``task``: cross-entropy on clean images; ``kl``: weighted divergence to attacked ones."""
        if self.lambda_kl == 0:
            return super().losses(run, weights, batch)
        x_adv, seen = self.attack(run, weights, batch)
        clean, adv = run.model(torch.cat([batch.images, x_adv]), weights).chunk(2)
        seen |= {
            "train_acc": share_right(clean, batch.labels),
            "train_acc_adv": share_right(adv, batch.labels),
        }
        terms = {
            "task": F.cross_entropy(clean, batch.labels),
            "kl": self.lambda_kl * divergence(clean, adv).mean(),
        }
        return Losses(terms, seen)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """``KL(softmax p | softmax q) = sum_k p_k (log p_k - log q_k)`` of each sample, from logits
    ``(B, K)``."""
    return F.kl_div(
        q.log_softmax(dim=-1), p.log_softmax(dim=-1), reduction="none", log_target=True
    ).sum(dim=-1)
