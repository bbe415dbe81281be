"""LoRA (Hu et al. 2022; grace.md Eq. 5): W = W0 + (lora_alpha / r) B A, only B and A train."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from grace_geom.errors import UserError
from grace_geom.fields import bounded
from grace_geom.methods.base import Method
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights

ATTENTION_AND_MLP = r"(attn|mlp)\..*weight$"
"""The fused q, k, v projection, the output projection and both MLP matrices of every block; timm
towers too.
"""


def target_matrices(model: ClipClassifier, pattern: str) -> list[str]:
    """Names of the image tower's matrices that match, in the tower's order.

    Raises:
        UserError: If none matches; 2-D weights that could be meant are named.
    """
    matrices = [n for n, w in model.weights().items() if w.ndim == 2 and n not in model.head]
    chosen = [n for n in matrices if re.search(pattern, n)]
    if not chosen:
        some = ", ".join(matrices[:5])
        raise UserError(
            f"--targets {pattern!r} matches no matrix of the image tower (it has {some}, ...)"
        )
    return chosen


@dataclass
class Lora(Method):
    """Low-rank adapters on the attention and MLP matrices of the image tower, cross-entropy on
    clean images.

    Attributes:
        r: Rank of every adapter.
        lora_alpha: LoRA alpha; the scale is ``lora_alpha / r``. ``null``: 2 r.
        targets: Regular expression for the names of the adapted matrices.
    """

    name: ClassVar[str] = "lora"
    tables: ClassVar[tuple[int, ...]] = (7, 8)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.006}}
    keeps_leaves: ClassVar[bool] = True

    lr: float = 2e-4
    weight_decay: float = 0.0
    r: int = bounded(64, least=1)
    lora_alpha: float | None = bounded(None, above=0)
    targets: str = ATTENTION_AND_MLP

    @property
    def scale(self) -> float:
        """lora_alpha / r."""
        return 2.0 if self.lora_alpha is None else self.lora_alpha / self.r

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """Factors of each adapted matrix: ``NAME.A`` (r, n2), Kaiming-uniform; ``NAME.B``, zero.

        Raises:
            UserError: If ``targets`` matches no matrix.
        """
        params: Weights = {}
        weights = model.weights()
        for name in target_matrices(model, self.targets):
            n1, n2 = weights[name].shape
            A = torch.empty(self.r, n2)
            torch.nn.init.kaiming_uniform_(
                A, a=5**0.5, generator=generator
            )  # as the LoRA authors' code
            params[f"{name}.A"] = A.to(weights[name]).requires_grad_()
            params[f"{name}.B"] = weights[name].new_zeros(n1, self.r).requires_grad_()
        return params, {}

    def weights(self, model: ClipClassifier, params: Weights) -> Weights:
        """``W0 + scale B A`` of each adapted matrix."""
        base = model.weights()
        merged: Weights = {}
        for name, B, A in factors(params):
            # beta * W0 + alpha * B A in one kernel, in the weights' own precision
            merged[name] = torch.addmm(base[name], B, A, alpha=self.scale)
        return merged


def factors(params: Weights) -> list[tuple[str, Tensor, Tensor]]:
    """``(name of W, B (n1, r), A (r, n2))`` of every adapted matrix."""
    names = [key[: -len(".A")] for key in params if key.endswith(".A")]
    return [(name, params[f"{name}.B"], params[f"{name}.A"]) for name in names]
