"""What a setting is in most runs, and which runs have another: for sixty runs as for six."""

from collections.abc import Mapping, Sequence

from app.shell import inline, text
from grace_geom.plots.variants import LONG, MOST, cut
from grace_geom.records.printed import MISSING

MOST_NAMED = 5
"""Runs of one value that are named."""
MOST_VALUES = 6
"""Values that are told."""
JOINER = "\u2060"
"""Keeps a line from ending here, and takes no room."""
NO_MAJORITY = "no majority"


def grouped(values: Mapping[str, str | None], names: Mapping[str, str]) -> tuple[str, str]:
    """A setting by its values, in Markdown.

    Args:
        values: Run -> what the setting says; ``None`` for a run without it.
        names: Run -> name.

    Returns:
        The value that most runs have with how many these are, and of how many where it is half of
        them at most; ``no majority`` where another value has as many. Then every other value with
        the runs that have it.
    """
    runs: dict[str | None, list[str]] = {}
    for run, value in values.items():
        runs.setdefault(value, []).append(run)
    ordered = sorted(runs, key=lambda value: -len(runs[value]))
    most, others = NO_MAJORITY, ordered
    counts = [len(runs[value]) for value in ordered]
    if len(counts) == 1 or counts[0] > counts[1]:
        of = "" if 2 * counts[0] > len(values) else f"\u00a0of\u00a0{len(values)}"
        most, others = f"{_written(ordered[0])}\u00a0({counts[0]}{of})", ordered[1:]
    elif len(ordered) == len(values) > MOST_VALUES:
        return NO_MAJORITY, f"another in each of {len(values)} runs"
    said = [f"**{_written(value)}**: {listed(runs[value], names)}" for value in others]
    more = len(said) - MOST_VALUES
    if more > 1:
        said = [*said[:MOST_VALUES], f"and {more} more values"]
    return most, "; ".join(said)


def _written(value: str | None) -> str:
    return MISSING if value is None else inline(cut(value, MOST))


def alone(
    settings: Mapping[str, Mapping[str, str | None]],
) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Settings that less than half of the runs have, all with one value, such as the options of a
    method: runs that have them -> name and value of each.
    """
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for name, values in settings.items():
        known = {run: value for run, value in values.items() if value is not None}
        if 2 * len(known) < len(values) and len(set(known.values())) == 1:
            value = next(iter(known.values()))
            found.setdefault(tuple(known), []).append((name, _written(value)))
    return found


def in_names(methods: Mapping[str, str | None], names: Mapping[str, str]) -> bool:
    """Whether every run's name begins with its method, so that a list of methods says no more."""
    return all(names[run].startswith(method or "\0") for run, method in methods.items())


def listed(runs: Sequence[str], names: Mapping[str, str]) -> str:
    """Names of runs, of many the first ones."""
    more = len(runs) - MOST_NAMED
    if more < 2:
        return ", ".join(_whole(names[run]) for run in runs)
    return f"{', '.join(_whole(names[run]) for run in runs[:MOST_NAMED])} and {more} more"


def _whole(name: str) -> str:
    """A name in Markdown, a short one without an end of line at its hyphens."""
    said = text(name)
    return said if len(name) > LONG else said.replace("\\-", f"\\-{JOINER}")
