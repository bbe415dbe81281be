"""A mean loss over batches as a function of weights: its value and its gradient, without touching any module."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grace_geom.weights import Weights


@dataclass(frozen=True, eq=False)
class MeanLoss:
    """``L(w) = (1/n) sum_b n_b loss(w, b)``, summed in float64; batches may differ in size.

    Attributes:
        loss: ``(weights, batch) -> scalar``, the mean over the batch; deterministic.
        batches: With ``len``.
    """

    loss: Callable[[Weights, Any], Tensor]
    batches: Sequence[Any]

    @torch.no_grad()
    def value(self, weights: Weights) -> float:
        """L(w). Costs one forward pass."""
        total = sum(len(b) * self.loss(weights, b).item() for b in self.batches)
        return total / sum(len(b) for b in self.batches)

    def gradient(self, weights: Weights) -> tuple[float, Weights]:
        """L(w) and its gradient by name, zero for weights that take no part. Costs one forward and one backward."""
        params = {name: w.detach().requires_grad_() for name, w in weights.items()}
        n, value = sum(len(b) for b in self.batches), 0.0
        total = {name: torch.zeros_like(w) for name, w in weights.items()}
        for batch in self.batches:
            with torch.enable_grad():
                loss = self.loss(params, batch)
            parts = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
            for into, part in zip(total.values(), parts, strict=True):
                into.add_(part, alpha=len(batch) / n)
            value += len(batch) / n * loss.item()
        return value, total
