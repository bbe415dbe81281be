"""Numbers of single data sets, attacks and corruptions of a method, mean over its seeds: only where
every seed has them, as a mean over fewer would stand beside others that are over all.
"""

from collections.abc import Callable, Sequence

from grace_geom.records import (
    Accuracy,
    Estimate,
    Levels,
    attack_text,
    by_level,
    mean_accuracy,
    strongest,
)
from grace_geom.study.rows import Row

Kind = Callable[[Accuracy], str]
"""The column that an accuracy belongs to; empty for none."""


def set_of(suite: str) -> Kind:
    """Clean accuracies of a suite, by data set."""
    return lambda a: a.data if a.suite == suite and a.attack is None else ""


def whole_attack(a: Accuracy) -> str:
    """Attacks of several parts, by name; ``Adv`` is their first part."""
    several = a.suite == "adv" and a.attack and len(a.attack["parts"]) > 1
    return attack_text(a.attack) if several else ""


def in_parts(a: Accuracy) -> str:
    """Sets that have parts, by name."""
    return a.data if a.groups and a.attack is None else ""


def set_estimate(row: Row, suite: str, data: str) -> Estimate | None:
    """One data set's accuracy: Wilson for one seed, over seeds and images for several; ``None``
    where a seed lacks it.
    """
    return mean_accuracy(_complete(row, set_of(suite)).get(data, []))


def suite_estimates(row: Row) -> dict[str, Estimate]:
    """Accuracy under every part of attacks that have several, by the attack's name."""
    found = sorted(_complete(row, whole_attack).items())
    return {name: e for name, some in found if (e := mean_accuracy(some)) is not None}


def corruption_levels(row: Row) -> dict[str, Levels]:
    """Set -> corruption -> severity -> accuracy, mean over seeds, of the sets that have parts."""
    return {data: by_level(some) for data, some in _complete(row, in_parts).items()}


def lacking(rows: Sequence[Row], kind: Kind) -> list[str]:
    """A sentence for each row and column that only some seeds have, to stand below the table."""
    return [
        f"{row.label}: {name} was measured on {len(by_seed)} of {len(row.seeds)} seeds, which make "
        "no mean."
        for row in rows
        for name, by_seed in _by_seed(row, kind).items()
        if len(by_seed) < len(row.seeds)
    ]


def _complete(row: Row, kind: Kind) -> dict[str, list[Accuracy]]:
    return {
        name: [a for some in by_seed.values() for a in some]
        for name, by_seed in _by_seed(row, kind).items()
        if len(by_seed) == len(row.seeds)
    }


def _by_seed(row: Row, kind: Kind) -> dict[str, dict[int, list[Accuracy]]]:
    """Column -> seed -> the accuracies that count."""
    found: dict[str, dict[int, list[Accuracy]]] = {}
    for seed, record in row.seeds.items():
        for a in strongest(record.accuracies):
            if name := kind(a):
                found.setdefault(name, {}).setdefault(seed, []).append(a)
    return found
