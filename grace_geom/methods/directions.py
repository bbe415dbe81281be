"""Which rows A of a low-rank perturbation B A catch most of a gradient (ours; Halko, Martinsson &
Tropp 2011).

One ascent step from B = 0 gives ``B A = eta G A' A``: the gradient G seen through the rows of A.
Random rows catch ``r / n2`` of ``||G||_F^2``, rows that span G's leading right singular vectors
catch the most that rank r can. The gradients of two steps have much of that space in common, so the
rows are found from the previous one.
"""

from collections.abc import Sequence

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
    starts = {}
    for name, slope in G.items():
        g = slope.flatten(1)  # a kernel counts as a matrix
        start = directions.get(name)
        if start is None or start.shape[0] < min(rows, *g.shape):
            start = torch.randn(rows, g.shape[1], generator=generator, device=generator.device)
            start = start.to(g)
        starts[name] = start
    slopes = [slope.flatten(1) for slope in G.values()]
    if slopes and slopes[0].device.type != "cpu":
        found = leading_rows_at_once(slopes, list(starts.values()))
    else:
        found = [leading_rows(g, start) for g, start in zip(slopes, starts.values(), strict=True)]
    return directions | dict(zip(G, found, strict=True))


def leading_rows(
    G: Float[Tensor, " n1 n2"], start: Float[Tensor, " r n2"]
) -> Float[Tensor, " r n2"]:
    """Orthonormal rows near the leading right singular vectors of G: ``Q = orth(G start')``, then
    the rows of ``Q' G``.

    Two thin products and two decompositions of r columns. In float32 or better; zero gradients give
    some rows too.
    """
    return torch.linalg.svd(_sketch(G, start), full_matrices=False).Vh.to(G.dtype)


def leading_rows_at_once(G: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    """:func:`leading_rows` of many matrices, up to signs, without LAPACK's singular values: for a
    GPU, where these have the host wait to learn whether they were found.
    """
    sketches = [_sketch(g, first) for g, first in zip(G, start, strict=True)]
    turned: list[Tensor] = list(sketches)
    for size in {len(S) for S in sketches}:
        same = [i for i, S in enumerate(sketches) if len(S) == size]
        wide = [sketches[i].double() for i in same]
        U = eigenvectors(torch.stack([S @ S.mT for S in wide]))
        for i, S, u in zip(same, wide, U, strict=True):
            turned[i] = S.mT @ u  # orthogonal columns, the longest first; of zeros, some columns
    return [torch.linalg.qr(T).Q.mT.to(g.dtype) for T, g in zip(turned, G, strict=True)]


def _sketch(G: Tensor, start: Tensor) -> Tensor:
    """``Q' G`` with ``Q = orth(G start')``, in float32 or better."""
    work = G if G.dtype == torch.float64 else G.float()
    Q, _ = torch.linalg.qr(work @ start.to(work).mT)
    return Q.mT @ work


def eigenvectors(A: Float[Tensor, " b r r"], sweeps: int = 10) -> Float[Tensor, " b r r"]:
    """Eigenvectors of small symmetric matrices as columns, those of the largest eigenvalues first.

    Jacobi's rotations (Golub & Van Loan, sec. 8.5) of neighbours, which then change places, so that
    in r rounds all pairs have met (Brent & Luk 1985): a fixed number of operations of all matrices
    at once, and nothing for the host to know.
    """
    r = A.shape[-1]
    V = torch.eye(r, dtype=A.dtype, device=A.device).expand_as(A)
    for k in range(sweeps * r):
        first = k % 2
        end = first + (r - first) // 2 * 2
        p, q = slice(first, end, 2), slice(first + 1, end, 2)
        diagonal = A.diagonal(dim1=1, dim2=2)
        gap, across = diagonal[:, p] - diagonal[:, q], A.diagonal(1, dim1=1, dim2=2)[:, p]
        sign = torch.where(gap < 0, -1.0, 1.0).to(A)
        angle = torch.atan2(2 * across * sign, gap.abs()) / 2
        c, s = angle.cos(), angle.sin()
        J = torch.eye(r, dtype=A.dtype, device=A.device).repeat(len(A), 1, 1)
        J.diagonal(dim1=1, dim2=2)[:, p] = -s
        J.diagonal(dim1=1, dim2=2)[:, q] = s
        J.diagonal(1, dim1=1, dim2=2)[:, p] = c
        J.diagonal(-1, dim1=1, dim2=2)[:, p] = c
        A, V = J.mT @ A @ J, V @ J
    order = A.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True)
    return V.gather(2, order[:, None].expand_as(V))
