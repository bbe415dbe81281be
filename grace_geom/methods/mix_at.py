"""Training on clean and attacked images at once (Goodfellow et al. 2015, arXiv 1412.6572, sec. 6;
Kurakin et al. 2017, arXiv 1611.01236, Eq. 3), of the whole image tower, and of LoRA adapters.

Objective: ``(1 - w) CE(l(x), y) + w CE(l(x_adv), y)``, both at the weights of the step.

Paper against paper: Goodfellow et al. weigh both terms by a half and attack with one step of FGSM.
Kurakin et al. attack half of the images of a batch and give each 0.3 of a clean one's weight, which
makes w = 0.23. Here every image is seen both ways and attacked by the PGD of the other methods
(ours). It is the control for GRACE's objective, which has a clean and an attacked cross-entropy
too. With w = 1 it is ``at``; with w = 0 nothing is attacked, and it is ``ft`` with a frozen head
(with ``train_head``: ``ft``), digit for digit.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.at import adversarial_cross_entropy
from grace_geom.methods.base import FullFt, Losses, Run, share_right
from grace_geom.methods.lora import Lora
from grace_geom.weights import Weights


@dataclass
class Mixed(Adversary):
    """The two terms, for whatever trains.

    Attributes:
        adv_weight: Weight w of the cross-entropy on attacked images; the clean one has 1 - w.
    """

    adv_weight: float = bounded(0.5, least=0, most=1)

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``task``: ``(1 - w)`` of the clean cross-entropy; ``adv``: ``w`` of the attacked one."""
        w = self.adv_weight
        if w == 0:  # nothing is attacked
            return super().losses(run, weights, batch)  # type: ignore[misc]  # of what stands beside it
        if w == 1:
            return adversarial_cross_entropy(self, run, weights, batch)
        x_adv, seen = self.attack(run, weights, batch)
        clean, adv = run.model(torch.cat([batch.images, x_adv]), weights).chunk(2)
        seen |= {
            "train_acc": share_right(clean, batch.labels),
            "train_acc_adv": share_right(adv, batch.labels),
        }
        terms = {
            "task": (1 - w) * F.cross_entropy(clean, batch.labels),
            "adv": w * F.cross_entropy(adv, batch.labels),
        }
        return Losses(terms, seen)


@dataclass
class MixAt(Mixed, FullFt):
    """``(1 - w) CE(l(x), y) + w CE(l(x_adv), y)``; the head is frozen unless ``train_head``."""

    name: ClassVar[str] = "mix-at"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}


@dataclass
class LoraMixAt(Mixed, Lora):
    """The same objective; only LoRA factors train."""

    name: ClassVar[str] = "lora-mix-at"
    tables: ClassVar[tuple[int, ...]] = (7,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.006, "eps_warmup": 0.2}}
