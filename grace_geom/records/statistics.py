"""Intervals and paired tests for the numbers that tables show."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray
from scipy import stats


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927): sensible at 0 and 1, where the usual
    one has no width.

    Args:
        correct: Number of successes.
        n: Number of trials.
        level: Coverage.

    Returns:
        Lower and upper bound, in [0, 1].

    Raises:
        ValueError: Unless ``0 <= correct <= n`` and ``n > 0``.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"A proportion needs 0 <= correct <= n and n > 0; got {correct} of {n}.")
    z = _normal_quantile(level)
    p = correct / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == n else centre + half)


def harmonic_mean(values: Sequence[float]) -> float:
    """``n / sum(1 / v)``; 0 as soon as one value is 0.

    Raises:
        ValueError: If there are no values, or one is negative or NaN.
    """
    if not values or not all(v >= 0 for v in values):
        raise ValueError(
            f"A harmonic mean needs numbers >= 0, and at least one; got {list(values)}."
        )
    if min(values) == 0:
        return 0.0
    return len(values) / sum(1 / v for v in values)


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean over seeds with Student's t interval: ``mean -+ t_{n-1} s / sqrt(n)``.

    Args:
        values: One number a seed.
        level: Coverage.

    Returns:
        Mean, lower and upper bound. The bounds are NaN for a single value, which says nothing of
        spread.

    Raises:
        ValueError: If there are no values.
    """
    if len(values) == 0:
        raise ValueError("A mean needs at least one value.")
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = (
        _t_quantile(level, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    )
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Paired:
    """The difference between two methods over the same seeds.

    Attributes:
        difference: Mean of ``a - b``.
        low: Lower bound of its interval.
        high: Upper bound.
        p: Two-sided p-value of "no difference" (paired t test); NaN for a single pair.
    """

    difference: float
    low: float
    high: float
    p: float


def paired_t(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Paired:
    """Student's paired t test: seed by seed differences, so what a seed does to both cancels.

    Raises:
        ValueError: If the two differ in length, or are empty.
    """
    if len(a) != len(b):
        raise ValueError(f"A paired test needs pairs; got {len(a)} and {len(b)} values.")
    gaps = [float(u) - float(v) for u, v in zip(a, b, strict=True)]
    mean, low, high = mean_interval(gaps, level)
    if len(gaps) == 1:
        return Paired(mean, low, high, math.nan)
    error = float(np.std(gaps, ddof=1)) / math.sqrt(len(gaps))
    if error == 0:
        return Paired(mean, low, high, 1.0 if mean == 0 else 0.0)
    return Paired(mean, low, high, float(2 * stats.t.sf(abs(mean) / error, len(gaps) - 1)))


def bootstrap(
    values: Shaped[ndarray, " n *d"],
    statistic: Callable[[Shaped[ndarray, " n *d"]], float] = np.mean,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Percentile bootstrap (Efron 1979): the statistic on resampled rows.

    Args:
        values: One row an image. Stack what belongs together, such as the answers of two
            classifiers, in its columns.
        statistic: ``rows -> number``.
        level: Coverage.
        draws: Number of resamples, each one call of ``statistic``.
        seed: Seed of the resampling.

    Returns:
        The statistic on ``values``, lower and upper bound.

    Raises:
        ValueError: If ``values`` is empty.
    """
    values = np.asarray(values)
    if len(values) == 0:
        raise ValueError("A bootstrap needs at least one row.")
    generator = np.random.default_rng(seed)
    found: Float[ndarray, " k"] = np.array(
        [statistic(values[generator.integers(len(values), size=len(values))]) for _ in range(draws)]
    )
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(statistic(values)), float(low), float(high)


def _normal_quantile(level: float) -> float:
    return float(stats.norm.ppf(0.5 + _checked(level) / 2))


def _t_quantile(level: float, freedom: int) -> float:
    return float(stats.t.ppf(0.5 + _checked(level) / 2, freedom))


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"A coverage lies between 0 and 1, such as 0.95; got {level}.")
    return level
