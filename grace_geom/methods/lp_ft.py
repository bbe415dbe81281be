"""LP-FT (Kumar et al. 2022): the head is fitted first, so that fine-tuning need not distort
features to fit it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grace_geom.methods.base import Run
from grace_geom.methods.ft import Ft
from grace_geom.methods.linear_probe import Probe


@dataclass
class LpFt(Probe, Ft):
    """``ft`` from the linear probe's head instead of s T: coefficients and intercepts become
    ``head.*``.

    The authors probe features without augmentation and then fine-tune with it, as here.
    """

    name: ClassVar[str] = "lp-ft"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0001}}

    def prepare(self, run: Run) -> None:
        """Copy the linear probe's head into the leaves before the first step."""
        head = self.probe(run)
        with torch.no_grad():
            for name, w in head.items():
                run.params[name].copy_(w)
