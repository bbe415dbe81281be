"""UCAT (Lu et al. 2026, arXiv 2512.12997): adversarial fine-tuning that keeps the pretrained
model's confidence, as a Dirichlet distribution over answers.

Objective: ``CE(l(x_adv), y) + lambda mean KL(Dir(alpha(x_adv)) | Dir(alpha_0(x)))``, with ``alpha =
1e-6 + exp((cos(f, T) + 1) / tau)`` for each class, and alpha_0 the pretrained model's on the
*clean* image. x_adv raises the cross-entropy.

Source: the authors' code; of the paper only what its abstract says was compared, and agrees. There,
``lambda = 1e5 / (1 + exp(2 / tau))``, that is 1e5 over the largest concentration there can be, and
tau = 0.07; ``strength`` is the 1e5. The concentrations reach 1e12, where log-gamma functions in
half or single precision (the code runs under autocast) lose the divergence in rounding: it is
computed in float64 here (ours). Preset ``published``: SGD lr 1e-4 without clipping, eps = 1/255, 2
steps. With ``strength`` 0 it is ``at``, digit for digit.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.adversary import PUBLIC_SGD, Adversary
from grace_geom.methods.at import adversarial_cross_entropy
from grace_geom.methods.base import NO_CLIPPING, FullFt, Losses, Run, share_right
from grace_geom.weights import Weights


@dataclass
class Ucat(Adversary, FullFt):
    """Adversarial cross-entropy, and Dirichlet distributions held to the pretrained model's.

    Attributes:
        tau: Temperature of the cosines in the concentrations.
        strength: Weight of the divergence, times the largest concentration there can be.
    """

    name: ClassVar[str] = "ucat"
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"published": PUBLIC_SGD}
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    lr: float = 1e-5
    weight_decay: float = 1e-4
    tau: float = bounded(0.07, least=0.003)  # exp(2 / tau) is a float64
    strength: float = bounded(1e5, least=0)

    @property
    def lambda_kl(self) -> float:
        """``strength / (1 + exp(2 / tau))``."""
        return self.strength / (1 + math.exp(2 / self.tau))

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images; ``dirichlet``: weighted divergence of their
        distributions from the pretrained ones of clean images.
        """
        if self.strength == 0:
            return adversarial_cross_entropy(self, run, weights, batch)
        x_adv, seen = self.attack(run, weights, batch)
        features = run.model.features(x_adv, weights)
        logits = run.model.logits(features, weights)
        with torch.no_grad():
            target = self.concentrations(run, run.model.features(batch.images))
        apart = kl_divergence(
            Dirichlet(self.concentrations(run, features), validate_args=False),
            Dirichlet(target, validate_args=False),
        )
        terms = {
            "adv": F.cross_entropy(logits, batch.labels),
            "dirichlet": (self.lambda_kl * apart.mean()).to(logits),
        }
        return Losses(terms, seen | {"train_acc_adv": share_right(logits, batch.labels)})

    def concentrations(self, run: Run, features: Tensor) -> Tensor:
        """alpha ``(B, K)`` in float64, of unit features ``(B, D)``.

        The head is always the pretrained one: with ``--train-head true`` the cross-entropy uses the
        trained head, and the divergence still compares images on the pretrained one's classes.
        """
        T = F.normalize(run.model.head["head.weight"].double(), dim=-1)
        return 1e-6 + ((features.double() @ T.mT + 1) / self.tau).exp()
