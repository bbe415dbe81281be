"""Tags, notes and names that people give to runs: kept in ``notes.yaml`` beside the records."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app.shell import text
from app.store import Entry
from grace_geom.records import HIDDEN, RecordError, RunNotes, inside


def save(root: Path, entry: Entry, notes: RunNotes) -> str:
    """Write the notes of a run; returns why not, ``""`` where it was done.

    Nothing is written through a link that leads out of the folder of runs.
    """
    if not inside(entry.path, root):
        return f"{entry.id}: a link that leads out of the folder of runs: nothing is written there"
    try:
        notes.save(entry.path)
    except RecordError as error:
        return str(error).replace(f"{root}/", "")
    return ""


def several(root: Path, entries: Sequence[Entry]) -> None:
    """Give a tag to all chosen runs, take one away, hide them or show them again."""
    if not entries:
        return
    with st.popover("Tag the chosen runs", width="stretch", key="tag_popover"):
        tag = st.text_input("Tag", key="tag_text", placeholder="final")
        known = sorted({t for e in entries for t in e.notes.tags})
        if known:
            st.caption(f"Tags of these runs: {', '.join(map(text, known))}")
        with st.container(horizontal=True):
            for label, adding in (("Add", True), ("Remove", False)):
                st.button(
                    label, key=f"tag_{label.lower()}", disabled=not tag.strip(),
                    on_click=_tagged, args=(root, entries, tag.strip(), adding),
                )  # fmt: skip
            hidden = all(e.notes.hidden for e in entries)
            st.button(
                "Show again" if hidden else "Hide",
                key="tag_hide",
                on_click=_tagged,
                args=(root, entries, HIDDEN, not hidden),
                help="Hidden runs are left out of the list until a query asks for tag:hidden; "
                "nothing is deleted.",
            )
        for said in st.session_state.pop("tag_refused", []):
            st.warning(text(said))


def _tagged(root: Path, entries: Sequence[Entry], tag: str, adding: bool) -> None:
    refused = []
    for e in entries:
        others = tuple(t for t in e.notes.tags if t != tag)
        try:
            notes = replace(e.notes, tags=(*others, tag) if adding else others)
        except RecordError as error:
            refused.append(str(error))
            break
        if said := save(root, e, notes) if notes != e.notes else "":
            refused.append(said)
    st.session_state["tag_refused"] = refused


def one(root: Path, entry: Entry) -> None:
    """The notes of one run, to be read and changed."""
    with st.form(f"notes-{entry.id}", border=False):
        name = st.text_input(
            "Name for display", entry.notes.name, placeholder=entry.id.rpartition("/")[2],
            key=f"notes-name-{entry.id}",
        )  # fmt: skip
        tags = st.text_input(
            "Tags, with spaces between them", " ".join(entry.notes.tags),
            key=f"notes-tags-{entry.id}",
        )  # fmt: skip
        note = st.text_area("Note", entry.notes.note, key=f"notes-text-{entry.id}")
        if not st.form_submit_button("Save"):
            return
    try:
        said = save(root, entry, RunNotes(tuple(dict.fromkeys(tags.split())), note, name.strip()))
    except RecordError as error:
        said = str(error)
    if said:
        st.warning(text(said))
    else:
        st.rerun()
