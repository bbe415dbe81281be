"""AWP (Wu et al. 2020, arXiv 2004.05884): adversarial training at adversarially perturbed weights.

Objective: ``CE(l_{W + Delta}(x_adv), y)``, ``Delta = gamma |W| G / |G|`` for every matrix W, where
G is the gradient of the same loss at W: one ascent step at x_adv, which PGD found at W. The
gradient at ``W + Delta`` is applied *at W*.

Paper against code: the code perturbs the tensors of two or more dimensions whose name holds
"weight", which leaves out CLIP's ``visual.proj`` and positional embedding; here every trained
tensor of two or more dimensions is perturbed. It takes the step with an SGD proxy whose rate
cancels, subtracts Delta again after the step, which floating point does not undo, and uses gamma
0.01 beside plain adversarial training, 0.005 beside TRADES. Here nothing is patched: W + Delta is
another dictionary, W is never touched, and Delta is one for the whole step however it is cut into
micro-batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.geometry.mean_loss import mean_gradient
from grace_geom.methods.adversary import Attacked
from grace_geom.methods.at import At
from grace_geom.methods.base import Losses, Run, share_right
from grace_geom.weights import Weights, detach


@dataclass
class Awp(At):
    """Adversarial cross-entropy at ``W + gamma |W| G / |G|``, applied at W.

    Attributes:
        gamma: Radius of each matrix's perturbation, relative to its norm.
    """

    name: ClassVar[str] = "awp"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009, "eps_warmup": 0.2}}

    gamma: float = bounded(0.005, least=0)

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Gradient of the whole step at one perturbation, found on its attacked images."""
        with torch.no_grad():
            fixed = detach(self.weights(run.model, run.params))
        return super().gradients(run, self.attacked(run, fixed, batches))

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images at the perturbed weights.

        A batch that no step has attacked yet is attacked and gets a perturbation of its own.
        """
        if not isinstance(batch, Attacked):
            (batch,) = self.attacked(run, detach(weights), [batch])
        logits = run.model(batch.x_adv, batch.perturb(weights))
        return Losses(
            {"adv": F.cross_entropy(logits, batch.labels)},
            batch.observed | {"train_acc_awp": share_right(logits, batch.labels)},
        )

    def attacked(self, run: Run, fixed: Weights, batches: Sequence[Batch]) -> list[Attacked]:
        """Attacked images of every piece, and one perturbation for all of them."""
        found = [self.attack(run, fixed, batch) for batch in batches]
        images = [attack.of(batch) for attack, batch in zip(found, batches, strict=True)]

        def loss(weights: Weights, batch: Batch) -> Tensor:
            return F.cross_entropy(run.model(batch.images, weights), batch.labels)

        matrices = [name for name, w in fixed.items() if w.ndim > 1]
        delta = steepest(fixed, mean_gradient(loss, fixed, matrices, images), self.gamma)
        return [
            Attacked.from_attack(batch, attack, partial(_add, delta=delta))
            for batch, attack in zip(batches, found, strict=True)
        ]


def steepest(weights: Weights, G: Weights, gamma: float) -> Weights:
    """``gamma |W| G / |G|`` for every gradient (Frobenius norms); 0 where the gradient is 0."""
    delta = {}
    for name, g in G.items():
        size = gamma * weights[name].norm() / g.norm().clamp_min(torch.finfo(g.dtype).tiny)
        delta[name] = size * g
    return delta


def _add(weights: Weights, delta: Weights) -> Weights:
    return weights | {name: weights[name] + d for name, d in delta.items()}
