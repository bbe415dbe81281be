"""From the records of a study's runs to rows of numbers: means over seeds, differences to the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grace_geom.results import (
    Accuracy,
    Estimate,
    EvalRecord,
    RecordError,
    headline_attack,
    summarise,
)
from grace_geom.statistics import mcnemar, mean_interval, paired_t

RESAMPLES = 4000


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

    For every data set the images fall into four cells (both right, one, the other, neither). The interval is a
    bootstrap that draws these cells again, sets independently. p is McNemar's exact one where the column is one data
    set, else the bootstrap's.
    """
    value_a, value_b = summarise(a)[column], summarise(b)[column]
    if value_a is None or value_b is None:
        return None
    gap = value_a.value - value_b.value
    cells = _paired_cells(a, b, SUITES_OF[column])
    if isinstance(cells, str):
        return Difference(gap, math.nan, math.nan, math.nan, f"{column} without a test: {cells}")
    rng = np.random.default_rng(seed)
    drawn = {key: rng.multinomial(c.sum(), c / c.sum(), RESAMPLES) / c.sum() for key, c in cells.items()}
    column_a = _column({key: d[:, 0] + d[:, 1] for key, d in drawn.items()}, column)
    column_b = _column({key: d[:, 0] + d[:, 2] for key, d in drawn.items()}, column)
    gaps = column_a - column_b
    low, high = np.quantile(gaps, [0.025, 0.975])
    suites = [key for key in cells if key[0] == SUITE_OF.get(column)]
    if len(suites) == 1:
        counts = cells[suites[0]]
        test = mcnemar(np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts))
        return Difference(gap, float(low), float(high), test.p, "McNemar's exact test, one seed")
    tail = min((gaps <= 0).mean(), (gaps >= 0).mean())
    p = float(min(1.0, 2 * max(tail, 1 / RESAMPLES)))
    return Difference(gap, float(low), float(high), p, "paired bootstrap over images, one seed")


SUITE_OF = {"ID": "id", "OOD": "ood", "Adv": "adv", "NatAdv": "natural_adv", "ZS": "zeroshot"}
SUITES_OF = {name: (suite,) for name, suite in SUITE_OF.items()} | {
    "HM": ("id", "ood", "adv"), "OOD'": ("ood", "zeroshot"), "Adv'": ("adv", "natural_adv"),
    "HM'": ("id", "ood", "zeroshot", "adv", "natural_adv"),
}  # fmt: skip
Key = tuple[str, str]


def _counted(accuracies: Sequence[Accuracy]) -> dict[Key, Accuracy]:
    """What the columns are made of: clean accuracies, and the attack of ``Adv``."""
    found = [a for a in accuracies if a.attack is None] + headline_attack(accuracies)
    return {(a.suite, a.data): a for a in found}


def _paired_cells(a: Sequence[Accuracy], b: Sequence[Accuracy], suites: Sequence[str]) -> dict[Key, np.ndarray] | str:
    """Counts (both, only a, only b, neither) for each data set of the suites, or why they cannot be paired."""
    ours, theirs = ({k: v for k, v in _counted(some).items() if k[0] in suites} for some in (a, b))
    if ours.keys() != theirs.keys():
        return "data sets are not the same"
    cells = {}
    for key, mine in ours.items():
        if not mine.paired_with(theirs[key]):
            return "images are not the same"
        try:
            x, y = mine.right(), theirs[key].right()
        except RecordError:  # totals only, as of one part of an attack
            return f"{mine.attack_name or key[1]} has a total, no outcome for each image"
        cells[key] = np.array([(x & y).sum(), (x & ~y).sum(), (~x & y).sum(), (~x & ~y).sum()])
    return cells


def _column(shares: Mapping[Key, np.ndarray], column: str) -> np.ndarray:
    """A column from accuracies of its data sets, for every draw."""

    def suite(name: str) -> np.ndarray:
        return np.mean([value for (kind, _), value in shares.items() if kind == SUITE_OF[name]], axis=0)

    def harmonic(parts: Sequence[np.ndarray]) -> np.ndarray:
        stacked = np.stack(parts)
        with np.errstate(divide="ignore"):
            return np.where((stacked > 0).all(0), len(parts) / (1 / stacked).sum(0), 0.0)

    paper = {"OOD'": ("OOD", "ZS"), "Adv'": ("Adv", "NatAdv")}
    if column in paper:
        return np.mean([suite(name) for name in paper[column]], axis=0)
    if column == "HM":
        return harmonic([suite("ID"), suite("OOD"), suite("Adv")])
    if column == "HM'":
        return harmonic([suite("ID"), _column(shares, "OOD'"), _column(shares, "Adv'")])
    return suite(column)
