"""FARE (Schlarmann et al. 2024, arXiv 2402.12336): unsupervised adversarial fine-tuning of CLIP's
embedding.

Objective: ``(1/n) sum_i max_delta |phi_W(x_i + delta) - phi_W0(x_i)|^2``, squared distances
*summed* over dimensions, of *un-normalised* embeddings; the target is the pretrained model's and
never moves. No labels.

Paper and code agree. We know of no clipping of gradients there: preset ``published`` carries
``clip_norm: null``. The attack needs its random start: at W0 and delta = 0 the loss and its
gradient are both 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.base import NO_CLIPPING, FullFt, Losses, Run, share_right
from grace_geom.methods.tecoa import SCHLARMANN
from grace_geom.weights import Weights


@dataclass
class Fare(Adversary, FullFt):
    """Squared distance of the attacked embedding to the pretrained clean one."""

    name: ClassVar[str] = "fare"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    presets: ClassVar[dict[str, dict[str, Any]]] = {"published": SCHLARMANN}
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    raised: ClassVar[str] = "the squared distance to the pretrained embedding"

    lr: float = 1e-5
    weight_decay: float = 1e-4

    def maximised(self, run: Run, fixed: Weights, batch: Batch) -> Callable[[Tensor], Tensor]:
        """``|phi_W(x) - phi_W0(x)|^2`` of each image, ``(B,)``: what the attack maximises."""
        target = _target(run, batch)
        return lambda x: (run.model.encode(x, fixed) - target).square().sum(dim=-1)

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``fare``: mean squared distance of attacked to clean pretrained embeddings."""
        x_adv, seen = self.attack(run, weights, batch)
        embedding = run.model.encode(x_adv, weights)
        logits = run.model.logits(F.normalize(embedding.detach(), dim=-1), weights)
        return Losses(
            {"fare": (embedding - _target(run, batch)).square().sum(dim=-1).mean()},
            seen | {"train_acc_adv": share_right(logits, batch.labels)},
        )


@torch.no_grad()
def _target(run: Run, batch: Batch) -> Tensor:
    return run.model.encode(batch.images)
