"""What the sidebar says, in the link: a copy shows the same thing tomorrow, and the browser's Back
button undoes a choice.

Controls of a page keep themselves in the link (``bind="query-params"``). Those of the sidebar name
runs, whose labels may change with what lies beside them, so their ids are written here.
"""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

KEYS = ("runs", "baseline", "sets", "find", "over", "colour")
"""What is written, in this order."""

UNDO = """<script>
if (!history.keepsBinds) {
  history.keepsBinds = true;
  const push = history.pushState.bind(history), replace = history.replaceState.bind(history);
  // A control's own change comes as a whole address, and would leave nothing to go back to.
  history.replaceState = (state, title, url) => {
    const own = String(url ?? "").startsWith("http");
    const changed = own && new URL(url).search !== location.search;
    (changed ? push : replace)(state, title, url);
  };
}
</script>"""
"""Streamlit replaces the address at a control's change; so that Back undoes it, it is pushed."""


def to_be_read() -> bool:
    """Whether the link decides now, not the controls: when a session begins, and when somebody went
    back or forward in the browser.
    """
    context = get_script_run_ctx()
    back = context is not None and context.is_history_navigation
    return back or "runs" not in st.session_state


def in_fragment() -> bool:
    """Whether only a fragment is run again, not the page."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


def of(key: str) -> list[str]:
    """Values of a key; none where the link does not have it."""
    return [value for value in st.query_params.get_all(key) if value]


def write(wanted: Mapping[str, Sequence[str]]) -> None:
    """Make the link say this, in one step of the browser's history."""
    now = {key: of(key) for key in KEYS if of(key)}
    new = {key: list(wanted[key]) for key in KEYS if wanted.get(key)}
    if now != new:
        gone: dict[str, list[str]] = {key: [] for key in now if key not in new}
        st.query_params.update(new | gone)  # an empty list leaves the link


def shared() -> dict[str, list[str]]:
    """What a link to another page carries."""
    return {key: of(key) for key in KEYS if of(key)}


def undoable() -> None:
    """Let the Back button undo the controls of pages too."""
    st.html(UNDO, unsafe_allow_javascript=True)
