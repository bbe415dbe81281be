"""The difference of two runs where both answered the same images, or were trained with the same
seeds.

What both runs have in common (hard images, a lucky seed) cancels in a paired difference, so it can
be clear although the two intervals overlap.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from app.store import Entry
from grace_geom.records import Accuracy, image_difference, seeds_difference

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

    @property
    def clear(self) -> bool:
        """Whether the first run is ahead: the test says so, and the interval that is shown
        agrees."""
        return self.p < LEVEL and self.low > 0


@lru_cache(maxsize=4096)
def gap(a: Entry, b: Entry, column: str) -> Gap | None:
    """``a - b`` in a column, paired; ``None`` where the two have nothing to be paired by.

    Two means over the same seeds, or one of them and the zero-shot model, which stands for every
    seed: seed by seed and image by image. Two single runs: image by image. Both are those of the
    tables of a study.
    """
    if a.members or b.members:
        return _over_seeds(a, b, column)
    if a.evaluation is None or b.evaluation is None:
        return None
    found = image_difference(a.accuracies, b.accuracies, column)
    if found is None or math.isnan(found.p):
        return None
    return Gap(found.value, found.low, found.high, found.p, "the same images")


def ahead(a: Entry, b: Entry, columns: Iterable[str]) -> str:
    """In which columns ``a`` is clearly ahead of ``b``, clearly behind, or neither: ``on the same
    images clearly ahead in ID, not clearly apart in Adv``; empty where nothing pairs them.
    """
    groups: dict[str, list[str]] = {}
    same: list[str] = []
    for column in columns:
        over, under = gap(a, b, column), gap(b, a, column)
        if over is None or under is None:
            continue
        same.append(over.on)
        side = "ahead" if over.clear else "behind" if under.clear else "apart"
        how = "not clearly" if side == "apart" else "clearly"
        groups.setdefault(f"{how} {side} in", []).append(column)
    told = ", ".join(f"{side} {_listed(names)}" for side, names in groups.items())
    return f"on {' and '.join(dict.fromkeys(same))} {told}" if told else ""


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def same_kind(a: Entry, b: Entry) -> bool:
    """Whether the intervals of two entries say the same thing: both over seeds, or both over
    images.
    """
    return bool(a.members) == bool(b.members)


def _over_seeds(a: Entry, b: Entry, column: str) -> Gap | None:
    """Over seeds that both were trained with, as in the tables of a study."""
    ours, theirs = _by_seed(a), _by_seed(b)
    if len(ours) < len(a.members) or len(theirs) < len(b.members):
        return None  # means over more than seeds: a seed names no pair
    if not a.members and a.method == "zero-shot" and ours:
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    if not b.members and b.method == "zero-shot" and theirs:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    if ours.keys() != theirs.keys() or len(ours) < 2:
        return None
    found = seeds_difference(list(ours.values()), [theirs[seed] for seed in ours], column)
    if found is None or math.isnan(found.p):
        return None
    return Gap(found.value, found.low, found.high, found.p, f"the same {len(ours)} seeds")


def _by_seed(entry: Entry) -> dict[int, tuple[Accuracy, ...]]:
    return {run.seed: run.accuracies for run in entry.members or (entry,) if run.evaluation}
