"""Visual prompt tuning (Jia et al. 2022, arXiv 2203.12119) with the objective of PMG-AFT: a row of
the paper's Table 7.

Only learned tokens train. They join the patch tokens before the first block (VPT-shallow), behind
the patches as in the public code of TeCoA, which order does not matter: attention does not see it,
and they have no position of their own. Initialised uniform in ``+- sqrt(6 / (3 p^2 + width))`` with
p the side of a patch, as VPT's authors do.

The tokens are one more entry of the weights, ``visual.prompt`` (tokens, width), which the image
tower understands. They cannot be merged: a checkpoint keeps them under ``adapter`` beside the
untouched pretrained weights, and everything here applies them when it opens it. ``grace_geom.load``
and exports for open_clip, transformers and PEFT refuse, since those have no place for them; the
graphs of ONNX and torch.export hold them.

Paper against code: GRACE's Table 7 gives no settings. TeCoA's code adds 100 tokens (and a frame of
pixels, which is not copied) and trains them with SGD at lr 40, without weight decay: preset
``published`` with PMG-AFT's objective as published, and without clipping of gradients, of which we
know none there. The defaults are ours.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grace_geom.fields import bounded
from grace_geom.methods.base import NO_CLIPPING, Method
from grace_geom.methods.pmg_aft import PmgAftLoss
from grace_geom.models import PROMPT, ClipClassifier
from grace_geom.weights import Weights


@dataclass
class Vpt(Method):
    """Learned tokens beside the patches, cross-entropy on clean images.

    Attributes:
        prompt_tokens: Number of prompt tokens; 0 gives the plain model and trains nothing.
    """

    lr: float = 1e-2
    weight_decay: float = 0.0
    prompt_tokens: int = bounded(16, least=0)

    @property
    def keeps_leaves(self) -> bool:
        """The tokens, which cannot be merged."""
        return True

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The prompt tokens, ``(prompt_tokens, width)``, uniform as VPT's authors draw them.

        Raises:
            UserError: If the model is no plain ViT.
        """
        shape = model.plain_vit("visual prompt tokens need")
        like = model.weights()["visual.class_embedding"]
        bound = math.sqrt(6 / (3 * shape.patch**2 + len(like)))
        tokens = torch.empty(self.prompt_tokens, len(like)).uniform_(
            -bound, bound, generator=generator
        )
        return {PROMPT: tokens.to(like).requires_grad_()}, {}


@dataclass
class VptPmgAft(PmgAftLoss, Vpt):
    """Visual prompt tokens trained by PMG-AFT's three terms."""

    name: ClassVar[str] = "vpt-pmg-aft"
    tables: ClassVar[tuple[int, ...]] = (7,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.00333, "eps_warmup": 0.2}}

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {**PmgAftLoss.presets["published"], "lr": 40.0, "prompt_tokens": 100}
    }
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)
