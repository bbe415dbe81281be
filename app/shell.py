"""What every page shares: the choice of runs in the sidebar and in the URL, figures with caption and downloads."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app import store
from app.look import GROUNDS, Ground, labels
from app.store import Entry

MOST_AT_FIRST = 12
"""Runs that are chosen before anybody has chosen."""


@dataclass(frozen=True)
class Choice:
    """What the pages draw.

    Attributes:
        root: Folder of runs.
        runs: The chosen runs.
        names: How each is called on this page.
        baseline: What the others are compared with; ``None`` where no run is chosen.
        known: Every run below the root.
        ground: Light or dark.
    """

    root: Path
    runs: tuple[Entry, ...]
    names: Mapping[str, str]
    baseline: Entry | None
    known: Mapping[str, Entry]
    ground: Ground


def chosen() -> Choice:
    """The choice of this session, made by the sidebar before the page is drawn."""
    choice: Choice = st.session_state["choice"]
    return choice


def text(raw: str) -> str:
    """A name for Markdown: nothing in it is formatted, linked or read as HTML."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])", r"\\\1", raw)


def sidebar(root: Path) -> Choice | None:
    """Let people choose runs and baseline; keep the choice in the URL. ``None`` where there is no run at all."""
    known = _entries(root)
    if not known:
        return None
    strangers = _first_choice(known)
    kept = [run for run in st.session_state["runs"] if run in known]
    if kept != st.session_state["runs"]:
        st.session_state["runs"] = kept
    with st.sidebar:
        every = labels(list(known))
        runs = st.multiselect(
            "Runs", sorted(known), key="runs", format_func=lambda run: every.get(run, run),
            help="Called by their folder, or by the path to it where two folders have the same name.",
        )  # fmt: skip
        names = labels(runs)
        if st.session_state.get("baseline") not in runs:
            st.session_state["baseline"] = default_baseline([known[run] for run in runs])
        baseline = st.selectbox(
            "Baseline", runs, key="baseline", format_func=lambda run: names.get(run, run),
            help="Differences are to this run.",
        )  # fmt: skip
        st.caption(f"{len(known)} run{'s' if len(known) > 1 else ''} below {text(str(root))}")
        if st.button("Look for new runs", help="Reads the folder again."):
            _entries.clear()
            st.rerun()
        if strangers:
            st.warning("The link names runs that are not here: " + ", ".join(text(s) for s in strangers))
    _write_url(runs, baseline)
    entries = tuple(known[run] for run in runs)
    ground = GROUNDS["dark" if st.context.theme.type == "dark" else "light"]
    return Choice(root, entries, names, known.get(baseline or ""), known, ground)


@st.cache_resource(ttl=5, show_spinner=False)
def _entries(root: Path) -> dict[str, Entry]:
    return store.entries(root)


def _first_choice(known: Mapping[str, Entry]) -> list[str]:
    """On the first run of a session: what the URL names, else the newest folder. Returns what the URL names in vain."""
    if "runs" in st.session_state:
        return []
    named = st.query_params.get_all("runs")
    asked = [run for run in named if run in known]
    st.session_state["runs"] = asked or newest(known)
    if st.query_params.get("baseline") in st.session_state["runs"]:
        st.session_state["baseline"] = st.query_params["baseline"]
    return [run for run in named if run not in known]


def newest(known: Mapping[str, Entry]) -> list[str]:
    """Runs of the folder in which something was evaluated last (trials of learning rates are not).

    Where there are many, one run of each method, its lowest seed: a method must not win by having more runs.
    """
    evaluated = [e for e in known.values() if e.evaluation] or list(known.values())
    folder = max(evaluated, key=lambda e: e.changed).folder
    there = [e for e in known.values() if e.folder == folder]
    if len(there) > MOST_AT_FIRST:
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


def _write_url(runs: Sequence[str], baseline: str | None) -> None:
    wanted = {"runs": list(runs)} | ({"baseline": [baseline]} if baseline else {})
    now = {key: st.query_params.get_all(key) for key in ("runs", "baseline") if key in st.query_params}
    if now != wanted:
        kept = {key: st.query_params.get_all(key) for key in st.query_params if key not in wanted}
        st.query_params.from_dict(kept | wanted)


def problems(entries: Sequence[Entry]) -> None:
    """Name what could not be read; the rest of the page is drawn without it."""
    found = [(e.id, problem) for e in entries for problem in e.problems]
    found += [(e.id, "config.yaml: not readable as settings") for e in entries if store.settings_broken(e)]
    if found:
        rows = "\n".join(f"- **{text(run)}**: {text(problem)}" for run, problem in found)
        st.warning(f"Left out because {'they' if len(found) > 1 else 'it'} cannot be read:\n\n{rows}")


def figure(fig: go.Figure | None, key: str, alt: str, caption: str, table: pd.DataFrame, none: str = "") -> None:
    """A figure with its caption, its numbers as CSV, itself as a page that needs no network; or why there is none."""
    if fig is None:
        if none:
            st.info(none)
        return
    config = {"displaylogo": False, "toImageButtonOptions": {"filename": key, "scale": 2}, "displayModeBar": "hover"}
    st.plotly_chart(fig, theme=None, key=f"figure-{key}", config=config, alt=alt)
    st.caption(caption)
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Data (CSV)", lambda: table.to_csv(index=False), f"{key}.csv", "text/csv", key=f"csv-{key}",
            on_click="ignore", type="tertiary",
        )  # fmt: skip
        st.download_button(
            "Figure (HTML)", lambda: _page(fig), f"{key}.html", "text/html", key=f"html-{key}", on_click="ignore",
            type="tertiary", help="One file that opens without a network. The camera above the figure saves a PNG.",
        )  # fmt: skip


def _page(fig: go.Figure) -> str:
    copy = go.Figure(fig)
    ground = next((g for g in GROUNDS.values() if g.text == fig.layout.font.color), GROUNDS["light"])
    copy.update_layout(paper_bgcolor=ground.paper)
    return str(copy.to_html(include_plotlyjs=True, full_html=True))
