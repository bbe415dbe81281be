"""Zero-shot: the pretrained model as it is, the baseline row (Radford et al. 2021)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grace_geom.methods.base import Method
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights


@dataclass
class ZeroShot(Method):
    """No training: the text head on the pretrained image tower."""

    name: ClassVar[str] = "zero-shot"
    tables: ClassVar[tuple[int, ...]] = (6,)

    trains: ClassVar[bool] = False

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """No leaves: nothing trains."""
        return {}, {}
