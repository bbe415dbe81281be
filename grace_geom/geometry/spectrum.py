"""Spectral density of a symmetric matrix by stochastic Lanczos quadrature (Ghorbani, Krishnan, Xiao
2019).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.krylov import Krylov
from grace_geom.geometry.operators import Matvec
from grace_geom.geometry.trace import StochasticEstimate, mean_of, rademacher


@dataclass(frozen=True)
class Spectrum:
    """Quadrature nodes of the spectral measure, ``(1/p) sum_i delta(lam - lam_i)``, one row a
    probe.

    Attributes:
        nodes: Ritz values.
        weights: Their weights, non-negative, each row sums to 1. Short rows are padded with weight
            0.
        dim: p.
        products: Products that were spent.
    """

    nodes: Float[np.ndarray, " probes m"]
    weights: Float[np.ndarray, " probes m"]
    dim: int
    products: int

    def moment(self, order: int) -> StochasticEstimate:
        """``(1/p) tr A^order`` with its spread over probes; order 1 times p is the trace."""
        samples = (self.weights * self.nodes**order).sum(axis=1)
        return mean_of(
            samples.tolist(), f"Lanczos quadrature, {len(samples)} probes", self.products
        )

    def density(
        self, grid: Float[np.ndarray, " g"], width: float
    ) -> Float[np.ndarray, " probes g"]:
        """Each probe's density on ``grid``, convolved with a Gaussian of standard deviation
        ``width``.
        """
        z = (grid[None, :, None] - self.nodes[:, None, :]) / width
        kernel = np.exp(-0.5 * z**2) / (width * np.sqrt(2 * np.pi))
        return (kernel * self.weights[:, None, :]).sum(axis=2)

    def grid(self, width: float, points: int = 1000) -> Float[np.ndarray, " g"]:
        """Abscissae that hold all but 1e-8 of the mass."""
        used = self.nodes[self.weights > 0]
        return np.linspace(used.min() - 6 * width, used.max() + 6 * width, points)


def spectrum(
    matvec: Matvec,
    like: Tensor,
    dim: int,
    steps: int = 60,
    probes: int = 3,
    seed: int = 0,
    after_step: Callable[[Krylov], None] = lambda krylov: None,
    kept: list[Tensor] | None = None,
) -> Spectrum:
    """Gauss quadrature of the spectral measure from ``probes`` Rademacher vectors, ``steps``
    products each.

    Args:
        matvec: ``v -> A v``, symmetric.
        like: Gives dtype and device of the vectors.
        dim: Size of the matrix.
        steps: Lanczos steps; moments up to order ``2 steps - 1`` of each probe's measure are exact.
        probes: Start vectors; their spread is the error.
        seed: Of the probes.
        after_step: Called after each product.
        kept: Nodes and weights ``(2, m)`` of the first probes from an earlier call with the same
            arguments; later ones are appended.
    """
    kept = [] if kept is None else kept
    for i in range(len(kept), probes):
        krylov = Krylov(rademacher(dim, seed, i).to(like))
        while len(krylov) < min(steps, dim) and (
            krylov.beta > 0 or not len(krylov)
        ):  # an invariant space is exact
            krylov.extend(matvec)
            after_step(krylov)
        theta, S, _ = krylov.ritz()
        kept.append(torch.from_numpy(np.stack([theta, S[0] ** 2])))
    longest = min(steps, dim)
    rows = np.stack(
        [np.pad(row.numpy(), ((0, 0), (0, longest - row.shape[1]))) for row in kept[:probes]]
    )
    return Spectrum(rows[:, 0], rows[:, 1], dim, sum(row.shape[1] for row in kept[:probes]))
