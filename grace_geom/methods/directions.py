"""Which rows A of a low-rank perturbation B A catch most of a gradient (ours; Halko, Martinsson &
Tropp 2011).

One ascent step from B = 0 gives ``B A = eta G A' A``: the gradient G seen through the rows of A.
Random rows catch ``r / n2`` of ``||G||_F^2``, rows that span G's leading right singular vectors
catch the most that rank r can. The gradients of two steps have much of that space in common, so the
rows are found from the previous one.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.weights import Weights


def improve(directions: Weights, G: Weights, rows: int, generator: torch.Generator) -> Weights:
    """One step of subspace iteration per matrix, from the directions of the step before.

    Args:
        directions: Orthonormal rows ``(rows, n2)``; a matrix without any starts from Gaussian ones.
        G: The new gradient ``(n1, n2)`` of some matrices.
        rows: Rows wanted; fewer where the matrix has fewer.
        generator: Of the Gaussian rows.

    Returns:
        Directions of the matrices in ``G``, their most important rows first; those of the others as
        they were.
    """
    found = {}
    for name, slope in G.items():
        g = slope.flatten(1)  # a kernel counts as a matrix
        start = directions.get(name)
        if start is None or start.shape[0] < min(rows, *g.shape):
            start = torch.randn(rows, g.shape[1], generator=generator, device=generator.device).to(
                g
            )
        found[name] = leading_rows(g, start)
    return directions | found


def leading_rows(
    G: Float[Tensor, " n1 n2"], start: Float[Tensor, " r n2"]
) -> Float[Tensor, " r n2"]:
    """Orthonormal rows near the leading right singular vectors of G: ``Q = orth(G start')``, then
    the rows of ``Q' G``.

    Two thin products and two decompositions of r columns. In float32 or better; zero gradients give
    some rows too.
    """
    work = G if G.dtype == torch.float64 else G.float()
    Q, _ = torch.linalg.qr(work @ start.to(work).mT)
    return torch.linalg.svd(Q.mT @ work, full_matrices=False).Vh.to(G.dtype)
