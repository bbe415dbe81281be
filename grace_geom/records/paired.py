"""The difference of two checkpoints that answered the same images.

What both have in common (hard images) cancels in a paired difference, so it can be clear although
intervals overlap.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtr

from grace_geom.records.accuracy import Accuracy, outcomes_of
from grace_geom.records.resample import RESAMPLES, SUITE_OF, Answers, Key, column_of, resampled
from grace_geom.records.schema import RecordError
from grace_geom.records.summary import counted, summarise


@dataclass(frozen=True)
class Difference:
    """One number less another.

    Attributes:
        value: Difference of a column, in shares of 1.
        low, high: 95 % interval; NaN where the images cannot be paired.
        p: Two-sided p-value of no difference; NaN where there is no test.
        how: Which test.
    """

    value: float
    low: float
    high: float
    p: float
    how: str

    def __neg__(self) -> "Difference":
        """The same, seen from the other side."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same images.

    Attributes:
        only_a: Images that only the first got right.
        only_b: Images that only the second got right.
        difference: ``(only_a - only_b) / n``, the difference of their accuracies.
        p: Two-sided exact p-value of "equally often right".
    """

    only_a: int
    only_b: int
    difference: float
    p: float


def mcnemar(a: np.ndarray, b: np.ndarray) -> McNemar:
    """McNemar's exact test (1947): of the images where two classifiers differ, is one right more
    often?

    Under the null the ``only_a`` of ``only_a + only_b`` images are a fair coin's; the p-value is
    the binomial one, without the chi-square approximation.

    Args:
        a: Whether the first classifier is right, image by image.
        b: The same for the second, on the same images in the same order.

    Raises:
        ValueError: If the two differ in length, or are empty.
    """
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"McNemar's test compares answers to the same images; got shapes {a.shape} and "
            f"{b.shape}."
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = (
        1.0
        if only_a == only_b
        else min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    )
    return McNemar(only_a, only_b, (only_a - only_b) / a.size, p)


def image_difference(
    a: Sequence[Accuracy], b: Sequence[Accuracy], column: str
) -> Difference | None:
    """The difference of a column between two checkpoints on the same images; ``None`` where one
    lacks the column.

    The interval is a percentile bootstrap over images, seed 0: each is drawn for both checkpoints,
    and for its clean and its attacked answer, at once; data sets independently. p is McNemar's
    exact one where the column is one data set, else the bootstrap's, but never below ``2^(1 - m)``,
    the least that m images with different answers allow: exchanging both checkpoints on each of
    them at random has 2^m outcomes (a bootstrap of a few one-sided images knows no doubt).
    ``image_difference(b, a)`` is exactly the negative.
    """
    value_a, value_b = summarise(a)[column], summarise(b)[column]
    if value_a is None or value_b is None:
        return None
    if (value_a.value, [x.outcomes for x in a]) < (
        value_b.value,
        [x.outcomes for x in b],
    ):  # one order, one draw
        turned = image_difference(b, a, column)
        return None if turned is None else -turned
    value = value_a.value - value_b.value
    ours, theirs = counted(a, column), counted(b, column)
    if reason := _unpaired(ours, theirs):
        return Difference(value, math.nan, math.nan, math.nan, f"{column} without a test: {reason}")
    one, other = (tuple(Answers.of_accuracy(x) for x in some.values()) for some in (ours, theirs))
    return replace(_over_images(one, other, column), value=value)


@functools.lru_cache(maxsize=4096)
def _over_images(a: tuple[Answers, ...], b: tuple[Answers, ...], column: str) -> Difference:
    """The interval and the test; the value is left to the caller, who has it from the counts."""
    draws_a, draws_b = resampled([a, b])
    gaps = column_of(draws_a, column) - column_of(draws_b, column)
    low, high = (float(x) for x in np.quantile(gaps, [0.025, 0.975]))
    theirs = {answers.key: answers for answers in b}
    pairs = [tuple(outcomes_of(x.packed, x.n) for x in (mine, theirs[mine.key])) for mine in a]
    if column in SUITE_OF and len(pairs) == 1:
        return Difference(
            math.nan, low, high, mcnemar(*pairs[0]).p, "McNemar's exact test, one seed"
        )
    tail = float(min((gaps <= 0).mean(), (gaps >= 0).mean()))
    apart = sum(int((mine != other).sum()) for mine, other in pairs)
    p = min(1.0, max(2 * max(tail, 1 / RESAMPLES), 2.0 ** (1 - apart)))
    return Difference(math.nan, low, high, p, "paired bootstrap over images, one seed")


def _unpaired(ours: Mapping[Key, Accuracy], theirs: Mapping[Key, Accuracy]) -> str:
    """Why two checkpoints cannot be compared image by image; empty where they can."""
    if ours.keys() != theirs.keys():
        return "data sets are not the same"
    for key, mine in ours.items():
        if not mine.paired_with(theirs[key]):
            return "images are not the same"
        if mine.attack != theirs[key].attack:
            return "attacks are not the same"
        try:
            for one in (mine, theirs[key]):
                Answers.of_accuracy(one).positions()
        except (
            RecordError
        ):  # totals only, as of one part of an attack in older records; or not legible
            return f"{mine.attack_name or key[1]} has a total, no outcome for each image"
    return ""
