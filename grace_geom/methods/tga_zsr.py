"""TGA-ZSR (Yu et al. 2024, arXiv 2410.21802): adversarial fine-tuning that keeps where the text
makes CLIP look.

Objective: ``CE(l(x_adv), y) + alpha mean |A_W(x_adv) - A_W0(x)| + beta mean |A_W(x) - A_W0(x)|``
(Euclidean norms over pixels). The text-guided attention A(x) is the similarity of every patch token
to the text of the true class, scaled to [0, 1] over the image and interpolated to its size.

Paper against code: the published code divides token embeddings by their norm *over the tokens* (dim
1 of a B, N, D tensor), not over their features, before the similarity; here each token is
normalised as CLIP's feature is, as the paper's formula reads. It trains with SGD lr 1e-4 at eps =
1/255, 2 steps (preset ``published``), and without clipping of gradients as far as we know
(``clip_norm: null``). The norms grow with the side of the image: alpha and beta were chosen at 224
pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.adversary import PUBLIC_SGD, Adversary
from grace_geom.methods.base import NO_CLIPPING, FullFt, Losses, Run, share_right
from grace_geom.models import ClipClassifier
from grace_geom.models.resizing import resized
from grace_geom.preprocess import square
from grace_geom.weights import Weights

Maps = Callable[[Tensor], Tensor]
"""Attention maps ``(B, H, W)`` of tokens ``(B, N, D)``."""


@dataclass
class TgaZsr(Adversary, FullFt):
    """Adversarial cross-entropy, and text-guided attention held to the pretrained model's.

    Attributes:
        lambda_attack: Weight of the attention distance on attacked images; the paper's alpha.
        lambda_clean: Weight of the attention distance on clean images; the paper's beta.
    """

    name: ClassVar[str] = "tga-zsr"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    presets: ClassVar[dict[str, dict[str, Any]]] = {"published": PUBLIC_SGD}
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    lr: float = 1e-5
    weight_decay: float = 1e-4
    lambda_attack: float = bounded(0.08, least=0)
    lambda_clean: float = bounded(0.05, least=0)

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The tensors of the image tower.

        Raises:
            UserError: If the model is no plain ViT, whose patch tokens the attention maps need.
        """
        model.plain_vit(self.needs())
        return super().setup(model, generator)

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``adv``: cross-entropy on attacked images; ``attention_adv``, ``attention_clean``: mean
        distances of the attention maps of attacked and clean images to the pretrained clean ones.
        """
        model, x = run.model, batch.images
        x_adv, seen = self.attack(run, weights, batch)
        maps = self.maps(run, batch.labels)
        # One pass each: at W0 the clean maps are then equal to the last bit, and the norm's
        # gradient there is 0. One pass over both would round otherwise than the target's, and the
        # gradient would be a unit vector of noise.
        tokens, tokens_adv = model.tokens(x, weights), model.tokens(x_adv, weights)
        with torch.no_grad():
            target = maps(model.tokens(x))
        logits = model.logits(F.normalize(tokens_adv[:, 0], dim=-1), weights)
        moved_adv, moved = (
            torch.linalg.vector_norm((maps(t) - target).flatten(1), dim=1).mean()
            for t in (tokens_adv, tokens)
        )
        terms = {
            "adv": F.cross_entropy(logits, batch.labels),
            "attention_adv": self.lambda_attack * moved_adv,
            "attention_clean": self.lambda_clean * moved,
        }
        return Losses(terms, seen | {"train_acc_adv": share_right(logits, batch.labels)})

    def maps(self, run: Run, labels: Tensor) -> Maps:
        """The attention of each image's class text, from tokens ``(B, N, D)`` to ``(B, H, W)``."""
        size, grid = self.extent(run.model)
        text = F.normalize(run.model.head["head.weight"], dim=-1)[labels]
        return lambda tokens: attention(tokens, text, size, grid)

    def extent(self, model: ClipClassifier) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the maps, and rows and columns of patches."""
        size, patch = model.preprocess.size, model.plain_vit(self.needs()).patch
        return size, (size[0] // patch, size[1] // patch)

    def needs(self) -> str:
        """The beginning of a refusal."""
        return f"--method {self.name} needs the patch tokens of"


def attention(
    tokens: Float[Tensor, " b n d"],
    text: Float[Tensor, " b d"],
    size: int | tuple[int, int],
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, " b h w"]:
    """Text-guided attention in [0, 1], of the images' size; 0 everywhere where all patches are
    alike.

    Args:
        tokens: Embeddings of the class token and of the patches in reading order.
        text: Unit text embedding of each image's class.
        size: Side of the map, or height and width.
        grid: Rows and columns of patches; a square by default.
    """
    a = (F.normalize(tokens[:, 1:], dim=-1) @ text.to(tokens).unsqueeze(-1)).squeeze(-1)
    low, high = a.amin(dim=1, keepdim=True), a.amax(dim=1, keepdim=True)
    a = (a - low) / (high - low).clamp_min(torch.finfo(a.dtype).tiny)
    side = round(a.shape[1] ** 0.5)
    return resized(a.view(-1, 1, *(grid or (side, side))), square(size), "bilinear").squeeze(1)
