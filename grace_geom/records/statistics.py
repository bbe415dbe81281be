"""Wilson's interval and the rank correlation of tables and the dashboard.

Only ``scipy.special`` is imported: the dashboard and ``--help`` come by here, and ``scipy.stats``
takes seconds.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtr


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
    return wilson_of(correct / n, n, level)


def wilson_of(p: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval around a share ``p`` whose variance is that of ``n`` images, which need not
    be a whole number (Kott & Carr 1997).
    """
    z = _normal_quantile(level)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (0.0 if p == 0 else centre - half), (1.0 if p == 1 else centre + half)


FEW = 200
"""Below so many images an accuracy is known to no better than about 7 points."""


def half_width(n: int) -> float:
    """Half of Wilson's 95 % interval at one half, where it is widest: 0.067 for 200 images."""
    low, high = wilson_of(0.5, n)
    return (high - low) / 2


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
        rho: In [-1, 1].
        p: Two-sided p-value of "the ranks go together by chance".
        least: The smallest p that so many points can have; 4 points cannot reach 0.05.
    """

    rho: float
    p: float
    least: float


EXACT = 8
"""Most points whose orders are all gone through."""


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Spearman's rank correlation with its permutation p; ``None`` below four points, or where one
    side does not vary.

    Up to ``EXACT`` points p counts the orders of y, out of all n!, that correlate as strongly; for
    more it is Student's approximation. scipy's ``spearmanr`` gives the latter for any n: for 4
    points in one order it says p = 0 where 2 of 24 orders do as well, 0.083.
    """
    a, b = rankdata(x), rankdata(y)
    n = len(a)
    if n < 4 or n != len(b) or not np.ptp(a) or not np.ptp(b):
        return None
    rho = float(np.corrcoef(a, b)[0, 1])
    least = 2 / math.factorial(n)
    if n > EXACT:
        t = abs(rho) * math.sqrt((n - 2) / max(1 - rho**2, 1e-300))
        return RankCorrelation(rho, min(1.0, max(least, 2 * float(stdtr(n - 2, -t)))), least)
    orders = b[np.array(list(itertools.permutations(range(n))))]
    products = np.abs((orders - b.mean()) @ (a - a.mean()))
    own = abs((a - a.mean()) @ (b - b.mean()))
    return RankCorrelation(rho, float((products >= own - 1e-9).mean()), least)


def rankdata(values: Sequence[float]) -> Float[np.ndarray, " n"]:
    """1 for the smallest; equals share the mean of their places."""
    found = np.asarray(values, float)
    return np.array([(found < v).sum() + ((found == v).sum() + 1) / 2 for v in found])


def rankdata_of_rows(values: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """:func:`rankdata` of each row."""
    order = np.argsort(values, axis=1)
    found = np.empty(values.shape)
    np.put_along_axis(found, order, np.arange(1.0, values.shape[1] + 1)[None], axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    for i in np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)):
        found[i] = rankdata(values[i])  # with equals among them
    return found


def correlations(
    a: Float[np.ndarray, " n"], rows: Float[np.ndarray, "m n"]
) -> Float[np.ndarray, " m"]:
    """Pearson's correlation of ``a`` with each row; neither may be constant."""
    a, rows = a - a.mean(), rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows @ a / np.sqrt((a @ a) * (rows**2).sum(axis=1)))


def _normal_quantile(level: float) -> float:
    return float(ndtri(0.5 + _checked(level) / 2))


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"A coverage lies between 0 and 1, such as 0.95; got {level}.")
    return level
