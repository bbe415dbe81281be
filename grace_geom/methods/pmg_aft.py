"""PMG-AFT (Wang et al. 2024, arXiv 2401.04350): adversarial fine-tuning guided by the pretrained
model.

Objective: ``CE(l(x_adv), y) + KL(p(x) | p(x_adv)) + KL(p_0(x_adv) | p(x_adv))``; l at W, p its
softmax, p_0 that of the frozen pretrained model *on the attacked image*. Gradients flow through
both sides of the first divergence.

Paper against code (presets ``paper`` and ``published``): the paper's logits carry CLIP's scale s
and its divergences are means. The published code takes raw cosines (its text embeddings are
normalised after scaling, which cancels the temperature, in its attack too) and *sums* the
divergences over the batch while the cross-entropy is a mean, so that their weight grows with the
batch. It also normalises images with ImageNet's mean and std; this one is not copied: normalisation
is inside the model here, and the model stays CLIP. Both train with SGD at eps = 1/255 and 2 steps,
and without clipping of gradients as far as we know (``clip_norm: null``). The defaults are the
paper's objective with the optimiser and radius of the other methods here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.distributed import world
from grace_geom.fields import bounded
from grace_geom.methods.adversary import PUBLIC_SGD, Adversary
from grace_geom.methods.base import NO_CLIPPING, FullFt, Losses, Run, share_right
from grace_geom.methods.trades import divergence
from grace_geom.weights import Weights

_SGD: dict[str, Any] = PUBLIC_SGD | {"lr": 5e-5}


@dataclass
class PmgAftLoss(Adversary):
    """The three terms, for whatever trains.

    Attributes:
        logit_scale: Scale of the logits: ``model``, CLIP's s; ``none``, plain cosines (in the
            attack too).
        kl_reduction: Reduction of the KL divergences over the batch: ``mean`` or ``sum``.
        lambda_clean: Weight of the KL divergence from the model's own clean prediction (theirs: 1).
        lambda_original: Weight of the KL divergence from the pretrained model's prediction (theirs:
            1).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {**_SGD, "logit_scale": "model", "kl_reduction": "mean"},
        "published": {**_SGD, "logit_scale": "none", "kl_reduction": "sum"},
    }
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    logit_scale: Literal["model", "none"] = "model"
    kl_reduction: Literal["mean", "sum"] = "mean"
    lambda_clean: float = bounded(1.0, least=0)
    lambda_original: float = bounded(1.0, least=0)

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Remember how many images a sum over the batch has: the step's, in all its pieces and
        processes.
        """
        run.state["step_images"] = world().size * sum(len(batch) for batch in batches)
        return super().gradients(run, batches)  # type: ignore[misc]  # of what stands beside it

    def maximised(self, run: Run, fixed: Weights, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Cross-entropy of each image, ``(B,)``: what the attack maximises."""
        return lambda x: F.cross_entropy(
            self._logits(run, x, fixed), batch.labels, reduction="none"
        )

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images; ``clean``, ``original``: weighted divergences
        of their answers from those to clean images and from the pretrained model's.
        """
        x_adv, seen = self.attack(run, weights, batch)
        clean, adv = self._logits(run, torch.cat([batch.images, x_adv]), weights).chunk(2)
        with torch.no_grad():
            original = self._logits(run, x_adv, None)
        seen |= {
            "train_acc": share_right(clean, batch.labels),
            "train_acc_adv": share_right(adv, batch.labels),
        }
        terms = {
            "adv": F.cross_entropy(adv, batch.labels),
            "clean": self.lambda_clean * self._reduced(run, divergence(clean, adv)),
            "original": self.lambda_original * self._reduced(run, divergence(original, adv)),
        }
        return Losses(terms, seen)

    def _logits(self, run: Run, x: Tensor, weights: Weights | None) -> Tensor:
        logits = run.model(x, weights)
        return logits if self.logit_scale == "model" else logits / run.model.logit_scale

    def _reduced(self, run: Run, each: Tensor) -> Tensor:
        return (
            each.mean()
            if self.kl_reduction == "mean"
            else run.state.get("step_images", len(each)) * each.mean()
        )


@dataclass
class PmgAft(PmgAftLoss, FullFt):
    """PMG-AFT of the image tower."""

    name: ClassVar[str] = "pmg-aft"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    lr: float = 1e-5
    weight_decay: float = 1e-4
