"""AGFT (Cui et al. 2026, arXiv 2603.29410): adversarial fine-tuning towards the pretrained model's
own answer in the place of the label.

Objective: ``CE(a s cos(f(x_adv), T), q)`` with ``q = softmax(r a s cos(f0(x), T))``, f0 the
pretrained model's feature of the *clean* image. x_adv raises the same cross-entropy. No labels.

Source: the authors' code; of the paper only what its abstract says was compared, and agrees: soft
alignment instead of hard labels, and a temperature that calibrates the target. The code trains at a
logit scale of 180 where CLIP has 100 (a = 1.8 here, so that other models keep their proportion) and
softens the target by r = 0.4, in the one command that its README gives; the answers of the finished
model are asked at CLIP's own scale. That command is preset ``published`` (SGD lr 4e-4 without
clipping, eps = 1/255, 2 steps, batches of 256 over two devices). The cross-entropy differs from a
KL divergence by the entropy of q, a constant: at the pretrained weights with r = 1 and no attack
its gradient is 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.adversary import PUBLIC_SGD, Adversary
from grace_geom.methods.base import NO_CLIPPING, FullFt, Losses, Run, share_right
from grace_geom.weights import Weights


@dataclass
class Agft(Adversary, FullFt):
    """Cross-entropy of attacked images with the pretrained model's softened answer to clean ones.

    Attributes:
        scale_factor: Factor a on the logit scale in training.
        target_ratio: Scale of the target's logits relative to the model's, r; 1: none is softened.
    """

    name: ClassVar[str] = "agft"
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009, "eps_warmup": 0.2}}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"published": PUBLIC_SGD | {"lr": 4e-4}}
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    raised: ClassVar[str] = "the cross-entropy with the pretrained model's answer"

    lr: float = 1e-5
    weight_decay: float = 1e-4
    scale_factor: float = bounded(1.8, above=0)
    target_ratio: float = bounded(0.4, least=0)

    def maximised(self, run: Run, fixed: Weights, batch: Batch) -> Callable[[Tensor], Tensor]:
        """The same cross-entropy of each image, ``(B,)``: what the attack maximises."""
        q = self.target(run, batch)
        return lambda x: F.cross_entropy(
            self.scale_factor * run.model(x, fixed), q, reduction="none"
        )

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``soft``: cross-entropy of attacked images with the pretrained answer to clean ones."""
        x_adv, seen = self.attack(run, weights, batch)
        logits = run.model(x_adv, weights)
        soft = F.cross_entropy(self.scale_factor * logits, self.target(run, batch))
        return Losses({"soft": soft}, seen | {"train_acc_adv": share_right(logits, batch.labels)})

    @torch.no_grad()
    def target(self, run: Run, batch: Batch) -> Tensor:
        """q ``(B, K)``: the pretrained model's answer to the clean images, softened."""
        scale = self.target_ratio * self.scale_factor
        return (scale * run.model(batch.images)).softmax(dim=-1)
