"""The difference of two checkpoints that answered the same images.

What both have in common (hard images) cancels in a paired difference, so it can be clear although
intervals overlap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtri

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.answers import SUITE_OF, Answers, Key, same_images
from grace_geom.records.classes import is_mean_per_class, shown
from grace_geom.records.crossed import Spread, gap_interval, gap_spread, p_value
from grace_geom.records.estimate import Estimate
from grace_geom.records.schema import RecordError
from grace_geom.records.summary import counted, point_estimates, summarise


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


def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """95 % interval of ``(only_b - only_a) / n`` from the counts of McNemar's table alone: the
    adjusted Wald interval of paired shares (Bonett & Price 2012), as :func:`image_difference` has
    it for one data set.

    Args:
        only_a: Images that only the first got right.
        only_b: Images that only the second got right.
        n: All images, those on which the two agree too.

    Raises:
        ValueError: Unless ``0 <= only_a + only_b <= n`` and ``n > 0``.
    """
    if min(only_a, only_b) < 0 or only_a + only_b > n or n <= 0:
        raise ValueError(f"{only_a} and {only_b} of {n} images are no paired counts.")
    a, b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = float(ndtri(0.975)) * math.sqrt((a + b - (b - a) ** 2) / (n + 2))
    value = (only_b - only_a) / n
    return max(-1.0, min(b - a - half, value)), min(1.0, max(b - a + half, value))


def image_difference(
    a: Sequence[Accuracy], b: Sequence[Accuracy], column: str
) -> Difference | None:
    """The difference of a column between two checkpoints on the same images; ``None`` where one
    lacks the column.

    The interval comes from both answers to each image (:mod:`.crossed`); data sets are independent
    of each other. p is McNemar's exact one where the column is the top-1 accuracy of one data set,
    else the interval's, but never below ``2^(1 - m)``, the least that m images with different
    answers allow: exchanging both checkpoints on each of them at random has 2^m outcomes.
    ``image_difference(b, a)`` is exactly the negative.
    """
    return seeds_difference([a], [b], column)


def seeds_difference(
    a: Sequence[Sequence[Accuracy]], b: Sequence[Sequence[Accuracy]], column: str
) -> Difference | None:
    """The difference of a column between two methods over the same seeds, ``a[s] - b[s]``; ``None``
    where a run lacks the column.

    What a seed, and what an image, does to both cancels. Interval and p hold the spread over seeds
    and over images; without an answer to each image, those of the images are bounded by their
    totals. For one seed this is :func:`image_difference`.

    Raises:
        ValueError: If there are no pairs.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"A paired difference needs pairs; got {len(a)} and {len(b)} runs.")
    ours, theirs = ([point_estimates(run, (column,))[column] for run in runs] for runs in (a, b))
    gaps = [
        x.value - y.value
        for x, y in zip(ours, theirs, strict=True)
        if x is not None and y is not None
    ]
    if len(gaps) < len(a):
        return None
    value = sum(gaps) / len(gaps)
    sets = [(counted(x, column), counted(y, column)) for x, y in zip(a, b, strict=True)]
    reason = next(filter(None, (_unlike(x, y) for x, y in sets)), "")
    unpaired = next(filter(None, (_unpaired(x, y) for x, y in sets)), "")
    if reason or (unpaired and len(a) == 1):
        why = f"{column} without a test: {reason or unpaired}"
        return Difference(value, math.nan, math.nan, math.nan, why)
    if unpaired:
        return _by_totals(value, gaps, a, b, column)
    groups = [[tuple(map(Answers.of_accuracy, side.values())) for side in pair] for pair in sets]
    one, other = (tuple(pair[i] for pair in groups) for i in (0, 1))
    if not same_images(one):
        return _by_totals(value, gaps, a, b, column)
    if len(a) > 1:
        return _tested(value, gap_spread(one, other, column), f"{len(a)} seeds and their images")
    return _over_images(value, one[0], other[0], column)


def set_difference(a: Accuracy, b: Accuracy) -> Difference | None:
    """The difference of two accuracies of one data set in the number that papers report for it, by
    the rules of :func:`image_difference`; ``None`` where they cannot be paired.
    """
    key = a.suite, a.data
    if _unlike({key: a}, {key: b}) or _unpaired({key: a}, {key: b}):
        return None
    column = next(name for name, suite in SUITE_OF.items() if suite == a.suite)
    one, other = Answers.of_accuracy(a), Answers.of_accuracy(b)
    return _over_images(shown(a).value - shown(b).value, (one,), (other,), column)


def _tested(value: float, found: Spread, by: str) -> Difference:
    return Difference(value, *gap_interval(value, found), p_value(found), f"paired over {by}")


def _by_totals(
    value: float,
    gaps: Sequence[float],
    a: Sequence[Sequence[Accuracy]],
    b: Sequence[Sequence[Accuracy]],
    column: str,
) -> Difference:
    """The interval and the test where nothing tells of single images."""
    ours, theirs = ([summarise(run, (column,))[column] for run in runs] for runs in (a, b))
    pairs = [(x, y) for x, y in zip(ours, theirs, strict=True) if x is not None and y is not None]
    return _tested(value, _from_totals(gaps, pairs), f"{len(a)} seeds and image totals")


def _from_totals(gaps: Sequence[float], pairs: Sequence[tuple[Estimate, Estimate]]) -> Spread:
    """As if all seeds stumbled over the same images, and the two methods over different ones."""
    S = len(gaps)
    images = sum(math.hypot(x.error, y.error) for x, y in pairs) ** 2 / S**2
    return Spread(float(np.mean(gaps)), S, float(np.var(gaps, ddof=1)) / S, images, images)


def _over_images(
    value: float, a: tuple[Answers, ...], b: tuple[Answers, ...], column: str
) -> Difference:
    """The interval and the test of one seed."""
    found = gap_spread((a,), (b,), column)
    low, high = gap_interval(value, found)
    theirs = {answers.key: answers for answers in b}
    answers = [(mine.right(), theirs[mine.key].right()) for mine in a]
    if column in SUITE_OF and len(answers) == 1 and not a[0].labels:
        return Difference(
            value, low, high, mcnemar(*answers[0]).p, "McNemar's exact test, one seed"
        )
    apart = sum(int((mine != other).sum()) for mine, other in answers)
    p = min(1.0, max(p_value(found), 2.0 ** (1 - apart)))
    return Difference(value, low, high, p, "paired over images, one seed")


def _unlike(ours: Mapping[Key, Accuracy], theirs: Mapping[Key, Accuracy]) -> str:
    """Why the two numbers do not ask the same; empty where they do."""
    if ours.keys() != theirs.keys():
        return "data sets are not the same"
    if any(mine.attack != theirs[key].attack for key, mine in ours.items()):
        return "attacks are not the same"
    for key, mine in ours.items():
        if is_mean_per_class(mine) != is_mean_per_class(theirs[key]):
            return f"{key[1]} is mean per-class accuracy of one, top-1 of the other"
    return ""


def _unpaired(ours: Mapping[Key, Accuracy], theirs: Mapping[Key, Accuracy]) -> str:
    """Why two checkpoints of like questions cannot be compared image by image; empty where they
    can.
    """
    for key, mine in ours.items():
        if not mine.paired_with(theirs[key]):
            return "images are not the same"
        try:
            for one in (mine, theirs[key]):
                Answers.of_accuracy(one).positions()
        except (
            RecordError
        ):  # totals only, as of one part of an attack in older records; or not legible
            return f"{mine.attack_name or key[1]} has a total, no outcome for each image"
    return ""
