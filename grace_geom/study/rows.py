"""From the records of a study's runs to rows of numbers: means over seeds, differences to the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grace_geom.results import Accuracy, Estimate, EvalRecord, RecordError, counted, summarise
from grace_geom.results.resample import RESAMPLES, SUITE_OF, Answers, Key, column_of, resampled
from grace_geom.statistics import mcnemar, mean_interval, paired_t


@dataclass(frozen=True)
class Row:
    """One method of the study.

    Attributes:
        label: Method and options.
        records: Its evaluations by seed.
        trains: Whether seeds matter; a method that does not train has one record, which stands for every seed.
        error: Why it has none, or fewer than the others.
        seconds: Training seconds of each run.
        cost: A training step in forward passes of its batch, timed; ``None`` where it was not.
        lr: Peak learning rate.
    """

    label: str
    records: Mapping[int, EvalRecord]
    trains: bool = True
    error: str = ""
    seconds: Sequence[float] = ()
    cost: float | None = None
    lr: float | None = None

    def values(self, column: str) -> dict[int, float]:
        """A column by seed, where it was measured."""
        found = {seed: summarise(record.accuracies)[column] for seed, record in self.records.items()}
        return {seed: e.value for seed, e in found.items() if e is not None}

    def estimate(self, column: str) -> Estimate | None:
        """Mean over seeds with Student's 95 % interval; for one seed, the interval of its image counts."""
        values = self.values(column)
        if not values or len(values) < len(self.records):
            return None
        if len(values) == 1:
            return summarise(next(iter(self.records.values())).accuracies)[column]
        mean, low, high = mean_interval(list(values.values()))
        return Estimate(mean, float(np.std(list(values.values()), ddof=1)) / math.sqrt(len(values)), low, high)


@dataclass(frozen=True)
class Difference:
    """A row against the baseline.

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


def difference(row: Row, baseline: Row, column: str) -> Difference | None:
    """``row - baseline`` in one column: seed by seed where there are two seeds, else image by image.

    ``None`` where one of the two does not have the column.
    """
    ours, theirs = row.values(column), baseline.values(column)
    if not ours or not theirs:
        return None
    if not row.trains:
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    if not baseline.trains:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    if len(seeds) > 1:
        test = paired_t([ours[s] for s in seeds], [theirs[s] for s in seeds])
        return Difference(test.difference, test.low, test.high, test.p, f"paired t over {len(seeds)} seeds")
    record = row.records.get(seeds[0]) or next(iter(row.records.values()))
    other = baseline.records.get(seeds[0]) or next(iter(baseline.records.values()))
    return image_difference(record.accuracies, other.accuracies, column)


def image_difference(a: Sequence[Accuracy], b: Sequence[Accuracy], column: str, seed: int = 0) -> Difference | None:
    """The difference of a column between two checkpoints on the same images.

    The interval is a bootstrap over images: each is drawn for both checkpoints, and for its clean and its attacked
    answer, at once; data sets independently. p is McNemar's exact one where the column is one data set, else the
    bootstrap's, but never below ``2^(1 - m)``, the least that m images with different answers allow: exchanging both
    checkpoints on each of them at random has 2^m outcomes (a bootstrap of a few one-sided images knows no doubt).
    """
    value_a, value_b = summarise(a)[column], summarise(b)[column]
    if value_a is None or value_b is None:
        return None
    gap = value_a.value - value_b.value
    ours, theirs = counted(a, column), counted(b, column)
    if reason := _unpaired(ours, theirs):
        return Difference(gap, math.nan, math.nan, math.nan, f"{column} without a test: {reason}")
    groups = [[Answers.of_accuracy(one) for one in some.values()] for some in (ours, theirs)]
    draws_a, draws_b = resampled(groups, RESAMPLES, seed)
    gaps = column_of(draws_a, column) - column_of(draws_b, column)
    low, high = np.quantile(gaps, [0.025, 0.975])
    if column in SUITE_OF and len(ours) == 1:
        (key,) = ours
        test = mcnemar(ours[key].right(), theirs[key].right())
        return Difference(gap, float(low), float(high), test.p, "McNemar's exact test, one seed")
    tail = min((gaps <= 0).mean(), (gaps >= 0).mean())
    apart = sum(int((ours[key].right() != theirs[key].right()).sum()) for key in ours)
    p = float(min(1.0, max(2 * max(tail, 1 / RESAMPLES), 2.0 ** (1 - apart))))
    return Difference(gap, float(low), float(high), p, "paired bootstrap over images, one seed")


def _unpaired(ours: Mapping[Key, Accuracy], theirs: Mapping[Key, Accuracy]) -> str:
    """Why two checkpoints cannot be compared image by image; empty where they can."""
    if ours.keys() != theirs.keys():
        return "data sets are not the same"
    for key, mine in ours.items():
        if not mine.paired_with(theirs[key]):
            return "images are not the same"
        try:
            mine.right(), theirs[key].right()
        except RecordError:  # totals only, as of one part of an attack in older records
            return f"{mine.attack_name or key[1]} has a total, no outcome for each image"
    return ""
