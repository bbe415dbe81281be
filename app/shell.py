"""What every page shares: the choice that the sidebar made, and how names are written."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from app import head, seeds, store
from app.head import answer as answer  # pages call it shell.answer
from app.head import notice as notice
from app.head import noticing as noticing
from app.store import Entry
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import Ground

MOST_AT_FIRST = 12
"""Rows of a table or lines of a figure before anybody has chosen."""
MOST_RUNS_AT_FIRST = 60
MOST_DRAWN = 60
"""Runs, or means, that are drawn at once, however many are chosen."""
MOST_TOLD = 20
"""Notices of one kind."""


@dataclass(frozen=True)
class Choice:
    """What the pages draw.

    Attributes:
        root: Folder of runs.
        runs: The chosen runs.
        compared: The same, or means over seeds in their place.
        legend: Name and look of each run and each mean.
        baseline: What the others are compared with, of ``compared``; ``None`` where no run is
            chosen.
        known: Every run below the root.
        sets: Chosen distributions; none for all of them.
        remarks: Which runs could not be taken together as seeds, and why.
    """

    root: Path
    runs: tuple[Entry, ...]
    compared: tuple[Entry, ...]
    legend: Legend
    baseline: Entry | None
    known: Mapping[str, Entry]
    sets: frozenset[str]
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> Mapping[str, str]:
        """How each run and each mean is called."""
        return self.legend.names

    @property
    def ground(self) -> Ground:
        """Light or dark."""
        return self.legend.ground

    @property
    def single(self) -> tuple[Entry, ...]:
        """For pages that draw single runs: of a mean over seeds, the run with the lowest seed."""
        return tuple(map(stands_for, self.compared))

    @property
    def base_run(self) -> Entry | None:
        """The baseline as a single run."""
        known = zip(self.compared, self.single, strict=True)
        return next((run for e, run in known if self.baseline and e.id == self.baseline.id), None)

    def keeps(self, distribution: str) -> bool:
        """Whether a distribution (``id``, the name of a set, ``adv``) is to be drawn."""
        return not self.sets or distribution.removeprefix("clean-") in self.sets


def chosen() -> Choice:
    """The choice of this session, made by the sidebar before the page is drawn."""
    choice: Choice = st.session_state["choice"]
    return choice


def page(title: str) -> Choice:
    """The head of a page: its question, and what of the chosen runs could not be read. Returns the
    choice.
    """
    choice = chosen()
    head.title(title)
    problems(choice.runs)
    return choice


def text(raw: str) -> str:
    """A name for Markdown: nothing in it is formatted, linked, set as maths or read as HTML."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])", r"\\\1", store.readable(raw))


def called(name: str) -> str:
    """The name of a run in a sentence in Markdown: set apart, since it may be a word such as
    *at*.
    """
    return f"**{text(name)}**"


def inline(raw: object) -> str:
    """What a record says, inside of a sentence in Markdown: as it is written."""
    return re.sub(r"([\\`*_\[\]<>~$:&])", r"\\\1", store.readable(str(raw)))


def quoted(path: Path) -> str:
    """A path for a shell: quoted where needed, with ``$'\\xff'`` for what no text can show."""
    raw = str(path)
    shown = store.readable(raw)
    if shown == raw:
        return shlex.quote(raw)
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(raw)
    )
    return f"$'{escaped}'"


def stands_for(entry: Entry) -> Entry:
    """Of a mean over seeds, the run that is drawn where only single runs are."""
    return min(entry.members, key=lambda run: run.seed) if entry.members else entry


def legend_of(
    runs: Sequence[Entry],
    compared: Sequence[Entry],
    names: Mapping[str, str],
    ground: Ground,
    colors: Mapping[str, str] | None = None,
) -> Legend:
    """Looks by recorded method and seed; the run that stands for a mean looks like the mean.

    Args:
        runs: Single runs.
        compared: The same, or means in their place.
        names: What each is called.
        ground: Light or dark.
        colors: Colours that take the place of the methods', by run; markers and dashes stay.
    """
    who = {
        e.id: Identity(e.method, seeds.family(e).rpartition("/")[2], e.recorded_seed)
        for e in (*compared, *runs)
    }
    same = {stands_for(e).id: e.id for e in compared if e.members}
    found = Legend.of(who, names, ground, same)
    if not colors:
        return found
    looks = {
        run: replace(look, color=colors.get(run, look.color)) for run, look in found.looks.items()
    }
    return replace(found, looks=looks)


def problems(entries: Sequence[Entry]) -> None:
    """Name what could not be read; the rest of the page is drawn without it."""
    found = [(e.id, problem) for e in entries for problem in e.problems]
    found += [
        (e.id, "config.yaml: not readable as settings") for e in entries if store.settings_broken(e)
    ]
    for run, problem in found[:MOST_TOLD]:
        notice(f"Left out because it cannot be read: **{text(run)}**: {text(problem)}")
    if len(found) > MOST_TOLD:
        notice(f"{len(found) - MOST_TOLD} more files cannot be read.")
