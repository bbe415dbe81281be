"""SPD (Tian et al. 2024, "Rethinking Weight Decay", NeurIPS): decay towards the start, where a step
calls for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from grace_geom.fields import bounded
from grace_geom.methods.ft import Ft
from grace_geom.methods.lora import Lora
from grace_geom.weights import Weights

Anchored = tuple[Tensor, Tensor | float]


@dataclass
class Decay:
    """Field of the methods with selective projection decay.

    Attributes:
        lam: Strength of the projection, not multiplied by the learning rate. 0: none; 1: a selected
            tensor keeps its distance from the start; larger values contract further.
    """

    lam: float = bounded(1.0, least=0)

    @property
    def follows_steps(self) -> bool:
        """The decay does."""
        return True


@dataclass
class Spd(Decay, Ft):
    """Per tensor, after the optimiser's step to p~: if ``-<g, p - p0> < 0``,
    ``p <- p~ - lam r (p~ - p0)``.

    ``r = clip_01((|p~ - p0| - |p - p0|) / |p~ - p0|)`` is the share of the way that the step went
    outwards. The condition says that the gradient step alone would go back towards the start. The
    public code is Adam and calls lam ``weight_decay``; decoupled decay towards zero is a field of
    its own here, 0 by default.

    Attributes:
        project_head: Also apply the decay to the classification head.
    """

    name: ClassVar[str] = "spd"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    weight_decay: float = 0.0
    project_head: bool = True

    def make_optimizer(self, params: Weights) -> torch.optim.Optimizer:
        """The usual optimizer, with selective decay towards the initial values."""
        bound = {n: p for n, p in params.items() if self.project_head or not n.startswith("head.")}
        anchored = [(p, p.detach().clone()) for p in bound.values()]
        return with_selective_decay(super().make_optimizer(params), anchored, self.lam)


@dataclass
class LoraSpd(Decay, Lora):
    """LoRA whose factors are decayed towards the origin, where their product vanishes (``pre=None``
    in their code).
    """

    name: ClassVar[str] = "lora-spd"
    tables: ClassVar[tuple[int, ...]] = (7,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.006}}

    def make_optimizer(self, params: Weights) -> torch.optim.Optimizer:
        """The usual optimizer, with selective decay towards zero."""
        return with_selective_decay(
            super().make_optimizer(params), [(p, 0.0) for p in params.values()], self.lam
        )


def with_selective_decay(
    optimizer: torch.optim.Optimizer, anchored: Sequence[Anchored], lam: float
) -> torch.optim.Optimizer:
    """The same optimiser, each of whose steps is followed by selective projection decay.

    Args:
        optimizer: Any, over at least these tensors.
        anchored: ``(p, p0)``; a number stands for a tensor of that value.
        lam: See :class:`Decay`.
    """
    old: list[Tensor] = []

    @torch.no_grad()
    def remember(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        old[:] = [p.clone() for p, _ in anchored]

    @torch.no_grad()
    def decay(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for (p, p0), p_old in zip(anchored, old, strict=True):
            if p.grad is not None:
                pull(p, p_old, p.grad, p0, lam)
        old.clear()

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(decay)
    return optimizer


def pull(p: Tensor, p_old: Tensor, g: Tensor, p0: Tensor | float, lam: float) -> None:
    """``p <- p - lam r (p - p0)`` in place where ``<g, p_old - p0> > 0``, without waiting for the
    device.
    """
    c, c_old = p - p0, p_old - p0
    far, near = torch.linalg.vector_norm(c), torch.linalg.vector_norm(c_old)
    r = ((far - near) / far.clamp_min(torch.finfo(far.dtype).tiny)).clamp(0, 1)
    p.sub_(torch.where((g * c_old).sum() > 0, lam * r, 0.0) * c)
