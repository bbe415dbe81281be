"""Every number of the chosen runs, to be set against any other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app import compare, costs, store
from app.kept import kept, kept_of_runs
from app.logs import Lines
from app.measured import OWN, alike
from app.shell import Choice
from app.store import Entry, settings
from grace_geom.plots.weight_names import weight_name
from grace_geom.records import Finding, numbers
from grace_geom.records.numbers import Datum, Numbers, Quantity

GROUPS = ("accuracy", "data set", *OWN, "cost", "setting", "training")
"""In the order of the lists."""


@dataclass(frozen=True)
class Catalogue:
    """What is known of the chosen runs.

    Attributes:
        quantities: By key, in the order of the lists.
        values: Key -> run -> number.
        settings: Name -> run -> what a setting says, as people write it; only those that differ.
    """

    quantities: Mapping[str, Quantity]
    values: Mapping[str, Mapping[str, Datum]]
    settings: Mapping[str, Mapping[str, float | str]]

    def pairs(self, x: str, y: str) -> dict[str, tuple[Datum, Datum]]:
        """Both numbers of each run that has them."""
        known, other = self.values.get(x, {}), self.values.get(y, {})
        return {run: (known[run], other[run]) for run in known if run in other}

    def first(self, *patterns: str) -> str:
        """The first key that matches one of the patterns as a whole, of the earliest pattern that
        two runs have a number for; else ``""``.
        """
        for pattern in patterns:
            for key, known in self.values.items():
                if len(known) > 1 and re.fullmatch(pattern, key):
                    return key
        return ""


def catalogue(choice: Choice, matrices: bool = False) -> Catalogue:
    """Numbers of every chosen run, or of each mean over seeds in its place.

    Findings count that agree with the baseline's in every setting of their analysis and are of the
    checkpoint that was evaluated.

    Args:
        choice: Of this session.
        matrices: Whether numbers of each matrix of weights are wanted too.
    """
    found = {name: alike(choice, name, arrays=False) for name in OWN}
    own = {
        run.id: _Own(
            tuple(f[run.id] for f in found.values() if run.id in f),
            store.lines(run, "metrics"),
            costs.passes(run, choice.root),
            costs.seconds(run),
        )
        for entry in choice.compared
        for run in entry.members or (entry,)
    }
    return kept(_catalogue, choice.compared, own, matrices)


@dataclass(frozen=True)
class _Own:
    """What is known of one run beside its accuracies and settings.

    Attributes:
        findings: Of analyses.
        log: Of the training.
        passes, seconds: What a step cost.
    """

    findings: tuple[Finding, ...]
    log: Lines
    passes: float | None
    seconds: float | None


def _catalogue(compared: Sequence[Entry], own: Mapping[str, _Own], matrices: bool) -> Catalogue:
    each: dict[str, Numbers] = {}
    for entry in compared:
        members = [_of_run(run, own[run.id], matrices) for run in entry.members or (entry,)]
        joined = numbers.of_columns(entry.estimates, len(members)) | numbers.of_sets(
            entry.accuracies
        )
        each[entry.id] = joined | _over(members, joined)
    values: dict[str, dict[str, Datum]] = {}
    quantities: dict[str, Quantity] = {}
    for run, known in each.items():
        for quantity, datum in known.items():
            quantities.setdefault(quantity.key, quantity)
            values.setdefault(quantity.key, {})[run] = datum
    ordered = sorted(quantities.values(), key=_place)
    return Catalogue(
        {q.key: _of_weights(q) for q in ordered},
        {q.key: values[q.key] for q in ordered},
        _settings(compared),
    )


def _of_weights(quantity: Quantity) -> Quantity:
    """A number of one matrix of weights with that matrix' name for people."""
    weight = quantity.key.rpartition("/")[2]
    if not weight.startswith("visual.") or not quantity.title.endswith(weight):
        return quantity
    return replace(quantity, title=quantity.title.removesuffix(weight) + weight_name(weight))


def _of_run(run: Entry, own: _Own, matrices: bool) -> Numbers:
    """All numbers of one run but its accuracies."""
    known = numbers.of_settings(settings(run)) | kept_of_runs(_logged, own.log)
    known |= numbers.of_costs(own.passes, own.seconds)
    for finding in own.findings:
        known |= kept_of_runs(numbers.of_finding, finding, matrices)
    return known


def _logged(log: Lines) -> Numbers:
    return numbers.of_log(log.rows)


def _over(members: list[Numbers], known: Numbers) -> Numbers:
    """Means over those seeds that have a number."""
    names = dict.fromkeys(q for numbers_of in members for q in numbers_of if q not in known)
    return {q: numbers.over_runs([m[q] for m in members if q in m]) for q in names}


def _place(quantity: Quantity) -> tuple[int, int, list[tuple[int, float, str]]]:
    """Groups in order, columns of the summary in theirs, the rest by name with 2 before 10."""
    group = GROUPS.index(quantity.group) if quantity.group in GROUPS else len(GROUPS)
    columns = ("HM", "ID", "OOD", "Adv", "HM'", "ZS", "NatAdv", "OOD'", "Adv'")
    rank = columns.index(quantity.key) if quantity.key in columns else len(columns)
    parts = re.split(r"(\d+(?:\.\d+)?)", quantity.key)
    return group, rank, [
        (0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)
    ]  # fmt: skip


def _settings(compared: Sequence[Entry]) -> dict[str, dict[str, float | str]]:
    """Settings in which the chosen runs differ; of a mean over seeds those of its first run."""
    firsts = {entry.id: (entry.members or (entry,))[0] for entry in compared}
    known = compare.differing(list(firsts.values()))
    found: dict[str, dict[str, float | str]] = {}
    for run, first in firsts.items():
        for name, value in known.get(first.id, {}).items():
            found.setdefault(name, {})[run] = _plain(name, value)
    return found


def _plain(name: str, value: object) -> float | str:
    """Numbers as numbers, everything else as it is written."""
    said = compare.written(name, value)
    plain = isinstance(value, int | float) and not isinstance(value, bool) and said == str(value)
    return value if plain else said  # type: ignore[return-value]


def without_attack(entry: Entry) -> bool:
    """Whether its method trains on clean images only: its settings have no radius."""
    known = settings((entry.members or (entry,))[0])
    return bool(known) and "eps" not in known
