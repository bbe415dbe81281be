"""WiSE-FT (Wortsman et al. 2022, Algorithm 1): the average of pretrained and fine-tuned weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

from grace_geom.fields import bounded
from grace_geom.methods.base import Run
from grace_geom.methods.ft import Ft
from grace_geom.weights import Weights, interpolate


@dataclass
class WiseFt(Ft):
    """``theta_alpha = (1 - alpha) theta_0 + alpha theta_ft``, head included; theta_ft is trained as
    ``ft`` is.

    Held-out numbers and checkpoints on the way are those of the average too.
    ``python -m grace_geom.interpolate RUN`` gives the whole curve of alpha from one run, of this
    method or of ``ft``. Paper and public code agree.

    Attributes:
        wise_alpha: Weight of the fine-tuned model in the interpolation: 0 is the pretrained model,
            1 is ``ft``.
    """

    name: ClassVar[str] = "wise-ft"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    wise_alpha: float = bounded(0.5, least=0, most=1)

    def snapshot(self, run: Run) -> Weights:
        """The weights interpolated between the pretrained and the fine-tuned ones."""
        tuned, base = super().snapshot(run), run.model.weights()
        return interpolate({name: base[name] for name in tuned}, tuned, self.wise_alpha)
