"""A mean loss over batches as a function of weights: its value and its gradient, without touching
any module.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grace_geom.distributed import total as sum_over_processes
from grace_geom.weights import Weights


@dataclass(frozen=True, eq=False)
class MeanLoss:
    """``L(w) = (1/n) sum_b n_b loss(w, b)``, summed in float64; batches may differ in size.

    Attributes:
        loss: ``(weights, batch) -> scalar``, the mean over the batch; deterministic.
        batches: With ``len``; of several processes each has some, perhaps none.
        distributed: Sum over the processes of the default group: all of them get the same numbers,
            bit for bit.
    """

    loss: Callable[[Weights, Any], Tensor]
    batches: Sequence[Any]
    distributed: bool = False

    @torch.no_grad()
    def value(self, weights: Weights) -> float:
        """L(w). Costs one forward pass."""
        total = sum(len(b) * self.loss(weights, b).item() for b in self.batches)
        value, n = self._summed(total, next(iter(weights.values())).device)
        return value / n

    def gradient(self, weights: Weights) -> tuple[float, Weights]:
        """L(w) and its gradient by name, zero for weights that take no part. Costs one forward and
        one backward.
        """
        params = {name: w.detach().requires_grad_() for name, w in weights.items()}
        value, n = self._summed(0.0, next(iter(weights.values())).device)
        total = {name: torch.zeros_like(w) for name, w in weights.items()}
        for batch in self.batches:
            with torch.enable_grad():
                loss = self.loss(params, batch)
            parts = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
            for into, part in zip(total.values(), parts, strict=True):
                into.add_(part, alpha=len(batch) / n)
            value += len(batch) / n * loss.item()
        if self.distributed:
            sum_over_processes(list(total.values()))
            value, _ = self._summed(value, next(iter(total.values())).device)
        return value, total

    def _summed(self, value: float, device: torch.device) -> tuple[float, float]:
        """The value and the number of samples, of all processes together."""
        both = torch.tensor(
            [value, sum(len(b) for b in self.batches)], dtype=torch.float64, device=device
        )
        if self.distributed:
            sum_over_processes([both])
        return both[0].item(), both[1].item()
