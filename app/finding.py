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
    runs = {run: facts.facts(e) for run, e in known.items()}
    there = list(runs)
    try:
        terms = query.parse(asked)
        there = query.matching(terms, runs)
        if not query.asks_for(terms, HIDDEN):
            there = [run for run in there if not known[run].notes.hidden]
    except QueryError as error:
        st.warning(text(str(error)))
        asked = ""
    _built(runs)
    if asked.strip():
        _offer(there, len(known))
    elif hidden := sum(e.notes.hidden for e in known.values()):
        st.caption(f"{hidden} hidden; tag:{HIDDEN} finds them.")
    return there


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


def _built(runs: Mapping[str, Mapping[str, object]]) -> None:
    """A setting and its values by clicking: adds a term to the query."""
    with st.popover("Filter by a setting", width="stretch", key="find_build"):
        named = dict.fromkeys(key for known in runs.values() for key in known)
        keys = [k for k in FIRST if k in named] + sorted(
            (k for k in named if k not in FIRST and k not in ("id", "name", "note")),
            key=natural.key,
        )
        field = st.selectbox("Setting", keys, key="find_field", filter_mode="contains")
        values = {v for known in runs.values() for v in _values(known.get(field))}
        chosen = st.multiselect(
            "Values", sorted(values, key=natural.key)[:MOST_VALUES], key="find_values",
            filter_mode="contains", accept_new_options=True,
        )  # fmt: skip

        def add() -> None:
            term = query.written(field, ",".join(map(str, chosen)))
            st.session_state["find"] = f"{st.session_state['find']} {term}".strip()
            st.session_state["find_values"] = []

        st.button("Add to the query", key="find_add", on_click=add, disabled=not chosen)


def _values(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return []
    many = value if isinstance(value, (list, tuple)) else [value]
    return [str(one) for one in many if one is not None and len(str(one)) <= 80]
