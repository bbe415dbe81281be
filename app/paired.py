"""The difference of two runs where both answered the same images, or were trained with the same seeds.

What both runs have in common (hard images, a lucky seed) cancels in a paired difference, so it can be clear although
the two intervals overlap.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from app.store import Entry
from grace_geom.results import Accuracy, RecordError, counted
from grace_geom.results.accuracy import outcomes_of
from grace_geom.results.resample import RESAMPLES, SUITE_OF, Answers, Key, column_of, resampled

LEVEL = 0.05
"""Two-sided p below which a difference counts as clear."""


@dataclass(frozen=True)
class Gap:
    """One run's number of a column over another's.

    Attributes:
        value, low, high: The difference and its 95 % interval, in shares of 1.
        p: Two-sided p-value of no difference.
        on: What was the same for both: ``the same images``, ``the same 3 seeds``.
    """

    value: float
    low: float
    high: float
    p: float
    on: str

    def __neg__(self) -> "Gap":
        """The same, seen from the other run."""
        return Gap(-self.value, -self.high, -self.low, self.p, self.on)

    @property
    def clear(self) -> bool:
        """Whether the first run is ahead: the test says so, and the interval that is shown agrees."""
        return self.p < LEVEL and self.low > 0


def gap(a: Entry, b: Entry, column: str) -> Gap | None:
    """``a - b`` in a column, paired; ``None`` where the two have nothing to be paired by.

    Two means over the same seeds, or one of them and the zero-shot model, which stands for every seed: Student's paired
    t over seeds. Two single runs: image by image, see :func:`over_images`.
    """
    if a.members or b.members:
        return _over_seeds(a, b, column)
    if a.evaluation is None or b.evaluation is None:
        return None
    ours, theirs = counted(a.accuracies, column), counted(b.accuracies, column)
    if not ours or not _same_images(ours, theirs):
        return None
    one, other = (tuple(Answers.of_accuracy(x) for x in some.values()) for some in (ours, theirs))
    if column_of(_shares(one), column) < column_of(_shares(other), column):
        return -over_images(other, one, column)  # the same draws whichever way round it is asked
    return over_images(one, other, column)


def same_kind(a: Entry, b: Entry) -> bool:
    """Whether the intervals of two entries say the same thing: both over seeds, or both over images."""
    return bool(a.members) == bool(b.members)


@functools.lru_cache(maxsize=4096)
def over_images(a: tuple[Answers, ...], b: tuple[Answers, ...], column: str) -> Gap:
    """The difference of a column between two checkpoints on the same images.

    The interval is a percentile bootstrap in which an image is drawn for both checkpoints, and for its clean and its
    attacked answer, at once. p is McNemar's exact one where the column is one data set, else the bootstrap's.
    """
    draws_a, draws_b = resampled([a, b])
    gaps = column_of(draws_a, column) - column_of(draws_b, column)
    low, high = np.quantile(gaps, [0.025, 0.975])
    value = float(column_of(_shares(a), column) - column_of(_shares(b), column))
    if column in SUITE_OF and len(a) == 1:
        p = mcnemar(*(outcomes_of(one.packed, one.n) for (one,) in (a, b)))
    else:
        tail = float(min((gaps <= 0).mean(), (gaps >= 0).mean()))
        p = min(1.0, 2 * max(tail, 1 / RESAMPLES))
    return Gap(value, float(low), float(high), p, "the same images")


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """McNemar's exact two-sided p: of the images that only one of two got right, is either's share more than a half?

    Args:
        a, b: ``(n,)`` bool, right or wrong on the same images.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a == only_b:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def _over_seeds(a: Entry, b: Entry, column: str) -> Gap | None:
    """Student's paired t test over seeds that both were trained with."""
    ours, theirs = _by_seed(a, column), _by_seed(b, column)
    if not a.members and a.method == "zero-shot" and ours:
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    if not b.members and b.method == "zero-shot" and theirs:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    if ours.keys() != theirs.keys() or len(ours) < 2:
        return None
    gaps = np.array([ours[seed] - theirs[seed] for seed in ours])
    n, mean, error = len(gaps), float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    half = float(stdtrit(n - 1, 0.975)) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
    return Gap(mean, mean - half, mean + half, p, f"the same {n} seeds")


def _by_seed(entry: Entry, column: str) -> dict[int, float]:
    known = {run.seed: run.estimates.get(column) for run in entry.members or (entry,)}
    return {seed: found.value for seed, found in known.items() if found is not None}


def _same_images(ours: Mapping[Key, Accuracy], theirs: Mapping[Key, Accuracy]) -> bool:
    """Whether every image has an answer of both."""
    pairs = [(mine, theirs.get(key)) for key, mine in ours.items()]
    if len(ours) != len(theirs) or not all(b and a.attack == b.attack and a.paired_with(b) for a, b in pairs):
        return False
    try:
        for some in (ours, theirs):
            for one in some.values():
                Answers.of_accuracy(one).positions()
    except (RecordError, ValueError):  # totals only, as of one part of an attack in older records; or not legible
        return False
    return True


def _shares(group: tuple[Answers, ...]) -> dict[Key, np.ndarray]:
    return {answers.key: np.asarray(outcomes_of(answers.packed, answers.n).mean()) for answers in group}
