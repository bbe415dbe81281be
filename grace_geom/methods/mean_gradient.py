"""The gradient of a mean loss with respect to effective weight matrices, over the pieces of one
optimiser step.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.weights import Weights

B = TypeVar("B", bound=Batch)


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
    distributed.mean(list(g.values()))
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
