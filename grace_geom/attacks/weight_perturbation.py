"""LAR-AWP: layer-adaptive, low-rank adversarial weight perturbation (grace.md Eq. 6, 7).

Delta = B A per matrix, of that matrix's own rank. A diagonal mask over r_max rows (the paper's Fig.
4) and factors that simply have ``rank`` rows are the same perturbation; the latter costs less. A
convolution's kernel (n1, in, k, k) counts as a matrix (n1, in k k).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from grace_geom.weights import Weights, low_rank_norm, plus_product

Factors = dict[str, tuple[Tensor, Tensor]]
"""``name -> (B (n1, r), A (r, n2))``; a matrix of rank 0 has no entry."""


def draw(
    weights: Weights,
    ranks: dict[str, int],
    generator: torch.Generator,
    directions: Weights | None = None,
) -> Factors:
    """Fresh factors: B = 0, A Gaussian. One ascent step then gives ``B = dCE/dW A'``, a sketch of
    the gradient.

    Args:
        weights: The effective weights.
        ranks: Rank of each perturbed matrix.
        generator: Of A.
        directions: Rows to be taken for A where a matrix has some
            (:func:`grace_geom.methods.directions.improve`).
    """
    factors: Factors = {}
    for name, rank in ranks.items():
        if rank <= 0:
            continue
        n1, n2 = weights[name].flatten(1).shape
        if directions and name in directions:
            A = directions[name][:rank]
        else:
            A = torch.randn(
                rank, n2, generator=generator, device=generator.device, dtype=weights[name].dtype
            )
            A = A.to(weights[name].device) / n2**0.5
        factors[name] = (weights[name].new_zeros(n1, rank), A)
    return factors


def perturb(weights: Weights, factors: Factors) -> Weights:
    """``W_pert = W + B A``; the other weights are passed through."""
    return weights | {name: plus_product(weights[name], B, A) for name, (B, A) in factors.items()}


def radii(weights: Weights, rho: float, absolute: bool) -> dict[str, Tensor | float]:
    """Radius of each matrix: ``rho ||W||_F`` (Wu et al. 2020), or ``rho`` itself."""
    return {
        name: rho if absolute else rho * torch.linalg.matrix_norm(w.detach().flatten(1))
        for name, w in weights.items()
    }


def project(B: Tensor, A: Tensor, radius: Tensor | float) -> Tensor:
    """B, shrunk where needed so that ``||B A||_F <= radius``."""
    norm = low_rank_norm(B, A)
    return B * (radius / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(1.0)


def ascend(
    gradient: Callable[[Weights], Weights],
    weights: Weights,
    factors: Factors,
    radius: dict[str, Tensor | float],
    steps: int = 1,
    lr: float = 1.0,
    average: Callable[[Sequence[Tensor]], None] = lambda slopes: None,
) -> Factors:
    """Gradient ascent on the factors, each step followed by the projection.

    A step is normalised per matrix: it changes ``B A`` by ``lr * radius`` in Frobenius norm to
    first order, so that one step of lr 1 from B = 0 reaches the sphere whatever the scale of the
    loss (fp16 scaling included).

    Args:
        gradient: ``perturbed weights -> G = dL/dW`` of each perturbed matrix, for the loss L to be
            increased at fixed images. The factors' gradients follow from it: ``dL/dB = G A'``,
            ``dL/dA = B' G``.
        weights: Fixed effective weights (no graph).
        factors: Start; not modified.
        radius: Per matrix, as :func:`radii` gives.
        steps: T_AWP. Each asks for one gradient.
        lr: Step length as a share of the radius.
        average: Replaces the factors' gradients by their mean over processes, in place. They are
            linear in G, so this is what G's own mean would give, in a message smaller by the width
            of a matrix over its rank.

    Returns:
        Detached factors with ``||B A||_F <= radius``.
    """
    for _ in range(steps if factors else 0):
        G = {name: g.flatten(1) for name, g in gradient(perturb(weights, factors)).items()}
        slopes = {name: (G[name] @ A.mT, B.mT @ G[name]) for name, (B, A) in factors.items()}
        average([slope for pair in slopes.values() for slope in pair])
        factors = {
            name: _step(B, A, *slopes[name], radius[name], lr) for name, (B, A) in factors.items()
        }
    return factors


def _step(
    B: Tensor, A: Tensor, gB: Tensor, gA: Tensor, radius: Tensor | float, lr: float
) -> tuple[Tensor, Tensor]:
    # d(BA) = gB A + B gA is the first-order change of the product for a unit step along the
    # gradient.
    change = low_rank_norm(torch.cat([gB, B], dim=1), torch.cat([A, gA], dim=0))
    eta = lr * radius / change.clamp_min(torch.finfo(change.dtype).tiny)
    B, A = B + eta * gB, A + eta * gA
    return project(B, A, radius), A
