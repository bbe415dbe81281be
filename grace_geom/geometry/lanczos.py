"""Extreme eigenvalues of a symmetric matrix from few products: Lanczos with thick restart (Wu and
Simon 2000), on the basis in :mod:`grace_geom.geometry.krylov`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from grace_geom.geometry.krylov import Krylov
from grace_geom.geometry.operators import Matvec


@dataclass(frozen=True)
class Eigenpairs:
    """Some eigenvalues of a symmetric matrix, largest first.

    Attributes:
        values: Ritz values, float64.
        vectors: Unit Ritz vectors, rows.
        residuals: ``|A v - lam v|`` of each; an eigenvalue lies within that distance of ``lam``.
        errors: Estimated error of each, ``min(residual, residual^2 / gap)`` with the gap to the
            other Ritz values.
        converged: Whether the error is within the tolerance that was asked for.
        products: Products that were spent.
    """

    values: Float[Tensor, " k"]
    vectors: Float[Tensor, " k p"]
    residuals: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    converged: Bool[Tensor, " k"]
    products: int


def eigenpairs(
    matvec: Matvec,
    krylov: Krylov,
    top: int = 5,
    bottom: int = 0,
    rtol: float = 1e-4,
    max_products: int = 300,
    max_vectors: int = 200,
    after_step: Callable[[Krylov], None] = lambda krylov: None,
) -> Eigenpairs:
    """The ``top`` largest and ``bottom`` smallest eigenvalues with their vectors.

    Every copy of a multiple eigenvalue is found only once the space is used up; in floating point
    that is late.

    Args:
        matvec: ``v -> A v``, symmetric.
        krylov: Where to start, or to go on; it holds the basis afterwards (for a deflated trace,
            say).
        top, bottom: How many eigenvalues at each end.
        rtol: Stop once the estimated error of each is at most ``rtol |lam|``.
        max_products: Budget of products; what has not converged by then is returned and says so.
        max_vectors: The basis is restarted from its best Ritz vectors when it holds this many.
        after_step: Called after each product (progress, saving).

    Raises:
        ValueError: If nothing is asked for, or a product is not finite.
    """
    wanted_count = min(top + bottom, krylov.dim)
    if wanted_count < 1:
        raise ValueError("ask for at least one eigenvalue")
    max_vectors = max(max_vectors, 2 * wanted_count + 3)
    while True:
        if len(krylov) >= max(wanted_count, 1):
            theta, S, residuals = krylov.ritz()
            wanted = _wanted(len(theta), top, bottom)
            errors = _errors(theta, residuals) + krylov.blur * np.abs(theta).max()
            floor = 4 * torch.finfo(krylov.dtype).eps * np.abs(theta).max()
            done = errors <= rtol * np.abs(theta) + floor
            enough = krylov.exhausted or len(krylov) >= wanted_count + 2
            if (
                (enough and done[wanted].all())
                or krylov.exhausted
                or krylov.products >= max_products
            ):
                break
            if len(krylov) >= max_vectors:
                extra = (max_vectors - wanted_count) // 3
                keep = _wanted(len(theta), top + extra * (top > 0), bottom + extra * (bottom > 0))
                krylov.restart(keep[: max_vectors - 1], S, theta)
        krylov.extend(matvec)
        after_step(krylov)
    return Eigenpairs(
        torch.from_numpy(theta[wanted]),
        krylov.combine(S[:, wanted]),
        torch.from_numpy(residuals[wanted]),
        torch.from_numpy(errors[wanted]),
        torch.from_numpy(done[wanted]),
        krylov.products,
    )


def _wanted(m: int, top: int, bottom: int) -> np.ndarray:
    """Indices into ascending values: the largest first, then the smallest, none twice."""
    high = range(m - 1, max(m - 1 - top, -1), -1)
    low = [i for i in range(min(bottom, m)) if i not in high]
    return np.array([*high, *reversed(low)])


def _errors(theta: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    if len(theta) == 1:
        return residuals
    gaps = np.abs(theta[:, None] - theta[None, :])
    np.fill_diagonal(gaps, np.inf)
    gap = np.maximum(gaps.min(axis=1), np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        return np.minimum(residuals, residuals**2 / gap)
