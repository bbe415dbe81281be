"""Intervals over images by half-sampling: the bootstrap for statistics that duplicates would spoil.

Drawing images with replacement puts equal rows into a sample. That is harmless to a mean, but the
unbiased HSIC takes an equal pair for a strong similarity, and a neighbour at distance 0 has no
logarithm. Half of the images drawn *without* replacement has no duplicates, and a mean of it
scatters around the full mean with variance ``s^2/m (1 - m/n) = s^2/n`` at m = n/2: exactly the
bootstrap's (delete-half jackknife, Shao & Wu 1989).

A half-sample's scatter says nothing of a bias that falls with n. :func:`jackknife` takes the bias
out of the value first, and its interval is one of the population's value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

GROUPS = 16
"""Random groups of images that :func:`jackknife` leaves out in turn."""

LARGEST_CORRECTION = 0.3
"""Of the value itself. More than that, and what is left of the bias exceeds the interval."""

Numbers = np.ndarray | np.float64
"""NumPy's arithmetic makes a plain number of an array without axes."""


@dataclass(frozen=True)
class Interval:
    """A statistic of any shape with its scatter.

    Attributes:
        value: From all images.
        error: Standard error.
        low, high: Interval at ``level``; NaN where half-samples do not define the statistic, or
            are too small to scatter.
        level: Coverage.
        replicates: Half-samples drawn, or groups left out.
        how: What the replicates are.
    """

    value: Numbers
    error: Numbers
    low: Numbers
    high: Numbers
    level: float
    replicates: int
    how: str = "half-samples of the images"

    def at(self, index: Any) -> "Interval":
        """The interval of some entries of an array statistic."""
        value, error, low, high = (
            np.asarray(x)[index] for x in (self.value, self.error, self.low, self.high)
        )
        return Interval(value, error, low, high, self.level, self.replicates, self.how)


def half_sample(
    statistic: Callable[..., Tensor | np.ndarray | float],
    sizes: Sequence[int],
    replicates: int = 100,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of ``statistic(rows_1, rows_2, ...)``, where ``rows_j`` are sorted positions into
    sample j.

    A statistic may depend on the number of images (a dimension does): the half-samples give the
    scatter around *their own* mean, and the value from all images gives the place. An odd n draws
    ``n // 2`` and the scatter is rescaled by ``sqrt(m / (n - m))``.

    Args:
        statistic: A function of int64 position tensors, one for each sample; returns a number or an
            array.
        sizes: Number of images in each *independent* sample. Paired features are one sample,
            indexed twice.
        replicates: Half-samples; each costs one call.
        seed: Of the draws.
        level: Coverage of the interval.
    """
    value = _array(statistic(*[torch.arange(n) for n in sizes]))
    rng = np.random.default_rng(seed)
    if replicates < 2 or min(sizes) < 2:
        nothing = np.full(value.shape, np.nan)
        return Interval(value, nothing, nothing, nothing, level, replicates)
    drawn = np.stack(
        [_array(statistic(*[_half(rng, n) for n in sizes])) for _ in range(replicates)]
    )
    n = min(sizes)
    scale = np.sqrt((n // 2) / (n - n // 2))
    with np.errstate(invalid="ignore"):
        spread = scale * (drawn - drawn.mean(axis=0))
        tail = (1 - level) / 2
        # a statistic that some half-sample leaves undefined has no honest interval: NaN stays NaN
        # so few images that every half gives one number, and not that of all: no scatter is known
        fixed = (np.ptp(drawn, axis=0) < 1e-12) & (np.abs(drawn[0] - value) > 1e-9)
        spread = np.where(fixed, np.nan, spread)
        low, high = np.quantile(spread, [tail, 1 - tail], axis=0)
        return Interval(
            value, spread.std(axis=0, ddof=1), value + low, value + high, level, replicates
        )


def jackknife(
    statistic: Callable[[Tensor], Tensor | np.ndarray | float],
    n: int,
    seed: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = 0.95,
) -> Interval:
    """Value and interval of a statistic whose bias falls with n, corrected for it: see
    :func:`jackknifed`.

    Args:
        statistic: A function of sorted positions, which returns a number or an array.
        n: Number of images.
        seed: Of the groups.
        bounds: Smallest and largest possible value.
        level: Coverage of the interval.
    """
    group_of = groups_of(np.random.default_rng(seed), n)
    every, sizes = np.unique(group_of, return_counts=True)
    whole = _array(statistic(torch.arange(n)))
    rest = [_array(statistic(torch.from_numpy(np.flatnonzero(group_of != g)))) for g in every]
    return jackknifed(whole, np.array(rest), sizes, bounds, level)


def groups_of(rng: np.random.Generator, n: int, groups: int = GROUPS) -> np.ndarray:
    """A random group for each image, ``(n,)``; sizes differ by one at most."""
    return rng.permutation(np.arange(n) % groups)


def jackknifed(
    whole: np.ndarray,
    rest: np.ndarray,
    sizes: np.ndarray,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = 0.95,
) -> Interval:
    """Delete-a-group jackknife with groups of unequal size (Busing, Meijer & van der Leeden 1999).

    The error is that of the uncorrected value times ``corrected / whole`` where that exceeds 1: a
    statistic that n images make smaller by a factor scatters less by the same factor. Quantiles
    are Student's with G - 1 degrees of freedom. NaN bounds where fewer than three groups are left,
    or the correction exceeds ``LARGEST_CORRECTION`` of the value.

    Args:
        whole: From all images, any shape.
        rest: ``(G, ...)`` without each group.
        sizes: ``(G,)`` images of each group.
        bounds: Smallest and largest possible value.
        level: Coverage of the interval.
    """
    G, n = len(sizes), int(sizes.sum())
    if G < 3:
        nothing = np.full(whole.shape, np.nan)
        return Interval(whole, nothing, nothing, nothing, level, G, _LEFT_OUT)
    h = (n / sizes).reshape(-1, *[1] * whole.ndim)
    value = G * whole - ((1 - 1 / h) * rest).sum(axis=0)
    error = np.sqrt((((h * whole - (h - 1) * rest) - value) ** 2 / (h - 1)).mean(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = np.where(whole > 0, value / whole, 1.0)
        error = error * np.maximum(1.0, grown)
        known = np.abs(value - whole) <= LARGEST_CORRECTION * np.abs(whole) + 1e-9
    value = np.clip(value, *bounds)
    half = np.where(known, error * float(stdtrit(G - 1, 0.5 + level / 2)), np.nan)
    low, high = np.clip(value - half, *bounds), np.clip(value + half, *bounds)
    return Interval(value, np.where(known, error, np.nan), low, high, level, G, _LEFT_OUT)


_LEFT_OUT = "groups of images left out in turn, corrected for bias"


def _half(rng: np.random.Generator, n: int) -> Tensor:
    return torch.from_numpy(np.sort(rng.choice(n, n // 2, replace=False)))


def _array(value: Tensor | np.ndarray | float) -> np.ndarray:
    return np.asarray(
        value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64
    )
