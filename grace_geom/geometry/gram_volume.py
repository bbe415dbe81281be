"""Gram volume of a sample's features (grace.md Eq. 8, 9): the parallelepiped that its clean,
adversarial and weight-perturbed features span.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def gram_matrices(features: Sequence[Float[Tensor, " b d"]], eps: float) -> Float[Tensor, " b m m"]:
    """``G_i = [<f_j, f_k>] + eps I`` of every sample, from m normalised features each; float64.

    Near the usual case, two features almost equal, the determinant is a difference of numbers near
    1: eight bits (bf16) or even 24 leave nothing of it, so the products are made in double
    precision.
    """
    f = torch.stack([F.normalize(f.double(), dim=-1) for f in features], dim=1)
    return f @ f.mT + eps * torch.eye(len(features), dtype=f.dtype, device=f.device)


def determinant(G: Float[Tensor, " b m m"]) -> Float[Tensor, " b"]:
    """Determinant of symmetric matrices: in closed form for m = 3, by LU for the anchored m = 4."""
    if G.shape[-1] != 3:
        return torch.linalg.det(G)
    a, b, c = G[:, 0, 0], G[:, 1, 1], G[:, 2, 2]
    x, y, z = G[:, 0, 1], G[:, 0, 2], G[:, 1, 2]
    return a * b * c + 2 * x * y * z - a * z.square() - b * y.square() - c * x.square()


def volume(features: Sequence[Float[Tensor, " b d"]], eps: float = 1e-6) -> Float[Tensor, " b"]:
    """``sqrt |det G_i|``: 0 (up to eps) where the features are linearly dependent, 1 where they
    are orthogonal."""
    return determinant(gram_matrices(features, eps)).abs().sqrt()


def spread(features: Sequence[Float[Tensor, " b d"]]) -> Float[Tensor, " b"]:
    """``1 - lambda_max(G_i) / m``: 0 only where all m features agree, ``1 - 1/m`` where they are
    orthogonal.
    """
    G = gram_matrices(features, 0.0)
    largest = torch.linalg.eigvalsh(G)[:, -1] if G.device.type == "cpu" else top_eigenvalue(G)
    return 1 - largest / G.shape[-1]


def top_eigenvalue(G: Float[Tensor, " b m m"], squarings: int = 50) -> Float[Tensor, " b"]:
    """Largest eigenvalue of positive semidefinite matrices that are not 0, by squaring.

    For a GPU, where LAPACK's routines have the host wait to learn whether they succeeded. The
    powers ``G^(2^k)`` of trace 1 tend to the projector on the eigenvector (of equal eigenvalues: to
    its share of them), which is the gradient too; what is missing of the eigenvalue after k
    squarings is at most ``1 / (e 2^k)`` of it.
    """
    with torch.no_grad():
        P = G / _trace(G)
        for _ in range(squarings):
            P = P @ P
            P = P / _trace(P)
    return (P * G).sum(dim=(1, 2))


def _trace(G: Tensor) -> Tensor:
    return G.diagonal(dim1=1, dim2=2).sum(dim=1).view(-1, 1, 1)


def cosines(features: dict[str, Float[Tensor, " b d"]]) -> dict[str, Tensor]:
    """Mean cosine of every pair, as ``cos_id_adv`` and so on; detached scalars for the log."""
    names = list(features)
    unit = {name: F.normalize(f.detach(), dim=-1) for name, f in features.items()}
    return {
        f"cos_{a}_{b}": (unit[a] * unit[b]).sum(dim=-1).mean()
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }  # fmt: skip
