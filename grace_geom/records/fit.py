"""A straight line through runs with its band, and how two numbers go together, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from grace_geom.records.estimate import Z95
from grace_geom.records.schema import RecordError
from grace_geom.records.statistics import rank_correlation, rankdata

LEAST = 3
"""Points that a line with a band needs."""


@dataclass(frozen=True)
class Fit:
    """Least squares ``y = intercept + slope x``.

    Attributes:
        intercept, slope: Of the line.
        n: Points.
        residual: Standard deviation of the residuals, ``n - 2`` degrees of freedom.
        centre: Mean of ``x``.
        sxx: Sum of squares of ``x`` about it.
    """

    intercept: float
    slope: float
    n: int
    residual: float
    centre: float
    sxx: float

    def at(self, x: float) -> tuple[float, float, float]:
        """The line at ``x`` and the 95 % confidence band of its mean there (Student's t)."""
        y = self.intercept + self.slope * x
        t = float(stdtrit(self.n - 2, 0.975))
        half = t * self.residual * math.sqrt(1 / self.n + (x - self.centre) ** 2 / self.sxx)
        return y, y - half, y + half


def line_of(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The line through points.

    Raises:
        RecordError: If there are fewer than three, or all have one ``x``.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    if len(a) < LEAST:
        raise RecordError(f"a line with a band needs at least {LEAST} runs, here are {len(a)}")
    centre = float(a.mean())
    sxx = float(((a - centre) ** 2).sum())
    if sxx <= 1e-24 * max(1.0, float((a**2).sum())):
        raise RecordError("a line needs runs that differ in the number of the horizontal axis")
    slope = float(((a - centre) * (b - b.mean())).sum()) / sxx
    intercept = float(b.mean()) - slope * centre
    left = float(((b - intercept - slope * a) ** 2).sum())
    return Fit(intercept, slope, len(a), math.sqrt(left / (len(a) - 2)), centre, sxx)


@dataclass(frozen=True)
class Together:
    """How two numbers go together over runs.

    Attributes:
        n: Runs.
        r, low, high: Pearson's correlation and its 95 % interval (Fisher's z).
        rank, rank_low, rank_high: Spearman's and its 95 % interval (Fisher's z with the variance
            ``(1 + rank^2 / 2) / (n - 3)``, Bonett & Wright 2000).
        p: Permutation p of the ranks.
        least: The smallest p that so many runs can have.
    """

    n: int
    r: float
    low: float
    high: float
    rank: float
    rank_low: float
    rank_high: float
    p: float
    least: float

    @property
    def clear(self) -> bool:
        """Whether the interval of ``r`` is on one side of 0."""
        return self.low > 0 or self.high < 0


def together(x: Sequence[float], y: Sequence[float]) -> Together | None:
    """Both correlations; ``None`` below four runs, or where one side does not vary."""
    ranks = rank_correlation(x, y)
    if ranks is None:
        return None
    n = len(rankdata(x))
    r = float(np.corrcoef(np.asarray(x, float), np.asarray(y, float))[0, 1])
    low, high = _interval(r, 1 / (n - 3))
    rank_low, rank_high = _interval(ranks.rho, (1 + ranks.rho**2 / 2) / (n - 3))
    return Together(n, r, low, high, ranks.rho, rank_low, rank_high, ranks.p, ranks.least)


def _interval(r: float, variance: float) -> tuple[float, float]:
    if abs(r) > 1 - 1e-12:
        return math.copysign(1.0, r), math.copysign(1.0, r)
    middle, half = math.atanh(r), Z95 * math.sqrt(variance)
    return math.tanh(middle - half), math.tanh(middle + half)
