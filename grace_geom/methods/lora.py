"""LoRA (Hu et al. 2022; grace.md Eq. 5): W = W0 + (lora_alpha / r) B A, only B and A train.

A convolution's kernel (out, in, k, k) is adapted as a matrix of out rows: ``A`` (r, in, k, k) reads
the input, ``B`` (out, r, 1, 1) mixes its r channels, as in PEFT.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from grace_geom.errors import UserError
from grace_geom.fields import bounded
from grace_geom.methods.base import Method
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights, plus_product

ATTENTION_AND_MLP = r"(attn|mlp)\..*weight$"
"""The fused q, k, v projection, the output projection and both MLP matrices of every block; timm
towers too.
"""

STAGES = r"^visual\.(trunk\.)?(layer\d+|stages|attnpool)\..*weight$"
"""What a tower of stages has beside these: convolutions and down-sampling of ResNet, ConvNeXt and
FastViT (MobileCLIP), and the attention that pools a ResNet's features.
"""


def target_matrices(model: ClipClassifier, pattern: str) -> list[str]:
    """Names of the image tower's matrices and kernels that match, in the tower's order.

    The default pattern also means the convolutions of a tower that is made of stages.

    Raises:
        UserError: If none matches; weights that could be meant are named.
    """
    own = {name: w for name, w in model.weights().items() if name not in model.head}
    if chosen := matching(own, pattern):
        return chosen
    some = ", ".join([name for name, w in own.items() if w.ndim in (2, 4)][:5])
    raise UserError(
        f"--targets {pattern!r} matches no matrix of the image tower (it has {some}, ...)"
    )


def matching(weights: Weights, pattern: str) -> list[str]:
    """Names of matrices and kernels that a pattern means, see :func:`target_matrices`."""
    wide = f"{pattern}|{STAGES}" if pattern == ATTENTION_AND_MLP else pattern
    return [name for name, w in weights.items() if w.ndim in (2, 4) and re.search(wide, name)]


@dataclass
class Lora(Method):
    """Low-rank adapters on the attention and MLP matrices of the image tower (and on the
    convolutions of one that has stages), cross-entropy on clean images.

    Attributes:
        r: Rank of every adapter.
        lora_alpha: LoRA alpha; the scale is ``lora_alpha / r``. ``None``: 2 r.
        targets: Regular expression for the names of the adapted matrices.
    """

    name: ClassVar[str] = "lora"
    tables: ClassVar[tuple[int, ...]] = (7, 8)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.006}}

    lr: float = 2e-4
    weight_decay: float = 0.0
    r: int = bounded(64, least=1)
    lora_alpha: float | None = bounded(None, above=0)
    targets: str = ATTENTION_AND_MLP

    @property
    def keeps_leaves(self) -> bool:
        """The factors, which scale, export and continue."""
        return True

    @property
    def scale(self) -> float:
        """lora_alpha / r."""
        return 2.0 if self.lora_alpha is None else self.lora_alpha / self.r

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """Factors of each adapted matrix: ``NAME.A`` (r, n2), Kaiming-uniform; ``NAME.B``, zero.
        Of a kernel (n1, in, k, k): ``A`` (r, in, k, k) and ``B`` (n1, r, 1, 1).

        Raises:
            UserError: If ``targets`` matches no matrix.
        """
        params: Weights = {}
        weights = model.weights()
        for name in target_matrices(model, self.targets):
            n1, *n2 = weights[name].shape
            A = torch.empty(self.r, *n2)
            torch.nn.init.kaiming_uniform_(
                A, a=5**0.5, generator=generator
            )  # as the LoRA authors' code
            params[f"{name}.A"] = A.to(weights[name]).requires_grad_()
            params[f"{name}.B"] = (
                weights[name].new_zeros(n1, self.r, *([1] * (len(n2) - 1))).requires_grad_()
            )
        return params, {}

    def weights(self, model: ClipClassifier, params: Weights) -> Weights:
        """``W0 + scale B A`` of each adapted matrix."""
        base = model.weights()
        merged: Weights = {}
        for name, B, A in factors(params):
            merged[name] = plus_product(base[name], B, A, self.scale)
        return merged


def factors(params: Weights) -> list[tuple[str, Tensor, Tensor]]:
    """``(name of W, B (n1, r), A (r, n2))`` of every adapted matrix; a kernel's as a matrix's."""
    names = [key[: -len(".A")] for key in params if key.endswith(".A")]
    return [
        (name, params[f"{name}.B"].flatten(1), params[f"{name}.A"].flatten(1)) for name in names
    ]
