"""How evenly features fill the directions they have: spectrum, rank, cosines, uniformity. All sums
in float64.

Every function returns NaN where its number is not defined: a NaN feature, a constant layer, a
single row.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.rows import centred, check_paired, is_constant, unit

BLOCK = 1024  # rows of the pairwise sums that are held at once


def covariance_spectrum(X: Float[Tensor, " n d"]) -> Float[Tensor, " d"]:
    """Eigenvalues of the covariance ``Xc' Xc / (n - 1)``, largest first, zeros included; float64.

    All NaN for one row, or for features that are not finite.
    """
    n, d = X.shape
    if n < 2 or not X.isfinite().all():
        return torch.full((d,), torch.nan, dtype=torch.float64)
    sigma = torch.linalg.svdvals(centred(X))
    lams = torch.zeros(d, dtype=torch.float64)
    lams[: len(sigma)] = sigma.square().cpu() / (n - 1)
    return lams


def participation_ratio(X: Float[Tensor, " n d"]) -> float:
    """``(sum lam)^2 / sum lam^2`` of the covariance, in [1, d]: how many directions carry the
    variance.
    """
    lams = covariance_spectrum(X)
    if not lams.isfinite().all() or is_constant(X):
        return math.nan
    return (lams.sum().square() / lams.square().sum()).item()


def iso_score(X: Float[Tensor, " n d"]) -> float:
    """``(PR - 1) / (d - 1)``: 0 for a line, 1 for a covariance that is a multiple of the identity
    (IsoScore).
    """
    d = X.shape[1]
    return (participation_ratio(X) - 1) / (d - 1) if d > 1 else math.nan


def effective_rank(X: Float[Tensor, " n d"], centre: bool = False) -> float:
    """``exp(-sum p ln p)``, ``p = sigma / sum sigma`` over the singular values of X (Roy & Vetterli
    2007).

    Args:
        X: Features.
        centre: Take the mean row out first; without it a large mean is a direction of its own.
    """
    if len(X) < 1 or not X.isfinite().all() or (centre and is_constant(X)):
        return math.nan
    sigma = torch.linalg.svdvals(centred(X) if centre else X.double())
    p = sigma / sigma.sum()
    return torch.exp(torch.special.entr(p).sum()).item()


def mean_cosine(X: Float[Tensor, " n d"]) -> float:
    """``(|sum u_i|^2 - n) / (n(n-1))`` for unit rows u: the mean cosine of two different images."""
    n = len(X)
    return ((unit(X).sum(dim=0).square().sum() - n) / (n * (n - 1))).item() if n > 1 else math.nan


def partition_isotropy(X: Float[Tensor, " n d"]) -> float:
    """``min_c Z(c) / max_c Z(c)``, ``Z(c) = sum_i exp(c.u_i)`` over unit rows (Arora et al. 2016;
    Mu & Viswanath 2018).

    c runs over the eigenvectors of ``U'U`` with *both* signs, which makes the value independent of
    the signs that a solver returns. 1 is isotropic; unit rows that all point one way give exp(-2).
    """
    U = unit(X)
    if not U.isfinite().all() or len(U) < 1:
        return math.nan
    _, C = torch.linalg.eigh(U.T @ U)
    projections = U @ C
    log_Z = torch.cat([projections.logsumexp(dim=0), (-projections).logsumexp(dim=0)])
    return torch.exp(log_Z.min() - log_Z.max()).item()


def uniformity(X: Float[Tensor, " n d"], t: float = 2.0) -> float:
    """``ln mean_{i != j} exp(-t |u_i - u_j|^2)`` over unit rows (Wang & Isola 2020): 0 is one
    point."""
    U, n = unit(X), len(X)
    if n < 2:
        return math.nan
    total = U.new_zeros(())
    for start in range(0, n, BLOCK):
        squares = 2 - 2 * U[start : start + BLOCK] @ U.T
        total = total + torch.exp(-t * squares.clamp_min(0)).sum()
    return torch.log((total - n) / (n * (n - 1))).item()


def alignment(X: Float[Tensor, " n d"], Y: Float[Tensor, " n d"], power: float = 2.0) -> float:
    """``mean |u_i - v_i|^power`` over the unit rows of positive pairs (Wang & Isola 2020): 0 is
    perfect.

    Args:
        X, Y: Paired rows of one space: an image and its class's text, or an image clean and
            attacked.

    Raises:
        ValueError: If the numbers of rows or columns differ.
    """
    check_paired(X, Y)
    _same_space(X, Y)
    return (unit(X) - unit(Y)).norm(dim=1).pow(power).mean().item()


def modality_gap(images: Float[Tensor, " n d"], texts: Float[Tensor, " m d"]) -> float:
    """``|mean u_image - mean u_text|`` of unit rows (Liang et al. 2022), in [0, 2]. Rows need not
    be paired.

    Raises:
        ValueError: If the numbers of columns differ.
    """
    _same_space(images, texts)
    return (unit(images).mean(dim=0) - unit(texts).mean(dim=0)).norm().item()


def _same_space(X: Tensor, Y: Tensor) -> None:
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"{X.shape[1]} and {Y.shape[1]} columns: these features do not live in one space"
        )
