"""Accuracies of the parts of a data set: those of ImageNet-C by corruption and severity."""

import math
from collections.abc import Iterable, Sequence

from grace_geom.records.accuracy import Accuracy

Levels = dict[str, dict[str, float]]
"""``corruption -> severity -> accuracy``."""


def by_level(found: Sequence[Accuracy]) -> Levels:
    """Accuracy of each part ``NAME/LEVEL`` of a set, averaged over several runs; parts that no
    image was drawn from are absent.
    """
    gathered: dict[str, dict[str, list[float]]] = {}
    for accuracy in found:
        for group in accuracy.groups:
            name, _, level = str(group["name"]).rpartition("/")
            gathered.setdefault(name, {}).setdefault(level, []).append(float(group["accuracy"]))
    return {
        name: {level: mean(some) for level, some in sorted(levels.items())}
        for name, levels in gathered.items()
    }


def over_levels(levels: Levels) -> dict[str, float]:
    """Mean over severities of each corruption."""
    return {name: mean(some.values()) for name, some in levels.items()}


def mean_corruption(levels: Levels) -> float:
    """Mean corruption accuracy: over corruptions, of the means over severities; each counts the
    same.
    """
    return mean(over_levels(levels).values())


def mean(numbers: Iterable[float]) -> float:
    """NaN of none."""
    some = list(numbers)
    return math.fsum(some) / len(some) if some else math.nan
