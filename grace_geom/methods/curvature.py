"""Curvature scores of weight matrices and the rank curriculum (grace.md, App. E.1, Eq. 28, 29;
Sophia, Liu 2023).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.geometry.mean_loss import mean_gradient
from grace_geom.weights import Weights


def gauss_newton_diagonal(
    loss: Callable[[Weights, Batch], Tensor],
    weights: Weights,
    names: Sequence[str],
    batches: Sequence[Batch],
) -> Weights:
    """``h_W = n_v (g_W * g_W)`` with ``g_W = d/dW (1/n_v) sum_v CE``, entry by entry.

    Args:
        loss, weights, names: As :func:`~grace_geom.geometry.mean_loss.mean_gradient` takes them.
        batches: n_v samples in all, those of other processes included.

    Returns:
        A tensor of W's shape for every name. One forward and one backward pass.
    """
    n_v = sum(len(batch) for batch in batches) * distributed.world().size
    g = mean_gradient(loss, weights, names, batches)
    return {name: n_v * g_W.square() for name, g_W in g.items()}


def moving_average(h: Weights, new: Weights, beta: float) -> Weights:
    """``beta h + (1 - beta) h_new``; the first estimate initialises ``h``."""
    if not h:
        return dict(new)
    return {name: torch.lerp(new[name], h[name], beta) for name in new}


def scores(h: Weights) -> dict[str, float]:
    """Mean of the entries of each ``h_W``; one host synchronisation for all of them."""
    return dict(zip(h, torch.stack([h_W.mean() for h_W in h.values()]).tolist(), strict=True))


def rank_curriculum(
    score: dict[str, float], r_max: int, percentile: float = 80.0, low_percentile: float = 20.0
) -> dict[str, int]:
    """``r_max`` at or above the upper percentile of the scores, 0 below the lower one,
    ``r_max // 2`` between.

    Percentiles interpolate linearly between the sorted scores (numpy's default).
    """
    values = torch.tensor(list(score.values()), dtype=torch.float64)
    high, low = torch.quantile(
        values, torch.tensor([percentile, low_percentile], dtype=torch.float64) / 100
    ).tolist()
    return {name: r_max if s >= high else 0 if s < low else r_max // 2 for name, s in score.items()}
