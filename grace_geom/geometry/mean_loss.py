"""A mean loss over batches as a function of weights: its value and its gradient, without touching
any module.

:class:`MeanLoss` is what an analysis asks at many points; :func:`mean_gradient` is the gradient of
some matrices alone, within a step of training.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from grace_geom import distributed as processes
from grace_geom.batch import Batch
from grace_geom.distributed import total as sum_over_processes
from grace_geom.weights import Weights

B = TypeVar("B", bound=Batch)


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


def mean_gradient(
    loss: Callable[[Weights, B], Tensor],
    weights: Weights,
    names: Iterable[str],
    batches: Sequence[B],
) -> Weights:
    """``d/dW (1/n) sum_i loss_i`` for each named matrix W, all other weights constant.

    Args:
        loss: ``(weights, batch) -> mean loss`` of the batch.
        weights: The effective weights; the gradient is with respect to these matrices, not to any
            factors.
        names: The matrices wanted.
        batches: n samples in all. One forward and one backward pass of each.

    Returns:
        A tensor of W's shape for every name, without a graph. Processes that share a batch in equal
        parts all get the gradient of the whole.
    """
    g = own_gradient(loss, weights, names, batches)
    processes.mean(list(g.values()))
    return g


def own_gradient(
    loss: Callable[[Weights, B], Tensor],
    weights: Weights,
    names: Iterable[str],
    batches: Sequence[B],
) -> Weights:
    """The same over the batches of this process alone."""
    names = list(names)
    point = {name: w.detach() for name, w in weights.items()}
    point |= {name: point[name].requires_grad_() for name in names}
    n = sum(len(batch) for batch in batches)
    g = {name: torch.zeros_like(point[name], requires_grad=False) for name in names}
    for batch in batches:
        share = loss(point, batch) * (len(batch) / n)
        for name, part in zip(
            names, torch.autograd.grad(share, [point[name] for name in names]), strict=True
        ):
            g[name] += part
    return g
