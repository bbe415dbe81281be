"""Finding runs among many: the query in the sidebar, and a way to build one by clicking."""

from collections.abc import Mapping

import streamlit as st

from app import facts, natural, query
from app.query import QueryError
from app.shell import text
from app.store import Entry
from grace_geom.records import HIDDEN

HELP = """
Words are parts of names. `method=grace,at` is one of these, `data~shapes` has this part,
`eps>4/255`, `lr<=1e-3` and `HM>70` compare numbers, `tag:final` asks for a tag, `-` in front means
not. A run must meet all of them. `tag:hidden` shows hidden runs.
"""
FIRST = ("method", "data", "seed", "tag", "folder", "model")
MOST_VALUES = 200


def find(known: Mapping[str, Entry]) -> list[str]:
    """The control; returns the runs that are meant, hidden ones only where the query asks for them.

    A query that cannot be understood is refused in words, and means every run.
    """
    asked = st.text_input(
        "Find runs", key="find", placeholder="method=grace eps>4/255", help=HELP
    )  # fmt: skip
    there = [run for run, e in known.items() if not e.notes.hidden]
    if asked.strip():  # without a query no settings are read
        there = _meant(asked, known)
    _built(known)
    if asked.strip():
        _offer(there, len(known))
    elif len(there) < len(known):
        st.caption(f"{len(known) - len(there)} hidden; tag:{HIDDEN} finds them.")
    return there


def _meant(asked: str, known: Mapping[str, Entry]) -> list[str]:
    try:
        terms = query.parse(asked)
        there = query.matching(terms, {run: facts.facts(e) for run, e in known.items()})
    except QueryError as error:
        st.warning(text(str(error)))
        return list(known)
    if query.asks_for(terms, HIDDEN):
        return there
    return [run for run in there if not known[run].notes.hidden]


def _offer(there: list[str], of: int) -> None:
    if not there:
        st.caption(f"No run of {of} matches.")
        return
    which = "this run" if len(there) == 1 else f"these {len(there)}"
    st.button(
        f"Show {which} of {of}",
        key="find_choose",
        on_click=lambda: st.session_state.update(runs=sorted(there, key=natural.key)),
        help="Chooses the runs that were found, in the place of those that are chosen now.",
    )


@st.fragment
def _built(known: Mapping[str, Entry]) -> None:
    """A setting and its values by clicking: adds a term to the query."""
    place = st.popover("Filter by a setting", width="stretch", key="find_build", on_change="rerun")
    if not place.open:  # what it offers is read from the settings of every run
        return
    runs = [facts.facts(e) for e in known.values()]
    with place:
        named = dict.fromkeys(key for facts_of in runs for key in facts_of)
        keys = [k for k in FIRST if k in named] + sorted(
            (k for k in named if k not in FIRST and k not in ("id", "name", "note")),
            key=natural.key,
        )
        field = st.selectbox("Setting", keys, key="find_field", filter_mode="contains")
        values = {v for facts_of in runs for v in _values(facts_of.get(field))}
        chosen = st.multiselect(
            "Values", sorted(values, key=natural.key)[:MOST_VALUES], key="find_values",
            filter_mode="contains", accept_new_options=True,
        )  # fmt: skip

        def add() -> None:
            term = query.written(field, ",".join(map(str, chosen)))
            st.session_state["find"] = f"{st.session_state['find']} {term}".strip()
            st.session_state["find_values"] = []

        if st.button("Add to the query", key="find_add", on_click=add, disabled=not chosen):
            st.rerun()


def _values(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return []
    many = value if isinstance(value, (list, tuple)) else [value]
    return [str(one) for one in many if one is not None and len(str(one)) <= 80]
