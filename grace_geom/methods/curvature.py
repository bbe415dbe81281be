"""Curvature scores of weight matrices and the rank curriculum (grace.md, App. E.1, Eq. 28, 29;
Sophia, Liu 2023).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


def state_flaw(shapes: Mapping[str, tuple[int, int]], state: Mapping[str, Any], r_max: int) -> str:
    """What is wrong with a stored curriculum; empty where nothing is: curvature ``h`` and rank of
    every matrix, and leading directions where there are some.

    Args:
        shapes: Rows and columns of every matrix.
        state: What a checkpoint holds.
        r_max: Largest rank.
    """
    for key in ("h", "ranks"):
        if not isinstance(state.get(key), Mapping) or state[key].keys() != shapes.keys():
            return f"{key}: expected one entry a matrix"
    for name, (rows, columns) in shapes.items():
        h, rank = state["h"][name], state["ranks"][name]
        flat = h.flatten(1) if isinstance(h, Tensor) and h.ndim == 4 else h
        if not _matrix(flat, columns) or len(h) != rows or not (h >= 0).all():
            return f"h.{name}: expected ({rows}, {columns}) numbers of at least 0"
        if type(rank) is not int or not 0 <= rank <= r_max:
            return f"ranks.{name}: expected a rank of at most {r_max}"
    found = state.get("directions", {})
    if not isinstance(found, Mapping):
        return "directions: expected one entry a matrix"
    for name, rows in found.items():
        wide = shapes.get(name, (0, 0))[1]
        if not _matrix(rows, wide):
            return f"directions.{name}: expected rows of {wide} numbers"
    return ""


def _matrix(value: Any, columns: int) -> bool:
    """Whether a stored value is a matrix of floating point with so many columns."""
    shaped = isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()
    return shaped and value.shape[1] == columns
