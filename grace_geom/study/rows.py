"""From the records of a study's runs to rows of numbers: means over seeds, differences to the
baseline.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grace_geom.records import Difference, Estimate, EvalRecord, image_difference, summarise
from grace_geom.records.statistics import mean_interval, paired_t


@dataclass(frozen=True)
class Row:
    """One method of the study.

    Attributes:
        label: Method and options.
        records: Its evaluations by seed.
        trains: Whether seeds matter; a method that does not train has one record, which stands for
            every seed.
        error: Why it has none, or fewer than the others.
        seconds: Training seconds of each run.
        cost: A training step in forward passes of its batch, timed; ``None`` where it was not.
        lr: Peak learning rate.
        at_most: Whether ``cost`` is an upper bound: images that stop early were timed as if none
            did.
    """

    label: str
    records: Mapping[int, EvalRecord]
    trains: bool = True
    error: str = ""
    seconds: Sequence[float] = ()
    cost: float | None = None
    lr: float | None = None
    at_most: bool = False

    def values(self, column: str) -> dict[int, float]:
        """A column by seed, where it was measured."""
        found = {
            seed: summarise(record.accuracies)[column] for seed, record in self.records.items()
        }
        return {seed: e.value for seed, e in found.items() if e is not None}

    def estimate(self, column: str) -> Estimate | None:
        """Mean over seeds with Student's 95 % interval; for one seed, the interval of its image
        counts.
        """
        values = self.values(column)
        if not values or len(values) < len(self.records):
            return None
        if len(values) == 1:
            return summarise(next(iter(self.records.values())).accuracies)[column]
        mean, low, high = mean_interval(list(values.values()))
        return Estimate(
            mean, float(np.std(list(values.values()), ddof=1)) / math.sqrt(len(values)), low, high
        )


def difference(row: Row, baseline: Row, column: str) -> Difference | None:
    """``row - baseline`` in one column: seed by seed where there are two seeds, else image by
    image.

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
        return Difference(
            test.difference, test.low, test.high, test.p, f"paired t over {len(seeds)} seeds"
        )
    record = row.records.get(seeds[0]) or next(iter(row.records.values()))
    other = baseline.records.get(seeds[0]) or next(iter(baseline.records.values()))
    return image_difference(record.accuracies, other.accuracies, column)
