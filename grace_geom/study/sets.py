"""Numbers of single data sets, attacks and corruptions of a method, mean over its seeds: only where
every seed has them, as a mean over fewer would stand beside others that are over all.
"""

from collections.abc import Callable, Mapping, Sequence

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
"""The name of the column that an accuracy belongs to; empty for none."""
Question = tuple[str, str, str]
"""A column: suite, data set, and every setting of the attack, whatever the name says of them."""


def set_of(suite: str) -> Kind:
    """Clean accuracies of a suite, by data set."""
    return lambda a: a.data if a.suite == suite and a.attack is None else ""


def whole_attack(a: Accuracy) -> str:
    """Attacks of several parts, by name; ``Adv`` is their first part. As there, adversarial images
    of another checkpoint do not count.
    """
    if a.suite != "adv" or a.attack is None or a.transferred or len(a.attack["parts"]) < 2:
        return ""
    return attack_text(a.attack)


def in_parts(a: Accuracy) -> str:
    """Sets that have parts, by name."""
    return a.data if a.groups and a.attack is None else ""


def set_estimate(row: Row, suite: str, data: str) -> Estimate | None:
    """One data set's accuracy: Wilson for one seed, over seeds and images for several; ``None``
    where a seed lacks it.
    """
    found = (some for (_, name, _), some in _complete(row, set_of(suite)).items() if name == data)
    return mean_accuracy(next(found, []))


def suite_estimates(rows: Sequence[Row]) -> list[dict[str, Estimate]]:
    """For each row the accuracy under every part of attacks that have several, by the attack."""
    names = column_names(rows, whole_attack)
    return [
        {
            names[q]: e
            for q, some in _complete(row, whole_attack).items()
            if (e := mean_accuracy(some))
        }
        for row in rows
    ]


def corruption_levels(rows: Sequence[Row]) -> list[dict[str, Levels]]:
    """For each row set -> corruption -> severity -> accuracy, mean over seeds, of the sets that
    have parts.
    """
    names = column_names(rows, in_parts)
    return [
        {names[q]: by_level(some) for q, some in _complete(row, in_parts).items()} for row in rows
    ]


def lacking(rows: Sequence[Row], kind: Kind) -> list[str]:
    """A sentence for each row and column that only some seeds have, to stand below the table."""
    names = column_names(rows, kind)
    return [
        f"{row.label}: {names[question]} was measured on {len(by_seed)} of {len(row.seeds)} seeds, "
        "which make no mean."
        for row in rows
        for question, by_seed in _by_seed(row, kind).items()
        if len(by_seed) < len(row.seeds)
    ]


def column_names(rows: Sequence[Row], kind: Kind) -> dict[Question, str]:
    """What each column of a table is called: the short name, and where several have it as much more
    as tells them apart.
    """
    short: dict[str, dict[Question, Accuracy]] = {}
    for row in rows:
        for by_seed in _by_seed(row, kind).values():
            a = next(iter(by_seed.values()))
            short.setdefault(kind(a), {})[a.question] = a
    return {q: name for one, some in short.items() for q, name in _told_apart(one, some).items()}


def _told_apart(short: str, some: Mapping[Question, Accuracy]) -> dict[Question, str]:
    if len(some) == 1:
        return dict.fromkeys(some, short)
    whole = {q: attack_text(a.attack, "all") for q, a in some.items()}
    for names in (
        {q: f"{a.data}: {short}" for q, a in some.items()},
        {q: f"{a.suite}: {short}" for q, a in some.items()},
        whole,
        {q: f"{a.data}: {whole[q]}" for q, a in some.items()},
    ):
        if len(set(names.values())) == len(some):
            return names
    # settings that the words leave out
    return {q: f"{some[q].data}: {whole[q]} ({i})" for i, q in enumerate(sorted(some), 1)}


def _complete(row: Row, kind: Kind) -> dict[Question, list[Accuracy]]:
    return {
        question: list(by_seed.values())
        for question, by_seed in _by_seed(row, kind).items()
        if len(by_seed) == len(row.seeds)
    }


def _by_seed(row: Row, kind: Kind) -> dict[Question, dict[int, Accuracy]]:
    """Column -> seed -> the accuracy that counts."""
    found: dict[Question, dict[int, Accuracy]] = {}
    for seed, record in row.seeds.items():
        for a in strongest(record.accuracies):
            if kind(a):
                found.setdefault(a.question, {})[seed] = a
    return found
