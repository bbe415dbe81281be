"""Orthogonal Procrustes distance between two sets of features of the same images."""

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.rows import centred, check_paired, is_constant


def procrustes(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"]) -> float:
    """``d^2 = 2 - 2 |Xc' Yc|_*`` after scaling both to unit Frobenius norm, in [0, 2].

    The nuclear norm is the largest inner product that any rotation reaches, so d is what is left
    after the best one: 0 for features that are equal up to rotation, shift and scale. Fewer columns
    on one side count as zeros. NaN where a side is constant or not finite.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    check_paired(X, Y)
    sides = [X, Y]
    if any(not Z.isfinite().all() or is_constant(Z) for Z in sides):
        return torch.nan
    A, B = (_compressed(centred(Z)) for Z in sides)
    nuclear = torch.linalg.svdvals(A.T @ B).sum() / (A.norm() * B.norm())
    return max(0.0, 2 - 2 * nuclear.item())


def _compressed(X: Tensor) -> Tensor:
    """Rows in a basis of their span: the same inner products between rows with at most n
    columns."""
    return torch.linalg.qr(X.T, mode="r").R.T if len(X) < X.shape[1] else X
