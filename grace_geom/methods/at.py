"""PGD adversarial training (Madry et al. 2018) of the whole image tower, and of LoRA adapters."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.base import FullFt, Losses, Run, share_right
from grace_geom.methods.lora import Lora
from grace_geom.weights import Weights


def adversarial_cross_entropy(
    method: Adversary, run: Run, weights: Weights, batch: Batch
) -> Losses:
    """``CE(phi_W(x + delta), y)`` with delta from PGD at W."""
    x_adv, seen = method.attack(run, weights, batch)
    logits = run.model(x_adv, weights)
    return Losses(
        {"adv": F.cross_entropy(logits, batch.labels)},
        seen | {"train_acc_adv": share_right(logits, batch.labels)},
    )


@dataclass
class At(Adversary, FullFt):
    """``CE(s f(x + delta) T', y)``: the plain reference; the head is the frozen text head unless
    ``train_head``.
    """

    name: ClassVar[str] = "at"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images."""
        return adversarial_cross_entropy(self, run, weights, batch)


@dataclass
class LoraAt(Adversary, Lora):
    """The same objective; only LoRA factors train."""

    name: ClassVar[str] = "lora-at"
    tables: ClassVar[tuple[int, ...]] = (7,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.009, "eps_warmup": 0.2}}

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images."""
        return adversarial_cross_entropy(self, run, weights, batch)
