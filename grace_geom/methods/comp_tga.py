"""Comp-TGA (Yu et al. 2026, arXiv 2603.18598): TGA-ZSR whose attention also keeps away from where a
negated text looks.

Objective: that of ``tga-zsr`` with ``A (1 - A')`` in the place of A: A' is the attention map of the
text that denies the class of the image ("This is not a photo of a {}"), scaled to [0, 1] and
interpolated as A is, and the product is taken pixel by pixel.

Source: the authors' code; of the paper only what its abstract says was compared, and agrees: class
attention and the reversed attention of a non-class prompt, integrated. alpha and beta are 0.10 and
0.07 there. As in ``tga-zsr``, each token is normalised by its own norm, where the code divides by
norms over the tokens. The class text here is the head's, of all prompt templates (the code has the
one, "This is a photo of a {}"). Preset ``published``: SGD lr 1e-4 without clipping, eps = 1/255, 2
steps. Where the negated text sees nothing, it is ``tga-zsr`` with these weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.errors import UserError
from grace_geom.fields import bounded
from grace_geom.methods.base import Run
from grace_geom.methods.tga_zsr import Maps, TgaZsr, attention
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights


@dataclass
class CompTga(TgaZsr):
    """Adversarial cross-entropy, and the attention of class text and negated text held to the
    pretrained model's.

    Attributes:
        lambda_attack: Weight of the attention distance on attacked images; the paper's alpha.
        lambda_clean: Weight of the attention distance on clean images; the paper's beta.
        negated: Text that denies a class, with {} for its name.
    """

    name: ClassVar[str] = "comp-tga"
    tables: ClassVar[tuple[int, ...]] = ()
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    lambda_attack: float = bounded(0.10, least=0)
    lambda_clean: float = bounded(0.07, least=0)
    negated: str = "This is not a photo of a {}"

    def check(self) -> None:
        """The text has a place for the class.

        Raises:
            UserError: Otherwise.
        """
        if "{}" not in self.negated:
            raise UserError(
                f"--negated {self.negated!r} has no {{}}, where the name of the class goes"
            )

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The tensors of the image tower; in the state, the unit features ``(K, D)`` of negated
        texts.

        Raises:
            UserError: If the model is no plain ViT.
        """
        params, state = super().setup(model, generator)
        texts = [self.negated.replace("{}", name) for name in model.class_names]
        with torch.no_grad():
            state["negated"] = model.text_features(texts).clone()
        return params, state

    def state_flaw(self, run: Run, state: Mapping[str, Any], step: int) -> str:
        """The features of negated texts are those of this model's classes."""
        own, found = run.state["negated"], state.get("negated")
        if not isinstance(found, Tensor) or found.shape != own.shape:
            return f"negated: expected a tensor of {tuple(own.shape)}"
        return ""

    def maps(self, run: Run, labels: Tensor) -> Maps:
        """``A (1 - A')`` of tokens, ``(B, N, D) -> (B, H, W)``."""
        looks, (size, grid) = super().maps(run, labels), self.extent(run.model)
        denied = F.normalize(run.state["negated"], dim=-1)[labels]
        return lambda tokens: looks(tokens) * (1 - attention(tokens, denied, size, grid))
