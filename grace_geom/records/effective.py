"""Effective robustness: accuracy under shift beyond what a line through clean models foretells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.classes import shown
from grace_geom.records.estimate import Z95, Estimate
from grace_geom.records.schema import RecordError

LEAST = 3
"""Models that a line with a band needs."""


@dataclass(frozen=True)
class ProbitLine:
    """Least squares on probit axes: ``probit(OOD) = a + b probit(ID)``.

    Attributes:
        intercept: ``a``.
        slope: ``b``.
        n: Models.
        r2: Share of the variance that it explains.
        residual: Standard deviation of the residuals, ``n - 2`` degrees of freedom.
        centre: Mean of ``probit(ID)``.
        sxx: Sum of squares of ``probit(ID)`` about it.
    """

    intercept: float
    slope: float
    n: int
    r2: float
    residual: float
    centre: float
    sxx: float

    def at(self, share: float) -> tuple[float, float, float]:
        """OOD accuracy that the line foretells for an ID accuracy, and the 95 % confidence band of
        the line there (Student's t, back from probit), all in [0, 1].

        Args:
            share: Inside (0, 1), as :func:`share_of` gives it: 0 and 1 have no probit.

        Raises:
            ValueError: If it is not.
        """
        if not 0 < share < 1:
            raise ValueError(f"{share} has no place on probit axes: take share_of(accuracy)")
        x = float(ndtri(share))
        y = self.intercept + self.slope * x
        t = float(stdtrit(self.n - 2, 0.975))
        half = t * self.residual * math.sqrt(1 / self.n + (x - self.centre) ** 2 / self.sxx)
        return float(ndtr(y)), float(ndtr(y - half)), float(ndtr(y + half))


def share_of(a: Accuracy) -> float:
    """The data set's usual number with half a right and half a wrong image added, so that 0 and 1
    have a probit.
    """
    return smoothed(shown(a).value, a.n)


def smoothed(value: float, n: int) -> float:
    """A share of ``n`` images with half a right and half a wrong one added."""
    return (value * n + 0.5) / (n + 1)


def fit_line(pairs: Sequence[tuple[Accuracy, Accuracy]]) -> ProbitLine:
    """The line through models, each with its ID and its OOD accuracy (Taori et al. 2020; probit
    axes as in Miller et al. 2021).

    Raises:
        RecordError: If there are fewer than three models, or all have the same ID accuracy.
    """
    return line_through([(share_of(a), share_of(b)) for a, b in pairs])


def line_through(shares: Sequence[tuple[float, float]]) -> ProbitLine:
    """The same through ID and OOD accuracies inside (0, 1), as :func:`smoothed` gives them.

    Raises:
        RecordError: As above.
    """
    if len(shares) < LEAST:
        raise RecordError(
            f"a line needs at least {LEAST} models trained without attack, here are {len(shares)}: "
            "name more checkpoints"
        )
    x, y = ndtri(np.array(shares)).T
    centre, sxx = float(x.mean()), float(((x - x.mean()) ** 2).sum())
    if sxx < 1e-12:
        raise RecordError(
            "a line needs models of different ID accuracy, these all have the same: name others"
        )
    slope = float(((x - centre) * (y - y.mean())).sum()) / sxx
    intercept = float(y.mean()) - slope * centre
    left = float(((y - intercept - slope * x) ** 2).sum())
    whole = float(((y - y.mean()) ** 2).sum())
    n = len(shares)
    return ProbitLine(
        intercept, slope, n, 1 - left / whole if whole else math.nan,
        math.sqrt(left / (n - 2)), centre, sxx,
    )  # fmt: skip


def effective_robustness(line: ProbitLine, id_: Accuracy, ood: Accuracy) -> Estimate:
    """OOD accuracy minus what the line foretells for the ID accuracy, in [-1, 1].

    The 95 % interval joins that of the OOD accuracy with the band of the line, taken as independent
    (Newcombe 1998): for models of the line itself, which pull it towards them, it is only a guide.
    """
    return above_line(line, share_of(id_), shown(ood))


def above_line(line: ProbitLine, share: float, ood: Estimate) -> Estimate:
    """The same of an ID accuracy inside (0, 1), as :func:`smoothed` gives it."""
    foretold, low, high = line.at(share)
    value = ood.value - foretold
    below = math.hypot(ood.value - ood.low, high - foretold)
    above = math.hypot(ood.high - ood.value, foretold - low)
    return Estimate(value, (below + above) / (2 * Z95), value - below, value + above)
