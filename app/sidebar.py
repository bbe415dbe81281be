"""The sidebar: which runs are found, chosen, taken together and compared with what."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app import annotate, colouring, compare, finding, link, mirror, natural, seeds, shell, store
from app.kept import kept
from app.shell import Choice, notice, text
from app.store import Entry, settings
from grace_geom.plots.legend import short_names
from grace_geom.plots.palette import GROUNDS
from grace_geom.plots.variants import Shortened, Variant, of_folder, shortened, too_long
from grace_geom.records import questions

LOOKS_AGAIN = 10.0
"""Seconds between two looks at the folder of runs."""


def sidebar(root: Path) -> Choice | None:
    """Let people choose runs, means, baseline, colours and distributions; keep the choice in the
    link. ``None`` where there is no run.
    """
    seen = store.listing_stamp(root)
    found = _listing(root, seen)
    known = found.entries
    mirrored = mirror.of_root(root)
    not_looked_into([*found.problems, *(mirrored.problems if mirrored else ())])
    with st.sidebar:
        _watch(root, seen)
    if not known:
        return None
    if link.to_be_read():
        _read_link(known)
    st.session_state["runs"] = [run for run in st.session_state["runs"] if run in known]
    with st.sidebar:
        chosen = [known[run] for run in st.session_state["runs"]]
        every = {**names_of(known.values()), **called(chosen).names}
        there = finding.find(known)
        runs = _runs(known, there, every)
        entries = tuple(known[run] for run in runs)
        compared, remarks = _means(entries)
        found_names = called([*entries, *compared])
        names = found_names.names
        if found_names.said:
            st.caption(text(found_names.said))
        baseline = _baseline(compared, names)
        ground = GROUNDS["dark" if st.context.theme.type == "dark" else "light"]
        colors = colouring.control([*entries, *compared], ground)
        sets = _distributions(entries)
        if mirrored is None:  # a store is only read
            annotate.several(root, entries)
        where = f"in {text(mirrored.store.url)}" if mirrored else f"below {text(str(root))}"
        st.caption(f"{len(known)} run{'s' if len(known) > 1 else ''} {where}")
        link.undoable()
    _write_link(runs, baseline, sets)
    base = next((e for e in compared if e.id == baseline), None)
    entries, compared = _drawn(entries, compared, base)
    legend = kept(shell.legend_of, entries, compared, names, ground, colors)
    legend = replace(legend, said=found_names.said)
    return Choice(root, entries, compared, legend, base, known, frozenset(sets), tuple(remarks))


@st.cache_resource(max_entries=2, show_spinner=False)
def _listing(root: Path, stamp: str) -> store.Listing:
    """``stamp`` is there so that a changed folder is read again."""
    return store.listing(root)


@st.fragment(run_every=LOOKS_AGAIN)
def _watch(root: Path, seen: str) -> None:
    """Draw the page again when something came below the root, and only then."""
    if mirrored := mirror.of_root(root):
        mirrored.look()
    if link.in_fragment() and store.listing_stamp(root) != seen:
        st.rerun()


def not_looked_into(sentences: Sequence[str]) -> None:
    """Folders that may hold runs, and why nobody knows."""
    for sentence in sentences[: shell.MOST_TOLD]:
        notice(f"Not looked into: {text(sentence)}")
    if len(sentences) > shell.MOST_TOLD:
        notice(f"{len(sentences) - shell.MOST_TOLD} more folders could not be looked into.")


def names_of(entries: Iterable[Entry]) -> dict[str, str]:
    """What runs are called: the name that people gave, else the folder's, else the path to it;
    no two alike.
    """
    listed = list({e.id: e for e in entries}.values())
    plain = short_names([e.id for e in listed])
    given = {e.id: e.notes.name for e in listed if e.notes.name}
    taken = [*given.values(), *(name for run, name in plain.items() if run not in given)]
    return plain | {
        run: name if taken.count(name) == 1 else f"{name} ({plain[run]})"
        for run, name in given.items()
    }


def called(entries: Sequence[Entry]) -> Shortened:
    """What the chosen runs are called: variants of a method by what differs between them."""
    names = names_of(entries)
    if not too_long(names.values()):  # no settings need be read
        return Shortened(names)
    found = {e.id: None if e.notes.name else variant(e) for e in entries}
    return shortened(found, names)


def variant(entry: Entry) -> Variant | None:
    """What the name of a run says, read with its settings; ``None`` for a name of another kind."""
    first = (entry.members or (entry,))[0]
    return of_folder(entry.id.rpartition("/")[2], entry.method, settings(first))


def _runs(known: Mapping[str, Entry], there: Sequence[str], every: Mapping[str, str]) -> list[str]:
    """The control: what was found can be chosen, and what is chosen stays."""
    options = sorted({*there, *st.session_state["runs"]}, key=natural.key)
    found: list[str] = st.multiselect(
        "Runs",
        options,
        key="runs",
        format_func=lambda run: every.get(run, run),
        filter_mode="contains",
        help="Called by their folder, or by the path to it where two folders have the same name; "
        "by the name that you gave them.",
    )
    return found


def _means(entries: tuple[Entry, ...]) -> tuple[tuple[Entry, ...], list[str]]:
    """Means in the place of runs, where there are some and they are wanted."""
    differ = {key for e in compare.differing(entries).values() for key in e} - {"method"}
    options = ["seed", *sorted(differ - {"seed"}, key=natural.key)]
    kept = [key for key in st.session_state.get("over", ["seed"]) if key in options]
    st.session_state["over"] = kept
    over = st.multiselect(
        "Means over",
        options,
        key="over",
        filter_mode="contains",
        placeholder="Nothing: each run",
        help="Runs that differ in nothing but these settings become one point with an interval "
        "over them; over seeds, runs NAME-s0, NAME-s1, ... Pages that draw single runs show the "
        "lowest seed of each.",
    )
    return seeds.grouped(entries, tuple(over))


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
        filter_mode="contains", help="Differences are to this run.",
    )  # fmt: skip
    return found


def _distributions(entries: Sequence[Entry]) -> list[str]:
    there = distributions(entries)
    st.session_state["sets"] = [k for k in st.session_state.get("sets", []) if k in there]
    found: list[str] = st.multiselect(
        "Distributions",
        list(there),
        key="sets",
        format_func=lambda name: there.get(name, name),
        filter_mode="contains",
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


def _drawn(
    entries: tuple[Entry, ...], compared: tuple[Entry, ...], base: Entry | None
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """The first of very many, with the baseline: a page of 200 lines shows nothing."""
    most = shell.MOST_DRAWN
    if len(compared) <= most:
        return entries, compared
    kept = [e for e in compared if e is not base][: most - (base is not None)]
    ids = {e.id for e in kept} | ({base.id} if base is not None else set())
    drawn = tuple(e for e in compared if e.id in ids)
    here = {run.id for e in drawn for run in e.members or (e,)}
    notice(
        f"{len(compared)} runs or means are chosen; the first {most} are drawn. Find fewer of "
        "them in the sidebar, or take means."
    )
    return tuple(e for e in entries if e.id in here), drawn


def _read_link(known: Mapping[str, Entry]) -> None:
    """What the link says, else the newest folder."""
    named = link.of("runs")
    st.session_state["runs"] = [run for run in named if run in known] or newest(known)
    st.session_state["sets"] = link.of("sets")
    each = link.of("over") == [NONE] or link.of("seeds") == ["each"]  # `seeds`: links of before
    st.session_state["over"] = [] if each else link.of("over") or ["seed"]
    st.session_state["find"] = (link.of("find") or [""])[-1]
    for key in ("baseline", "colour"):
        if value := link.of(key):
            st.session_state[key] = value[-1]
        else:
            st.session_state.pop(key, None)
    if strangers := [run for run in named if run not in known]:
        notice("The link names runs that are not here: " + ", ".join(text(s) for s in strangers))


NONE = "none"
"""In a link: means over nothing."""


def _write_link(runs: Sequence[str], baseline: str | None, sets: Sequence[str]) -> None:
    """Explicit ids of runs, and what differs from how a page is shown without a link."""
    over = st.session_state["over"]
    colour, find = st.session_state.get("colour"), st.session_state["find"].strip()
    link.write(
        {
            "runs": runs,
            "baseline": [baseline] if baseline else [],
            "sets": sets,
            "find": [find] if find else [],
            "over": [] if over == ["seed"] else over or [NONE],
            "colour": [colour] if colour not in (None, colouring.METHOD) else [],
        }
    )


def newest(known: Mapping[str, Entry]) -> list[str]:
    """Runs of the folder in which something was evaluated last (trials of learning rates and hidden
    runs are not).

    Where there are too many for one figure even as means over seeds, one run of each method, its
    lowest seed: a method must not win by having more runs.
    """
    seen = [e for e in known.values() if not e.notes.hidden] or list(known.values())
    evaluated = [e for e in seen if e.evaluation] or seen
    folder = max(evaluated, key=lambda e: e.changed).folder
    there = [e for e in seen if e.folder == folder]
    if (
        len({seeds.family(e) for e in there}) > shell.MOST_AT_FIRST
        or len(there) > shell.MOST_RUNS_AT_FIRST
    ):
        ordered = sorted(there, key=lambda e: (e.evaluation is None, e.seed, e.id), reverse=True)
        there = list({e.method or e.id: e for e in ordered}.values())[-shell.MOST_AT_FIRST :]
    return sorted((e.id for e in there), key=natural.key)


def default_baseline(entries: Sequence[Entry]) -> str | None:
    """The zero-shot run, else plain fine-tuning, else the first run that was evaluated."""
    for wanted in ("zero-shot", "ft"):
        for entry in entries:
            if entry.method == wanted and entry.evaluation:
                return entry.id
    return next((e.id for e in entries if e.evaluation), entries[0].id if entries else None)
