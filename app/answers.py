"""The sentences that answer the questions of the pages: those of the analyses, which reports share,
and what only the dashboard says.
"""

from collections.abc import Mapping
from typing import Any

from app.paired import ahead
from app.shell import Choice, text
from app.store import Entry, settings
from grace_geom.plots.answers import Names
from grace_geom.plots.answers import curvature as curvature
from grace_geom.plots.answers import landscape as landscape
from grace_geom.plots.answers import most_curved as most_curved
from grace_geom.plots.answers import representation as representation
from grace_geom.plots.answers import robustness as robustness
from grace_geom.plots.answers import sharpness as sharpness
from grace_geom.plots.answers import weights as weights
from grace_geom.plots.answers import without_gap as without_gap
from grace_geom.records import titles

MOST_KEYS = 2
"""Settings that a sentence names where there are more; the table below it has all of them."""


def bold(names: Mapping[str, str]) -> Names:
    """Names of runs for a sentence."""
    return {run: f"**{text(name)}**" for run, name in names.items()}


def unmeasured(analysis: str) -> str:
    """Where there is nothing to answer from."""
    what = titles.analysis(analysis)
    return f"{what[:1].upper()}{what[1:]} has not been measured; the command below does it."


def identity(
    choice: Choice, entry: Entry, other: Entry | None, differ: Mapping[str, Mapping[str, Any]]
) -> str:
    """What a run is, how well it did, and in which settings it differs from another."""
    plain, names = settings(entry), bold(choice.names)
    facts = {"data": plain.get("data"), "model": plain.get("model"), "seed": entry.recorded_seed}
    known = ", ".join(f"{key} {text(str(v))}" for key, v in facts.items() if v not in (None, ""))
    said = f"{names[entry.id]} is {text(entry.method or 'of an unknown method')}"
    said += f" ({known})" if known else ""
    columns = {c: e for c in ("ID", "OOD", "Adv") if (e := entry.estimates.get(c)) is not None}
    if columns:
        each = ", ".join(
            f"{c} {100 * e.value:.1f} % {text(f'[{100 * e.low:.1f}, {100 * e.high:.1f}]')}"
            for c, e in columns.items()
        )
        said += f" with {each}"
    if other:
        held = ahead(entry, other, columns)
        said += f"; against {names[other.id]}, {held}" if held else ""
        keys = list(dict.fromkeys(key for run in (entry, other) for key in differ[run.id]))
        named = keys[:MOST_KEYS] if len(keys) > MOST_KEYS + 1 else keys
        most = ", ".join(text(titles.setting(key)) for key in named)
        more = f" and {len(keys) - len(named)} more" if len(keys) > len(named) else ""
        said += (
            f"; it differs {'' if held else f'from {names[other.id]} '}in {most}{more}"
            if keys
            else f"; no setting on record differs from those of {names[other.id]}"
        )
    return f"{said}."
