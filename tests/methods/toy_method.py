"""A method as a newcomer would write it: one file, for the test that one line more is enough."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.base import FullFt, Losses, Run
from grace_geom.weights import Weights


@dataclass
class Toy(FullFt):
    """Cross-entropy with smoothed labels.

    Attributes:
        smoothing: Share of the label that all classes divide among them.
    """

    name: ClassVar[str] = "toy"
    tables: ClassVar[tuple[int, ...]] = (6,)

    smoothing: float = bounded(0.1, least=0, most=1)

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        logits = run.model(batch.images, weights)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.smoothing)
        return Losses({"smoothed": loss})
