"""How far the Gram matrix of a set of images moved between two sets of features."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.rows import centred, check_paired, is_constant, unit


@dataclass(frozen=True)
class GramDrift:
    """``G^ = G / |G|_F`` of two sets of features compared; NaN where a Gram matrix is zero or not
    finite.

    Attributes:
        chord: ``|G^a - G^b|_F`` in [0, sqrt 2].
        angle: ``arccos <G^a, G^b>`` in radians, [0, pi/2].
        log_norm_ratio: ``ln(|Gb|_F / |Ga|_F)``.
    """

    chord: float
    angle: float
    log_norm_ratio: float


def gram_drift(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"], centre: bool) -> GramDrift:
    """Drift of the Gram matrix from features ``X`` to ``Y`` of the same images.

    Args:
        X, Y: Features, rows paired.
        centre: ``True``: ``G = Xc Xc'``, whose cosine is the biased CKA. ``False``: the cosines
            between the rows as they are, which see a mean shift that CKA cannot.

    The n x n matrices are never formed: ``<Ga, Gb> = |X' Y|_F^2``. Chords below 1e-7 are rounding.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    check_paired(X, Y)
    if not (X.isfinite().all() and Y.isfinite().all()) or (
        centre and (is_constant(X) or is_constant(Y))
    ):
        return GramDrift(math.nan, math.nan, math.nan)
    X, Y = (centred(X), centred(Y)) if centre else (unit(X), unit(Y))
    a, b = _product(X, X).sqrt(), _product(Y, Y).sqrt()
    cosine = (_product(X, Y) / (a * b)).clamp(max=1.0)
    return GramDrift(
        (2 - 2 * cosine).sqrt().item(), torch.arccos(cosine).item(), torch.log(b / a).item()
    )


def _product(X: Tensor, Y: Tensor) -> Tensor:
    """``<X X', Y Y'>`` by whichever products are smaller."""
    if len(X) < min(X.shape[1], Y.shape[1]):
        return ((X @ X.T) * (Y @ Y.T)).sum()
    return (X.T @ Y).square().sum()
