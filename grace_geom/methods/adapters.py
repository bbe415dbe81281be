"""What trains: low-rank factors of the matrices that LoRA adapts, these matrices, every tensor of
the image tower, or DoRA (Liu et al. 2024, arXiv 2402.09353, Eq. 5).

``full`` trains the entries themselves, ``tower`` embeddings, norms and biases too. ``dora`` learns
the length of every row beside LoRA's factors: ``W = m V / |V|``, ``V = W0 + scale B A``, with a
number of m and a norm for each output row, and m = |W0| at the start. As in the paper (section 4.3)
and in PEFT, gradients take |V| for a constant. The paper's weight matrix is transposed against
torch's: its columns are rows here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from grace_geom.fields import bounded
from grace_geom.methods.lora import Lora, factors, matching, target_matrices
from grace_geom.methods.spd import Anchored, with_selective_decay
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights, leaves, plus_product

MAGNITUDE = ".magnitude"
"""Ends the name of DoRA's lengths of rows, ``(n1,)``."""

WHOLE = ("full", "tower")
"""Adapters that train tensors of the model themselves."""


@dataclass
class Adapted(Lora):
    """LoRA, or another set of tensors that trains.

    Attributes:
        adapter: What trains: ``lora``, low-rank factors of matrices; ``dora``, factors and the
            length of each row; ``full``, the matrices themselves; ``tower``, these and every other
            tensor of the image tower (embeddings, norms, biases).
        spd: Strength of selective projection decay towards the start, as lam of ``spd`` and
            ``lora-spd``; 0: none (ours).
    """

    adapter: Literal["lora", "full", "tower", "dora"] = "lora"
    spd: float = bounded(0.0, least=0)

    @property
    def whole(self) -> bool:
        """Whether tensors of the model train themselves."""
        return self.adapter in WHOLE

    @property
    def keeps_leaves(self) -> bool:
        """Whole tensors are in the merged weights already."""
        return not self.whole

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """The tensors, or the factors of matrices, with ``NAME.magnitude`` (n1,) for DoRA.

        Raises:
            UserError: If ``targets`` matches no matrix.
        """
        own = model.weights()
        if self.whole:
            chosen = target_matrices(model, self.targets)
            if self.adapter == "tower":
                chosen = [name for name in own if name not in model.head]
            return leaves({name: own[name] for name in chosen}), {}
        params, state = super().setup(model, generator)
        if self.adapter == "dora":
            for name, _, _ in factors(params):
                params[name + MAGNITUDE] = lengths(own[name]).clone().requires_grad_()
        return params, state

    @property
    def follows_steps(self) -> bool:
        """The selective decay does, where it is asked for."""
        return self.spd > 0

    def make_optimizer(self, params: Weights) -> torch.optim.Optimizer:
        """The usual optimizer, with selective decay: of factors towards zero, where their product
        vanishes; of what has a pretrained value, towards that.
        """
        optimizer = super().make_optimizer(params)
        if self.spd == 0:
            return optimizer
        anchored: list[Anchored] = [
            (p, 0.0 if name.endswith((".A", ".B")) else p.detach().clone())
            for name, p in params.items()
        ]
        return with_selective_decay(optimizer, anchored, self.spd)

    def weights(self, model: ClipClassifier, params: Weights) -> Weights:
        """The trained tensors, or the matrices that trained factors make."""
        if self.whole:
            return params
        merged = super().weights(model, params)
        if self.adapter == "lora":
            return merged
        return {name: rescaled(V, params[name + MAGNITUDE]) for name, V in merged.items()}

    def matrices(self, params: Weights) -> dict[str, tuple[int, int]]:
        """Rows and columns of every matrix that ``targets`` means, a kernel's as a matrix's, by
        name.
        """
        if self.whole:
            names = matching(params, self.targets)
            return {name: (len(params[name]), params[name][0].numel()) for name in names}
        return {name: (B.shape[0], A.shape[1]) for name, B, A in factors(params)}


def lengths(V: Tensor) -> Tensor:
    """Norms ``(n1,)`` of the rows of a matrix ``(n1, n2)`` or of a kernel ``(n1, in, k, k)``."""
    return torch.linalg.vector_norm(V.flatten(1), dim=1)


def rescaled(V: Tensor, magnitude: Tensor, constant: bool = True) -> Tensor:
    """``m V / |V|`` row by row.

    Args:
        V: ``(n1, n2)`` or ``(n1, in, k, k)``.
        magnitude: m ``(n1,)``.
        constant: Whether gradients take |V| for a constant.
    """
    norm = lengths(V.detach() if constant else V)
    share = magnitude / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return V * share.view(-1, *[1] * (V.ndim - 1))


def merging(
    leaves: Weights, now: Weights, scale: float, pretrained: Callable[[], Weights]
) -> Callable[[Weights], Weights]:
    """From trained leaves to the matrices that they make, differentiable throughout (|V| too).

    Args:
        leaves: Factors ``NAME.A``, ``NAME.B``, and ``NAME.magnitude`` where DoRA trained.
        now: The matrices that they make, among other weights.
        scale: ``lora_alpha / r``.
        pretrained: W0 of the same names. Asked for DoRA alone: LoRA's follows from ``now``.
    """
    dora = any(name.endswith(MAGNITUDE) for name in leaves)
    pairs = factors(leaves)
    if dora:
        own = pretrained()
        base = {name: own[name] for name, _, _ in pairs}
    else:
        base = {name: now[name] - (scale * B @ A).view_as(now[name]) for name, B, A in pairs}

    def effective(weights: Weights) -> Weights:
        merged = {name: plus_product(base[name], B, A, scale) for name, B, A in factors(weights)}
        if not dora:
            return merged
        return {name: rescaled(V, weights[name + MAGNITUDE], False) for name, V in merged.items()}

    return effective
