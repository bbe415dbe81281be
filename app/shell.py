"""What every page shares: the choice in the sidebar and in the URL, and how names are written."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import head, seeds, store
from app.head import answer as answer  # pages call it shell.answer
from app.head import notice as notice
from app.head import noticing as noticing
from app.store import Entry
from grace_geom.plots.legend import Identity, Legend, short_names
from grace_geom.plots.palette import GROUNDS, Ground
from grace_geom.records import questions

MOST_AT_FIRST = 12
"""Rows of a table or lines of a figure before anybody has chosen."""
MOST_RUNS_AT_FIRST = 60
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


def sidebar(root: Path) -> Choice | None:
    """Let people choose runs, baseline, distributions; keep the choice in the URL. ``None`` where
    there is no run.
    """
    found = _listing(root)
    known = found.entries
    if not known:
        not_looked_into(found.problems)
        return None
    strangers = _first_choice(known)
    kept = [run for run in st.session_state["runs"] if run in known]
    if kept != st.session_state["runs"]:
        st.session_state["runs"] = kept
    with st.sidebar:
        every = short_names(known)
        runs = st.multiselect(
            "Runs",
            sorted(known),
            key="runs",
            format_func=lambda run: every.get(run, run),
            help="Called by their folder, or by the path to it where two folders have the same "
            "name.",
        )
        entries = tuple(known[run] for run in runs)
        compared, remarks = _seeds(entries)
        names = short_names(list(dict.fromkeys([*runs, *(e.id for e in compared)])))
        baseline = _baseline(compared, names)
        sets = _distributions(entries)
        st.caption(f"{len(known)} run{'s' if len(known) > 1 else ''} below {text(str(root))}")
        not_looked_into(found.problems)
        if st.button("Look for new runs", help="Reads the folder again."):
            _listing.clear()
            st.rerun()
        if strangers:
            notice(
                "The link names runs that are not here: " + ", ".join(text(s) for s in strangers)
            )
    _write_url(runs, baseline, sets)
    base = next((e for e in compared if e.id == baseline), None)
    ground = GROUNDS["dark" if st.context.theme.type == "dark" else "light"]
    legend = legend_of(entries, compared, names, ground)
    return Choice(root, entries, compared, legend, base, known, frozenset(sets), tuple(remarks))


def stands_for(entry: Entry) -> Entry:
    """Of a mean over seeds, the run that is drawn where only single runs are."""
    return min(entry.members, key=lambda run: run.seed) if entry.members else entry


def legend_of(
    runs: Sequence[Entry], compared: Sequence[Entry], names: Mapping[str, str], ground: Ground
) -> Legend:
    """Looks by recorded method and seed; the run that stands for a mean looks like the mean."""
    who = {
        e.id: Identity(e.method, seeds.family(e).rpartition("/")[2], e.recorded_seed)
        for e in (*compared, *runs)
    }
    same = {stands_for(e).id: e.id for e in compared if e.members}
    return Legend.of(who, names, ground, same)


@st.cache_resource(ttl=5, show_spinner=False)
def _listing(root: Path) -> store.Listing:
    return store.listing(root)


def not_looked_into(sentences: Sequence[str]) -> None:
    """Folders that may hold runs, and why nobody knows."""
    for sentence in sentences[:MOST_TOLD]:
        notice(f"Not looked into: {text(sentence)}")
    if len(sentences) > MOST_TOLD:
        notice(f"{len(sentences) - MOST_TOLD} more folders could not be looked into.")


def _seeds(entries: tuple[Entry, ...]) -> tuple[tuple[Entry, ...], list[str]]:
    """Means over seeds in the place of runs, where there are some and they are wanted."""
    means, remarks = seeds.grouped(entries)
    if not any(e.members for e in means):
        return entries, []
    wanted = st.toggle(
        "Means over seeds",
        key="means",
        help="Runs NAME-s0, NAME-s1, ... that differ in nothing but their seed become one point "
        "with an interval over seeds. Pages that draw single runs show the lowest seed of each.",
    )
    return (means, remarks) if wanted else (entries, [])


def _baseline(compared: Sequence[Entry], names: Mapping[str, str]) -> str | None:
    """The control; a run that is now part of a mean hands its place to that mean, and the other way
    round.
    """
    ids = [e.id for e in compared]
    now = st.session_state.get("baseline")
    if now not in ids:
        close = [
            e.id
            for e in compared
            if now in {m.id for m in e.members} or (now and seeds.family(e) == now)
        ]
        st.session_state["baseline"] = close[0] if close else default_baseline(compared)
    found: str | None = st.selectbox(
        "Baseline", ids, key="baseline", format_func=lambda run: names.get(run, run),
        help="Differences are to this run.",
    )  # fmt: skip
    return found


def _distributions(entries: Sequence[Entry]) -> list[str]:
    there = distributions(entries)
    if "sets" in st.session_state:
        st.session_state["sets"] = [name for name in st.session_state["sets"] if name in there]
    found: list[str] = st.multiselect(
        "Distributions",
        list(there),
        key="sets",
        format_func=lambda name: there.get(name, name),
        placeholder="All",
        help="Which data sets have a row or a panel; none chosen: all of them. Means over sets "
        "(OOD, zero-shot) always take every set.",
    )
    return found


def distributions(entries: Sequence[Entry]) -> dict[str, str]:
    """Names of the distributions that runs were evaluated on, and how they are called."""
    short = {"ood": "shift", "natural_adv": "natural adv.", "zeroshot": "zero-shot"}
    keys = list(dict.fromkeys(key for e in entries for key in questions(e.accuracies)))
    found = {"id": "in distribution", "adv": "under attack"}
    for suite, title in short.items():
        found |= {data: f"{data} ({title})" for of, data in keys if of == suite}
    return found


def _first_choice(known: Mapping[str, Entry]) -> list[str]:
    """On the first run of a session: what the URL names, else the newest folder. Returns what the
    URL names in vain.
    """
    if "runs" in st.session_state:
        return []
    named = st.query_params.get_all("runs")
    asked = [run for run in named if run in known]
    st.session_state["runs"] = asked or newest(known)
    st.session_state["sets"] = st.query_params.get_all("sets")
    st.session_state["means"] = st.query_params.get("seeds") != "each"
    if "baseline" in st.query_params:
        st.session_state["baseline"] = st.query_params["baseline"]
    return [run for run in named if run not in known]


def newest(known: Mapping[str, Entry]) -> list[str]:
    """Runs of the folder in which something was evaluated last (trials of learning rates are not).

    Where there are too many for one figure even as means over seeds, one run of each method, its
    lowest seed: a method must not win by having more runs.
    """
    evaluated = [e for e in known.values() if e.evaluation] or list(known.values())
    folder = max(evaluated, key=lambda e: e.changed).folder
    there = [e for e in known.values() if e.folder == folder]
    if len({seeds.family(e) for e in there}) > MOST_AT_FIRST or len(there) > MOST_RUNS_AT_FIRST:
        ordered = sorted(there, key=lambda e: (e.evaluation is None, e.seed, e.id), reverse=True)
        there = list({e.method or e.id: e for e in ordered}.values())[-MOST_AT_FIRST:]
    return sorted(e.id for e in there)


def default_baseline(entries: Sequence[Entry]) -> str | None:
    """The zero-shot run, else plain fine-tuning, else the first run that was evaluated."""
    for wanted in ("zero-shot", "ft"):
        for entry in entries:
            if entry.method == wanted and entry.evaluation:
                return entry.id
    return next((e.id for e in entries if e.evaluation), entries[0].id if entries else None)


def _write_url(runs: Sequence[str], baseline: str | None, sets: Sequence[str]) -> None:
    """Explicit ids of runs: a link shows the same thing tomorrow."""
    wanted = (
        {"runs": list(runs)}
        | ({"baseline": [baseline]} if baseline else {})
        | ({"sets": list(sets)} if sets else {})
    )
    if "means" in st.session_state and not st.session_state["means"]:
        wanted["seeds"] = ["each"]
    ours = ("runs", "baseline", "sets", "seeds")
    for key in ours:  # one by one: those of other widgets are theirs alone
        if key not in wanted:
            st.query_params.pop(key, None)
        elif st.query_params.get_all(key) != wanted[key]:
            st.query_params[key] = wanted[key]


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
