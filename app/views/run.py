"""Exactly what is this?"""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app import annotate, compare, head, shell, store
from app.shell import Choice, text
from app.store import Entry
from grace_geom.plots.accuracies import SUITE_TITLES
from grace_geom.records import attack_text, convention_notes, shown


def main() -> None:
    """One run: identity, command, accuracies, settings, versions, files."""
    choice = shell.chosen()
    head.title("Exactly what is this?")
    ids = [e.id for e in choice.runs]
    if st.session_state.get("run") not in ids:
        asked = st.query_params.get("run")
        st.session_state["run"] = asked if asked in ids else ids[0]
    run = st.selectbox("Run", ids, key="run", format_func=lambda name: choice.names[name])
    st.query_params["run"] = run
    entry = choice.known[run]
    shell.problems([entry])
    plain = store.settings(entry)
    again(choice, entry, plain)
    accuracies(entry)
    difference(choice, entry)
    configuration(plain)
    where(entry, plain)
    files(entry)
    st.subheader("Name, tags and note", anchor=False)
    annotate.one(choice.root, entry)


def again(choice: Choice, entry: Entry, plain: dict[str, Any]) -> None:
    """Identity, and the command that makes the run again."""
    checkpoint = entry.evaluation.checkpoint if entry.evaluation else ""
    facts = {
        "method": entry.method,
        "data": plain.get("data"),
        "model": plain.get("model"),
        "seed": plain.get("seed"),
    }
    st.markdown(
        " · ".join(
            f"{key} **{text(str(value))}**"
            for key, value in facts.items()
            if value not in (None, "")
        )
    )
    if checkpoint:
        st.caption(f"evaluated checkpoint: SHA-256 {shell.inline(checkpoint)}")
    if plain:
        st.markdown("The command that makes it again:")
        config, again = entry.path / "config.yaml", Path(f"{entry.path}-again")
        command = f"python -m grace_geom.train --config {shell.quoted(config)} --out "
        st.code(command + shell.quoted(again), language="bash", wrap_lines=True)


def accuracies(entry: Entry) -> None:
    """Every accuracy, with what was asked."""
    st.subheader("Accuracies", anchor=False)
    if not entry.accuracies:
        st.info("Not evaluated yet. This does it:")
        st.code(f"python -m grace_geom.evaluate {shell.quoted(entry.path)}", language="bash")
        return
    rows = [
        {"suite": SUITE_TITLES.get(a.suite, a.suite), "data": a.spec,
         "attack": attack_text(a.attack), "n": a.n,
         "correct": a.correct, "accuracy": 100 * e.value, "95 % low": 100 * e.low,
         "95 % high": 100 * e.high, "head": a.head,
         "notes": " ".join((*a.notes, *convention_notes([a])))}
        for a in entry.accuracies if (e := shown(a))
    ]  # fmt: skip
    shares = ("accuracy", "95 % low", "95 % high")
    percent = {name: st.column_config.NumberColumn(name, format="%.1f") for name in shares}
    frame = pd.DataFrame(rows)
    frame = frame[[name for name in frame if name not in ("attack", "notes") or frame[name].any()]]
    wide = {name: st.column_config.TextColumn(name, width="medium") for name in ("attack", "head")}
    st.dataframe(
        frame,
        hide_index=True,
        column_config=percent | wide,
        alt="Every accuracy of this run",
        height="content",
    )
    st.caption("In percent, with Wilson's 95 % intervals.")


def difference(choice: Choice, entry: Entry) -> None:
    """Settings in which it differs from the baseline."""
    base = choice.baseline
    if base is None or base.id == entry.id:
        return
    st.subheader(f"Settings that differ from {text(choice.names[base.id])}", anchor=False)
    other = compare.differing([entry, base])
    keys = dict.fromkeys([*other[entry.id], *other[base.id]])
    both = {choice.names[e.id]: other[e.id] for e in (entry, base)}
    rows = [
        {"setting": key} | {name: _value(plain, key) for name, plain in both.items()}
        for key in keys
    ]
    if rows:
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, alt="Settings that differ from the baseline"
        )
    else:
        st.caption("None that both runs have on record.")


def _value(plain: dict[str, Any], key: str) -> str:
    return str(plain[key]) if key in plain else "–"


def configuration(plain: dict[str, Any]) -> None:
    """Every setting."""
    st.subheader("All settings", anchor=False)
    if not plain:
        st.info("config.yaml is missing or cannot be read.")
        return
    rows = [
        {"setting": key, "value": str(value)} for key, value in plain.items() if key != "provenance"
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Every setting of this run", height=320)


def where(entry: Entry, plain: dict[str, Any]) -> None:
    """Versions and machine of training, and of evaluation."""
    st.subheader("Versions", anchor=False)
    evaluated = entry.evaluation.versions if entry.evaluation else {}
    trained, measured = flat(plain.get("provenance", {})), flat(evaluated)
    rows = [
        {
            "what": key,
            "training": str(trained.get(key, "–")),
            "evaluation": str(measured.get(key, "–")),
        }
        for key in dict.fromkeys([*trained, *measured])
    ]
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Versions and machine", height=320)
    else:
        st.info("No versions on record.")


def flat(plain: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots."""
    if not isinstance(plain, dict):
        return {prefix.rstrip("."): plain} if prefix else {}
    return {
        name: leaf
        for key, value in plain.items()
        for name, leaf in flat(value, f"{prefix}{key}.").items()
    }


def files(entry: Entry) -> None:
    """What lies in the run directory."""
    st.subheader("Files", anchor=False)
    rows = [
        {
            "file": store.readable(path.relative_to(entry.path).as_posix()),
            "KiB": size / 1024,
            "SHA-256": store.digest(path),
        }
        for path, size in store.files_of(entry)
    ]
    form = {"KiB": st.column_config.NumberColumn("KiB", format="%.1f")}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=form, alt="Files of this run")


main()
