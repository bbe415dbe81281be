"""Means over training seeds, or over another setting: runs that differ in nothing else, as one
entry with the interval of a study's table, over runs and images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from app import compare
from app.store import Entry, settings
from grace_geom.plots.accuracies import SUITE_TITLES
from grace_geom.plots.legend import without_seed
from grace_geom.records import COLUMNS, Accuracy, distinct, mean_accuracy, over_seeds, questions

SEED = ("seed",)


def grouped(
    entries: Sequence[Entry], over: Sequence[str] = SEED
) -> tuple[tuple[Entry, ...], list[str]]:
    """Means where there are several runs of a kind; all other runs as they are.

    Runs belong together if they were evaluated on the same images under the same attack and their
    settings differ in ``over`` alone; over seeds, runs ``LABEL-sSEED`` of one folder.

    Args:
        entries: Runs.
        over: Settings over which means are taken; none for the runs as they are.

    Returns:
        Entries in the order of their first runs, and sentences that say which runs were not taken
        together, and why.
    """
    found, remarks = _grouped(tuple(entries), tuple(over))
    return found, list(remarks)


@lru_cache(maxsize=64)
def _grouped(
    entries: tuple[Entry, ...], over: tuple[str, ...]
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    if not over:
        return entries, ()
    labels = _labels(entries, over)
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        families.setdefault(labels[entry.id], []).append(entry)
    found: list[Entry] = []
    remarks: list[str] = []
    for label, members in families.items():
        evaluated, copies = _distinct([e for e in members if e.evaluation], over)
        reason = _apart(evaluated, over)
        remarks += [f"{label}: {copies}"] if copies else []
        if len(evaluated) < 2 or reason:
            found += members
            remarks += [f"{label}: {reason}"] if reason else []
            continue
        found += [_mean(label, evaluated), *(e for e in members if e not in evaluated)]
    return tuple(found), tuple(remarks)


def family(entry: Entry) -> str:
    """``demo/grace-s2`` -> ``demo/grace``; the id itself where the name says no seed."""
    return without_seed(entry.id)


def _labels(entries: Sequence[Entry], over: Sequence[str]) -> dict[str, str]:
    """Run -> what the mean that it belongs to is called: by its name where only seeds differ, else
    by its method and the settings that tell the means of a method apart.
    """
    if tuple(over) == SEED:
        return {e.id: family(e) for e in entries}
    kinds: dict[str, list[Entry]] = {}
    for e in entries:
        kinds.setdefault(f"{e.folder}/{e.method or e.id}".lstrip("/"), []).append(e)
    labels = {}
    for kind, members in kinds.items():
        apart = compare.differing(members)
        for e in members:
            fixed = [
                f"{key}={compare.written(key, v)}"
                for key, v in apart[e.id].items() if key not in over
            ]  # fmt: skip
            labels[e.id] = " ".join([kind, *fixed])
    return labels


def _distinct(members: Sequence[Entry], over: Sequence[str]) -> tuple[list[Entry], str]:
    """The runs that are trainings of their own, and which are copies, in words. One seed makes two
    runs one training only where nothing but the seed may differ.
    """
    records = {e.id.rpartition("/")[2]: e.evaluation for e in members if e.evaluation}
    if tuple(over) != SEED:
        records = {name: replace(record, seed=None) for name, record in records.items()}
    kept, said = distinct(records)
    return [e for e in members if e.id.rpartition("/")[2] in kept], said


def _apart(members: Sequence[Entry], over: Sequence[str]) -> str:
    """Why runs of one label are not runs of one method; empty where they are."""
    for other in members[1:]:
        if reason := compare.incomparable(members[0], other, tuple(SUITE_TITLES)):
            return reason
    plains = [settings(e) for e in members]
    differ = {key for e in compare.differing(members).values() for key in e} - set(over)
    if all(plains) and differ:
        return f"other {', '.join(sorted(differ))}"
    return ""


def _mean(label: str, members: Sequence[Entry]) -> Entry:
    runs = [e.accuracies for e in members]
    columns = {column: over_seeds(runs, column) for column in COLUMNS}
    first = members[0].evaluation
    assert first is not None  # members were evaluated
    record = replace(
        first, run=label.rpartition("/")[2], seed=None, accuracies=tuple(_accuracies(members))
    )
    changed = max(e.changed for e in members)
    return Entry(label, members[0].path, record, columns, {}, (), changed, tuple(members))


def _accuracies(members: Sequence[Entry]) -> list[Accuracy]:
    asked: list[Mapping[Any, Accuracy]] = [questions(e.accuracies) for e in members]
    found = []
    for key, first in asked[0].items():
        rows = [some[key] for some in asked if key in some]
        if len(rows) == len(members):
            mean = mean_accuracy(rows)
            assert mean is not None  # there are rows
            found.append(
                replace(
                    first,
                    accuracy=mean.value,
                    ci_low=mean.low,
                    ci_high=mean.high,
                    outcomes="",
                    parts=(),
                )
            )
    return found
