"""From the records of a study's runs to rows of numbers: means over seeds, differences to the
baseline. What a mean over seeds leaves open is told in :mod:`grace_geom.records.crossed`.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grace_geom.records import (
    Difference,
    Estimate,
    EvalRecord,
    over_seeds,
    seeds_difference,
    summarise,
)
from grace_geom.records.copies import distinct


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
        steps: Optimizer steps of a run; ``None`` where they are not known.
    """

    label: str
    records: Mapping[int, EvalRecord]
    trains: bool = True
    error: str = ""
    seconds: Sequence[float] = ()
    cost: float | None = None
    lr: float | None = None
    at_most: bool = False
    steps: int | None = None

    @functools.cached_property
    def seeds(self) -> dict[int, EvalRecord]:
        """The evaluations that count: a copy of another seed's run does not."""
        return distinct(self.records)[0]

    @property
    def copies(self) -> str:
        """Which seeds are copies, in words; empty where none is."""
        return distinct(self.records)[1]

    def values(self, column: str) -> dict[int, float]:
        """A column by seed, where it was measured."""
        found = {seed: summarise(record.accuracies)[column] for seed, record in self.seeds.items()}
        return {seed: e.value for seed, e in found.items() if e is not None}

    def estimate(self, column: str) -> Estimate | None:
        """Mean over seeds, its interval over seeds and images; ``None`` where a seed lacks it."""
        return over_seeds([record.accuracies for record in self.seeds.values()], column)


def difference(row: Row, baseline: Row, column: str) -> Difference | None:
    """``row - baseline`` in one column, seed by seed and image by image.

    ``None`` where one of the two does not have the column.
    """
    if not row.values(column) or not baseline.values(column):
        return None
    ours, theirs = dict(row.seeds), dict(baseline.seeds)
    if not row.trains:
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    if not baseline.trains:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    pairs = [(ours[s], theirs[s]) for s in seeds]
    found = seeds_difference(
        [a.accuracies for a, _ in pairs], [b.accuracies for _, b in pairs], column
    )
    if found is not None and all(_one_checkpoint(a, b) for a, b in pairs):
        return replace(found, low=0.0, high=0.0, p=1.0, how="the same checkpoint")
    return found


def _one_checkpoint(a: EvalRecord, b: EvalRecord) -> bool:
    return bool(a.checkpoint) and a.checkpoint == b.checkpoint and a.accuracies == b.accuracies
