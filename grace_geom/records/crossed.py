"""Accuracies of several training seeds on one set of test images: both spreads in one interval.

The answer of seed s to image i is taken as ``mu + a_s + b_i + e_si``: a good or a bad seed, an easy
or a hard image, and what is left. All seeds answer the *same* images, so more seeds average ``a``
and ``e`` out but never ``b``; this is the crossed random-effects model of readers and cases
(Obuchowski & Rockette 1995). Of the mean over S seeds

    Var = Var(a) / S + Var(b) / n + Var(e) / (S n).

``A = s^2 / S``, from the spread s of the seeds' numbers, estimates its first and last term with
S - 1 degrees of freedom; ``C``, the covariance of two seeds' numbers over images, estimates the
second; ``F``, the variance over images of the mean answer, estimates the last two together. Seeds
that agree by chance make A small, but F knows what the images alone do.

Where the mean over classes counts, image i of class c has the weight ``1 / (K n_c)`` in place of
``1 / n`` and its error is the one about its class: classes are strata.

The half-width is the largest of three (:func:`half_width`), because two seeds tell their spread
with one degree of freedom and Satterthwaite's approximation covers only 87 % there.

Measured coverage of "95 %" (probit model, accuracies 1 to 99 %, 30 to 5,000 images, 4,000 draws a
case, so that a case's own error is 0.4): one seed 93.3 to 96.9 %. Where seeds spread twice as much
as images make one seed's number spread, 93 to 97 %; lowest, 92.7 %, three seeds at 99 % on 5,000
images. Where they spread less, two seeds cannot be told from two that agree by chance, and the
interval errs to the wide side: 94 to 99.3 %, of three seeds to 98.5 %. Differences of two methods
on the same images likewise: 94 to 97 % or, where seeds spread less, 95 to 99.8 %; on 30 images
96 to 100 %. HM at 1 % robustness: 94 to 97 %, or 97 to 99.3 %.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from grace_geom.records.answers import Answers, Key, column_of

SETTLED = 0.1
"""Share of F that the spread over seeds must exceed before Student's interval is taken in full."""

Group = tuple[Answers, ...]
"""The accuracies behind a column of one checkpoint."""


@dataclass(frozen=True)
class Spread:
    """What is known of the error of a mean over seeds.

    Attributes:
        centre: The number on images that hold two imaginary ones, see :func:`spread`.
        seeds: How many seeds.
        between: ``A``, the seeds' variance over their number; 0 for one seed.
        images: ``F``, variance over images of the mean over seeds.
        shared: ``C``, the part of F that more seeds would not reduce.
    """

    centre: float
    seeds: int
    between: float
    images: float
    shared: float

    @property
    def total(self) -> float:
        """Variance of the mean: ``A + C``, and at least F."""
        return max(self.between + self.shared, self.images)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of :attr:`total`; infinite where seeds do not vary."""
        if self.between == 0:
            return math.inf
        return self.total**2 / (self.between**2 / (self.seeds - 1))

    @property
    def student(self) -> float:
        """Standard error for Student's interval over seeds, faded out where A is small beside F."""
        if self.between == 0:
            return 0.0
        return self.between / math.sqrt(self.between + SETTLED * self.images)


def half_width(found: Spread, level: float = 0.95) -> float:
    """Half of an interval of the mean over seeds: the largest of what the images alone give
    (``z sqrt F``), Student's over seeds (``t sqrt A``, faded out below ``SETTLED F``) and
    Satterthwaite's of both.
    """
    q = 0.5 + level / 2
    widths = [float(ndtri(q)) * math.sqrt(found.images)]
    if found.between > 0:
        widths.append(float(stdtrit(found.seeds - 1, q)) * found.student)
        widths.append(_quantile(found.freedom, q) * math.sqrt(found.total))
    return max(widths)


def p_value(found: Spread) -> float:
    """Two-sided p of "the mean is 0": below 0.05 exactly where :func:`half_width` leaves 0 out."""
    gap = abs(found.centre)
    if gap == 0 or found.total == 0:
        return 1.0
    values = [2 * float(ndtr(-gap / math.sqrt(found.images)))] if found.images else []
    if found.between > 0:
        values.append(2 * float(stdtr(found.seeds - 1, -gap / found.student)))
        values.append(2 * _tail(found.freedom, gap / math.sqrt(found.total)))
    return max(values)


def share_interval(value: float, found: Spread) -> tuple[float, float]:
    """95 % interval of a share: Wilson's with the images that a simple sample of the same variance
    would have (Kott & Carr 1997). It lies inside [0, 1]; for one seed on one set it is Wilson's.
    """
    room = found.centre * (1 - found.centre)
    q = half_width(found) ** 2 / room
    centre = (value + q / 2) / (1 + q)
    half = math.sqrt(q * value * (1 - value) + q**2 / 4) / (1 + q)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if value == 0 else low), (1.0 if value == 1 else high)


def gap_interval(value: float, found: Spread) -> tuple[float, float]:
    """95 % interval of a difference of shares, in [-1, 1]; it holds the value."""
    half = half_width(found)
    low, high = found.centre - half, found.centre + half
    return max(-1.0, min(low, value)), min(1.0, max(high, value))


@functools.lru_cache(maxsize=4096)
def spread(groups: tuple[Group, ...], column: str) -> Spread:
    """Of one column of the checkpoints of several seeds, linearised in the accuracies of its sets
    (the delta method).

    Half an image that every seed gets right and half of one that none does are added to each set:
    without them 0 of 100 would have no variance.

    Args:
        groups: The accuracies of each seed, on the same images.
        column: Of the tables.
    """
    parts = [_influence(group, column, (1.0, 0.0), 0.5) for group in groups]
    values = [float(column_of(_shares(group), column)[0]) for group in groups]
    return _spread(values, [p[0] for p in parts], [p[1] for p in parts])


@functools.lru_cache(maxsize=4096)
def gap_spread(ours: tuple[Group, ...], theirs: tuple[Group, ...], column: str) -> Spread:
    """Of the difference ``ours - theirs`` of a column, seed by seed and image by image.

    An image that only ours get right and one that only theirs do are added to each set (Bonett &
    Price 2012, as the adjusted Wald interval of paired shares).
    """
    values, centres, influences = [], [], []
    for one, other in zip(ours, theirs, strict=True):
        mine, my = _influence(one, column, (1.0, 0.0), 1.0)
        other_centre, its = _influence(other, column, (0.0, 1.0), 1.0)
        centres.append(mine - other_centre)
        influences.append({key: _sum([my[key], -its[key]]) for key in my})
        if len(ours) > 1:  # one seed has no spread
            a, b = (float(column_of(_shares(group), column)[0]) for group in (one, other))
            values.append(a - b)
    return _spread(values, centres, influences)


def _spread(
    values: Sequence[float],
    centres: Sequence[float],
    influences: Sequence[Mapping[tuple[str, int], np.ndarray]],
) -> Spread:
    """From each seed's number, and what each image adds to its error, by data set; of one seed the
    number does not count.
    """
    S = len(centres)
    if S == 1:
        images = sum(float((row**2).sum()) for row in influences[0].values())
        return Spread(float(centres[0]), 1, 0.0, images, images)
    images = own = 0.0
    for key in influences[0]:
        rows = _padded([some[key] for some in influences])
        images += float((rows.mean(axis=0) ** 2).sum())
        own += float((rows**2).sum(axis=1).mean())
    centre = float(np.mean(centres))
    between = float(np.var(values, ddof=1)) / S
    return Spread(centre, S, between, images, max(0.0, (S * images - own) / (S - 1)))


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of one set: images first, then the imaginary ones of as many classes as each knows."""
    longest = max(map(len, rows))
    if all(len(row) == longest for row in rows):
        return np.stack(rows)  # most often; padding takes ten times as long
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])


def _sum(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Of rows of one set, the shorter ones taken to go on with 0."""
    if len({len(row) for row in rows}) > 1:
        return np.asarray(_padded(rows).sum(axis=0))
    total = rows[0]
    for row in rows[1:]:  # the same sum in the same order, in a tenth of the time
        total = total + row
    return total


@functools.lru_cache(maxsize=16)  # one run is compared with many in turn, in each of some columns
def _influence(
    group: Group, column: str, imagined: tuple[float, float], weight: float
) -> tuple[float, dict[tuple[str, int], np.ndarray]]:
    """A column with two imaginary images of that weight and these answers, and by data set what
    each image adds to its error: ``(of,)``, 0 where it was not seen, and then two imaginary ones
    for each class.
    """
    linear = {a.key: _linear(a, imagined, weight) for a in group}
    shares = {key: share for key, (share, _, _) in linear.items()}
    slopes = _slopes(shares, column)
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for a in group:
        _, images, ends = linear[a.key]
        if a.n == a.of:
            row = np.concatenate([images, ends])
        else:
            row = np.zeros(a.of + len(ends))
            row[a.positions()] = images
            row[a.of :] = ends
        found.setdefault((a.spec, a.of), []).append(slopes[a.key] * row)
    value = column_of({key: np.array([x]) for key, x in shares.items()}, column)
    return float(value[0]), {key: _sum(rows) for key, rows in found.items()}


@functools.lru_cache(maxsize=32)  # of one run, in each of its columns
def _linear(
    a: Answers, imagined: tuple[float, float], weight: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """A share with two imaginary images, and what each image ``(n,)`` and each imaginary one
    ``(2 classes,)`` adds to its error. Without classes all images are of one.

    Of a share, each class has imaginary images of its own, as in
    :func:`~grace_geom.records.classes.mean_per_class`, whose variance this is. Of a difference,
    they are shared out over the classes: whole ones in each would draw it towards 0. Nothing of
    it is to be written to.
    """
    if not a.labels:
        return _linear_of_one(a.right(), imagined, weight)
    right, strata = a.right(), a.strata()
    n = np.bincount(strata).astype(float)
    there = n > 0
    K, whole = int(there.sum()), weight >= 1
    each = weight / K if whole else weight
    N = n + 2 * each
    shares = (np.bincount(strata, right) + each * sum(imagined)) / N
    share = float(shares[there].mean())
    # of a single share, p (1 - p) / n as Wilson has it; of a difference, over n + 2
    scale = np.where(there, 1 / (K * (N if whole else np.sqrt(np.maximum(n, 1) * N))), 0.0)
    centre, unbiased = shares, np.ones_like(n)
    if whole:
        # A class of n images knows its variance with n - 1 of them, one of a single image not at
        # all: that image's error is the one about the mean of all classes.
        centre = np.where(n > 1, shares, share)
        unbiased = np.where(n > 1, np.sqrt(n / np.maximum(n - 1, 1)), 1.0)
    images = (scale * unbiased)[strata] * (right - centre[strata])
    ends = math.sqrt(each) * scale[:, None] * (np.array(imagined) - shares[:, None])
    return share, images, ends.ravel()


def _linear_of_one(
    right: np.ndarray, imagined: tuple[float, float], weight: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """The same where all images are of one class: an image adds one of two numbers."""
    n = float(len(right))
    N = n + 2 * weight
    share = float((np.count_nonzero(right) + weight * sum(imagined)) / N)
    scale = 1 / (N if weight >= 1 else math.sqrt(n * N))
    images = np.where(right, scale * (1.0 - share), scale * (0.0 - share))
    ends = math.sqrt(weight) * scale * (np.array(imagined) - share)
    return share, images, ends


def _slopes(shares: Mapping[Key, float], column: str, step: float = 1e-6) -> dict[Key, float]:
    """Derivative of a column with respect to each accuracy, by central differences."""
    K = len(shares)
    factors = _both_ways(K, step)
    moved = {key: x * factors[i] for i, (key, x) in enumerate(shares.items())}
    ends = column_of(moved, column).reshape(K, 2)
    gaps = ends[:, 0] - ends[:, 1]
    return {key: gaps[i] / (2 * step * x) for i, (key, x) in enumerate(shares.items())}


@functools.lru_cache(maxsize=64)
def _both_ways(K: int, step: float) -> np.ndarray:
    """``(K, 2 K)``: row i moves up, then down, in place i alone."""
    return 1 + step * (np.eye(K)[:, :, None] * np.array([1.0, -1.0])).reshape(K, 2 * K)


def _shares(group: Group) -> dict[Key, np.ndarray]:
    return {a.key: np.array([a.share()]) for a in group}


def _quantile(freedom: float, q: float) -> float:
    return float(ndtri(q) if math.isinf(freedom) else stdtrit(freedom, q))


def _tail(freedom: float, t: float) -> float:
    return float(ndtr(-t) if math.isinf(freedom) else stdtr(freedom, -t))
