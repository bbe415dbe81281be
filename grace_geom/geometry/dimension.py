"""Intrinsic dimension from nearest neighbours: maximum likelihood and TwoNN, from one neighbour
search.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.geometry.rows import centred

SPARE = (
    8  # candidates beyond k whose exact distance is taken, against rounding in the float32 search
)
BLOCK = 1024  # rows of the distance table that are held at once
TABLE = 2000  # points whose distances are kept as a table
GATHERED = 2**21  # numbers of candidate rows that are held at once


@dataclass(frozen=True)
class Neighbours:
    """Distances of each distinct point to its nearest others, points in the order of the input.

    Attributes:
        distances: ``(n, k)`` float64, ascending, all positive.
        duplicates: Rows that equalled another row (distance 0) and were merged into it before the
            search.
        rows: ``(n,)`` int64, ascending: where each point first stands in the input; ``None``: every
            row of it is a point.
    """

    distances: Float[Tensor, " n k"]
    duplicates: int
    rows: Int[Tensor, " n"] | None = None


def neighbours(X: Float[Tensor, " n d"], k: int) -> Neighbours:
    """The k nearest other points of every point, Euclidean.

    Candidates come from float32 products of centred rows; the distances of the candidates are then
    computed in float64 from differences, so they are right to rounding. Equal rows count as one
    point: a distance of 0 has no logarithm. O(n^2 d) time, O(n) memory for fixed block. With fewer
    than k + 1 distinct points, k shrinks.

    Raises:
        ValueError: If a feature is not finite, or k < 1.
    """
    if k < 1:
        raise ValueError(f"k = {k}: at least one neighbour is needed")
    if not X.isfinite().all():
        raise ValueError("NaN or infinite features have no nearest neighbours")
    rows = _first_rows(X)
    points = centred(X[rows])
    n = len(points)
    k = min(k, n - 1)
    if k < 1:
        return Neighbours(torch.zeros(n, 0, dtype=torch.float64), len(X) - n, rows)
    rough = points.float()
    half_squares = rough.square().sum(dim=1) / 2
    found = [
        _exact(points, rough, half_squares, torch.arange(i, min(i + BLOCK, n), device=X.device), k)
        for i in range(0, n, BLOCK)
    ]
    return Neighbours(torch.cat(found), len(X) - n, rows)


def _first_rows(X: Float[Tensor, " n d"]) -> Int[Tensor, " m"]:
    """Where each distinct row first stands, ascending."""
    distinct, which = X.unique(dim=0, return_inverse=True)
    first = torch.full((len(distinct),), len(X), device=X.device)
    positions = torch.arange(len(X), device=X.device)
    return first.scatter_reduce(0, which, positions, "amin").sort().values


class Subsets:
    """:func:`neighbours` of many subsets of one set of points, for half-samples: distances are
    computed once.

    Sets of more than ``TABLE`` points, or with equal points, are searched anew each time.

    Args:
        X: ``(n, d)`` points.
    """

    def __init__(self, X: Float[Tensor, " n d"]) -> None:
        self.X = X.double()
        self._table: Tensor | None = None
        if 1 < len(X) <= TABLE and X.isfinite().all():
            table = torch.cdist(
                self.X, self.X, compute_mode="donot_use_mm_for_euclid_dist"
            ).fill_diagonal_(torch.inf)
            self._table = table if (table > 0).all() else None

    def neighbours(self, rows: Int[Tensor, " m"], k: int) -> Neighbours:
        """Of the points at ``rows``, among themselves."""
        if self._table is None:
            return neighbours(self.X[rows], k)
        near = self._table[rows][:, rows].topk(min(k, len(rows) - 1), largest=False).values
        return Neighbours(near, 0)


def _exact(points: Tensor, rough: Tensor, half_squares: Tensor, rows: Tensor, k: int) -> Tensor:
    # |x - y|^2 / 2 = |x|^2 / 2 + |y|^2 / 2 - x.y, and |x|^2 is the same along a row
    near = torch.addmm(half_squares[None, :], rough[rows], rough.T, alpha=-1)
    near[torch.arange(len(rows), device=near.device), rows] = torch.inf
    candidates = near.topk(min(k + SPARE, len(points) - 1), largest=False, sorted=False).indices
    at_once = max(1, GATHERED // (candidates.shape[1] * points.shape[1]))
    gaps = [
        (points[c] - points[i, None]).norm(dim=2)
        for i, c in zip(rows.split(at_once), candidates.split(at_once), strict=True)
    ]
    return torch.cat(gaps).sort(dim=1).values[:, :k]


def lid_mle(found: Neighbours, k: int = 20) -> float:
    """Global dimension by maximum likelihood (Levina & Bickel 2004), averaged as MacKay &
    Ghahramani (2005) correct it.

    ``m_k(x)^-1 = 1/(k-1) sum_{j<k} ln(T_k / T_j)`` and the answer is ``1 / mean m_k(x)^-1``. NaN
    where there are fewer than k neighbours, or all are equally far.
    """
    inverse = inverse_lid(found, k)
    mean = inverse.mean().item() if len(inverse) else 0.0
    return 1 / mean if mean > 0 else math.nan


def inverse_lid(found: Neighbours, k: int = 20) -> Float[Tensor, " n"]:
    """``m_k(x)^-1`` of every point; empty where there are fewer than k neighbours.

    Raises:
        ValueError: For k < 2.
    """
    if k < 2:
        raise ValueError(f"k = {k}: the maximum-likelihood dimension needs at least 2 neighbours")
    if found.distances.shape[1] < k:
        return found.distances.new_zeros(0)
    logs = found.distances[:, :k].log()
    return logs[:, -1] - logs[:, :-1].mean(dim=1)


def lid_sweep(found: Neighbours, ks: Sequence[int]) -> dict[int, float]:
    """:func:`lid_mle` for several k from the same search: a plateau is a dimension, a slope is
    not."""
    return {k: lid_mle(found, k) for k in ks}


def two_nn(found: Neighbours, dropped: float = 0.1) -> float:
    """TwoNN (Facco et al. 2017): slope through the origin of ``-ln(1 - F)`` on ``ln(r2 / r1)``.

    Args:
        found: A search with k >= 2.
        dropped: Share of the largest ratios that is left out.

    NaN where fewer than 3 points are left, or all ratios are 1.
    """
    if found.distances.shape[1] < 2:
        return math.nan
    n = len(found.distances)
    x = (found.distances[:, 1] / found.distances[:, 0]).log().sort().values
    x = x[: min(int(n * (1 - dropped)), n - 1)]  # F = 1 at the very last
    if len(x) < 3 or not x.any():
        return math.nan
    F = torch.arange(1, len(x) + 1, dtype=torch.float64, device=x.device) / n
    return ((x @ -torch.log1p(-F)) / (x @ x)).item()
