"""LAAT (Li et al. 2024, arXiv 2301.13096): adversarial training towards text anchors that were
spread apart.

Objective: ``CE(cos(f(x_adv), a) / tau, y) - beta cos(f(x), f(x_adv))``. The anchors a are CLIP's
text embeddings T, moved away from their mean direction m until the farthest is orthogonal to it:
the polar angle ``theta_i = angle(T_i, m)`` becomes ``(pi / 2) theta_i / max_j theta_j``, the
azimuth stays.

This is a port. As released, LAAT trains small convolutional networks from scratch (SGD lr 0.05, eps
= 8/255, PGD-7 of step 2/255) for zero-shot classification with CLIP's *text* tower alone; here it
fine-tunes CLIP's own image tower, and x_adv raises the cross-entropy as there. The released code
maps the anchors of unseen classes by the training classes' angles; here other data sets are asked
with plain text heads, as for every method. The anchors, divided by tau, are the head that the
checkpoint keeps.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.fields import bounded
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.base import FullFt, Losses, Run, share_right
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights


@dataclass
class Laat(Adversary, FullFt):
    """Cross-entropy against spread anchors, and agreement of clean and attacked features.

    Attributes:
        tau: Temperature of the cosine similarities to the anchors.
        lambda_cos: Weight of the agreement between clean and attacked features; the paper's beta.
    """

    name: ClassVar[str] = "laat"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    tau: float = bounded(1.0, above=0)
    lambda_cos: float = bounded(1.0, least=0)

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The tensors of the image tower; the anchors do not train.

        Raises:
            UserError: With ``train_head``, or for fewer than two classes.
        """
        if self.train_head:
            raise UserError(
                "--train-head: the head of laat is made of its anchors, which are fixed"
            )
        if len(model.class_names) < 2:
            raise UserError("laat spreads the anchors of classes: it needs at least two of them")
        return super().setup(model, generator)

    def weights(self, model: ClipClassifier, params: Weights) -> Weights:
        """The leaves, with the spread anchors over tau as the head."""
        anchors = spread_anchors(model.head["head.weight"]) / self.tau
        return params | {
            "head.weight": anchors,
            "head.bias": torch.zeros_like(model.head["head.bias"]),
        }

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images; ``cos``: minus the weighted mean cosine of
        clean and attacked features.
        """
        x_adv, seen = self.attack(run, weights, batch)
        clean, adv = run.model.features(torch.cat([batch.images, x_adv]), weights).chunk(2)
        logits = run.model.logits(adv, weights)
        seen |= {
            "train_acc": share_right(run.model.logits(clean, weights), batch.labels),
            "train_acc_adv": share_right(logits, batch.labels),
        }
        terms = {
            "adv": F.cross_entropy(logits, batch.labels),
            "cos": -self.lambda_cos * (clean * adv).sum(dim=-1).mean(),
        }
        return Losses(terms, seen)


@torch.no_grad()
def spread_anchors(T: Float[Tensor, " k d"]) -> Float[Tensor, " k d"]:
    """Unit anchors whose polar angles about the mean direction are stretched until the largest is a
    right angle.

    Args:
        T: Text embeddings of any length, two or more that are not all equal.
    """
    t = F.normalize(T.double(), dim=-1)
    m = F.normalize(t.mean(dim=0), dim=-1)
    across = t - (t @ m)[:, None] * m
    sine = across.norm(dim=-1)
    theta = torch.atan2(sine, t @ m)  # arccos loses half of the digits of a small angle
    wide = (math.pi / 2) * theta / theta.max()
    azimuth = across / sine.clamp_min(torch.finfo(sine.dtype).tiny)[:, None]
    return (wide.cos()[:, None] * m + wide.sin()[:, None] * azimuth).to(T.dtype)
