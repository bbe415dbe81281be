"""L2-SP (Li, Grandvalet and Davoine 2018, sec. 3): weight decay towards the pretrained weights, not
towards zero.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.base import Losses, Run
from grace_geom.methods.ft import Ft
from grace_geom.weights import Weights


@dataclass
class L2Sp(Ft):
    """``CE + (alpha / 2) |theta - theta_0|^2`` over image tower and head; no decay towards zero.

    The paper starts its head at random and decays that towards zero with a factor of its own; here
    the head starts at s T, so it has an anchor like every other tensor. The penalty is part of the
    loss, so Adam rescales it entry by entry (coupled decay); the paper trains by SGD with momentum.

    Attributes:
        alpha: Strength of the pull towards the pretrained weights.
    """

    name: ClassVar[str] = "l2-sp"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    weight_decay: float = 0.0
    alpha: float = bounded(0.1, least=0)

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """The usual terms, and ``drift``: ``(alpha / 2) |w - w0|^2``."""
        base = run.model.weights()
        drift = torch.stack([(w - base[name]).square().sum() for name, w in weights.items()]).sum()
        found = super().losses(run, weights, batch)
        return found._replace(terms=found.terms | {"drift": self.alpha / 2 * drift})
