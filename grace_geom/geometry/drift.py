"""How far weights have moved, matrix by matrix, and with which rank."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from grace_geom.weights import Weights, norm


@dataclass(frozen=True)
class MatrixDrift:
    """The change ``D = W - W0`` of one weight.

    Attributes:
        relative: ``|D|_F / |W0|_F``; ``nan`` where W0 is 0.
        norm: ``|D|_F``.
        singular_values: Of D as a matrix (a convolution's filters are rows), largest first,
            float64; a vector has one.
        effective_rank: ``exp(-sum p ln p)``, ``p = s / sum s`` (Roy and Vetterli 2007); 0 where
            nothing moved.
        stable_rank: ``|D|_F^2 / |D|_2^2``; 0 where nothing moved.
    """

    relative: float
    norm: float
    singular_values: Float[Tensor, " r"]
    effective_rank: float
    stable_rank: float


def matrix_drift(w: Tensor, w0: Tensor) -> MatrixDrift:
    """Drift of one weight of any shape.

    Raises:
        ValueError: If the shapes differ.
    """
    if w.shape != w0.shape:
        raise ValueError(f"drift needs equal shapes, not {tuple(w.shape)} and {tuple(w0.shape)}")
    D = (
        (w.double() - w0.double()).reshape(len(w), -1)
        if w.ndim > 1
        else (w.double() - w0.double()).reshape(1, -1)
    )
    s = torch.linalg.svdvals(D).cpu()
    size, reference = D.norm().item(), w0.double().norm().item()
    p = s[s > 0] / s.sum()
    return MatrixDrift(
        relative=size / reference if reference else math.nan,
        norm=size,
        singular_values=s,
        effective_rank=torch.exp(-(p * p.log()).sum()).item() if len(p) else 0.0,
        stable_rank=(size / s[0].item()) ** 2 if len(p) else 0.0,
    )


def relative_drift(weights: Weights, reference: Weights) -> float:
    """``|theta - theta0| / |theta0|`` over all names of ``reference``, in float64.

    Raises:
        ValueError: If ``weights`` lacks one of them.
    """
    absent = reference.keys() - weights.keys()
    if absent:
        raise ValueError(
            f"drift needs the same weights on both sides; missing: {sorted(absent)[:3]}"
        )
    D = norm([weights[name].double() - w0.double() for name, w0 in reference.items()])
    return (D / norm(reference)).item()


@dataclass(frozen=True)
class Correlation:
    """Pearson's r over pairs.

    Attributes:
        r: ``nan`` where one side does not vary, or there are fewer than 3 pairs.
        low, high: 95 % interval by Fisher's z; ``nan`` for fewer than 4 pairs.
        p: Two-sided p-value of r = 0.
        n: Pairs.
    """

    r: float
    low: float
    high: float
    p: float
    n: int


def correlation(x: list[float], y: list[float]) -> Correlation:
    """Pearson correlation of paired numbers, with its interval.

    Raises:
        ValueError: If the lengths differ.
    """
    if len(x) != len(y):
        raise ValueError(f"a correlation needs pairs, not {len(x)} and {len(y)} numbers")
    n = len(x)
    if n < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return Correlation(math.nan, math.nan, math.nan, math.nan, n)
    found = stats.pearsonr(x, y)
    interval = found.confidence_interval(0.95) if n > 3 else None
    low, high = (
        (float(interval.low), float(interval.high))
        if interval is not None
        else (math.nan, math.nan)
    )
    return Correlation(float(found.statistic), low, high, float(found.pvalue), n)
