"""Exactly what is this?"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app import annotate, answers, compare, glance, head, mirror, shell, show, store, tables, widths
from app.kept import kept
from app.shell import Choice, text
from app.store import Entry
from grace_geom.plots import accuracies as plots
from grace_geom.plots.accuracies import SUITE_TITLES
from grace_geom.records import Accuracy, attack_said, convention_notes, questions, shown, titles
from grace_geom.records.printed import Cell, Figure, Printed

# On a narrow page both controls share a row, so that the figure is in sight; on a wide one the
# figure and the facts do.
LOOK = (
    "@media(max-width:1100px){.st-key-run,.st-key-run_beside{flex:0 0 calc(50% - .5rem)!important}}"
    ".st-key-run-top>[data-testid=stLayoutWrapper]:has(>.st-key-run-figure)"
    "{flex:3 1 min(480px,100%)!important}"
    ".st-key-run-top>[data-testid=stLayoutWrapper]:has(>.st-key-run-facts)"
    "{flex:1 1 min(270px,100%)!important}"
)


OWN_HEAD = "the checkpoint's head"  # as records have it
DIGITS = 12  # of a SHA-256 that are shown


def main() -> None:
    """One run: what it is, how it differs from another, command, accuracies, settings, files."""
    choice = shell.chosen()
    head.title("Exactly what is this?")
    ids = [e.id for e in choice.runs]
    st.html(f"<style>{LOOK}</style>")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run = chosen_run(choice, "Run", "run", ids)
        others = [name for name in ids if name != run]
        base = choice.base_run.id if choice.base_run else ""
        first = [base] if base in others else []
        beside = chosen_run(choice, "Beside", "run_beside", [*first, *others]) if others else ""
    entry = choice.known[run]
    other = choice.known.get(beside)
    shell.problems([entry])
    differ = compare.differing([entry, other]) if other else {}
    plain = store.settings(entry)
    shell.answer(answers.identity(choice, entry, other, differ))
    with st.container(horizontal=True, gap="medium", key="run-top"):
        with st.container(width=480, gap="small", key="run-figure"):
            drawn(choice, [entry, other] if other else [entry])
        with st.container(width=270, gap="small", key="run-facts"):
            glance.draw(entry, other, choice.names[beside] if other else "")
    if other:
        difference(choice, (entry, other), differ)
    again(entry, plain)
    accuracies(entry)
    files(entry)
    if mirror.of_root(choice.root) is None:  # a store is only read
        st.header("Name, tags and note", anchor=False)
        annotate.one(choice.root, entry)
    with st.expander("All settings, versions and machine", key="run_all"):
        configuration(plain)
        where(entry, plain)


def chosen_run(choice: Choice, label: str, key: str, ids: list[str]) -> str:
    """One of the runs, the first at first; its id stays in the URL, whatever it is called."""
    options = list(dict.fromkeys(ids))
    if st.session_state.get(key) not in options:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in options else options[0]
    run: str = st.selectbox(
        label, options, key=key, filter_mode="contains", width=320,
        format_func=lambda name: choice.names[name],
    )  # fmt: skip
    st.query_params[key] = run
    return run


def drawn(choice: Choice, entries: Sequence[Entry]) -> None:
    """Accuracy of the run, and of the one beside it, on every data set."""
    asked = {e.id: questions(e.accuracies) for e in entries if e.accuracies}
    keys = plots.data_sets(asked.values(), tuple(SUITE_TITLES))
    if not keys:
        return  # the section on accuracies says how to get some
    show.legend(list(asked), choice.legend, lines=False)
    show.figure(
        kept(plots.dots, asked, choice.legend, keys), "run-accuracies",
        "Dot plot of the accuracy on every data set, one marker a run",
        compare.how_measured([e for e in entries if e.accuracies], tuple(SUITE_TITLES)),
        lambda: pd.DataFrame([
            {"run": run, "suite": key[0], "data": key[1], "accuracy": e.value, "low": e.low,
             "high": e.high}
            for run, known in asked.items() for key, a in known.items() if (e := shown(a))
        ]),
    )  # fmt: skip


def difference(
    choice: Choice, both: tuple[Entry, Entry], differ: dict[str, dict[str, Any]]
) -> None:
    """Settings in which two runs differ, side by side."""
    names = [choice.names[e.id] for e in both]
    keys = dict.fromkeys(key for e in both for key in differ[e.id])
    rows = [
        {"setting": titles.setting(key)}
        | {name: _value(differ[e.id], key) for name, e in zip(names, both, strict=True)}
        | {"key": key}
        for key in keys
    ]
    if not rows:
        return
    st.header("Settings that differ", anchor=False)
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, height="content" if len(rows) < 16 else "auto",
        alt=f"Settings in which {names[0]} and {names[1]} differ",
    )  # fmt: skip
    if said := widths.further(Printed([*rows[0]], [[*row.values()] for row in rows])):
        st.html(said)
    st.caption("–: the run has no such setting, or it has no effect.")


def _value(plain: dict[str, Any], key: str) -> str:
    return compare.told(key, plain[key]) if key in plain else "–"


def again(entry: Entry, plain: dict[str, Any]) -> None:
    """The command that makes the run again."""
    st.header("Make it again", anchor=False)
    if not plain:
        st.info("config.yaml is missing or cannot be read.")
        return
    config, out = entry.path / "config.yaml", Path(f"{entry.path}-again")
    command = f"python -m grace_geom.train --config {shell.quoted(config)} --out "
    st.code(command + shell.quoted(out), language="bash", wrap_lines=True)


def accuracies(entry: Entry) -> None:
    """Every accuracy, with what was asked."""
    st.header("Accuracies", anchor=False)
    if not entry.accuracies:
        st.info("Not evaluated yet. This does it:")
        st.code(f"python -m grace_geom.evaluate {shell.quoted(entry.path)}", language="bash")
        return
    told = sorted({a.head for a in entry.accuracies})  # without heads of old records, said once
    usual = OWN_HEAD if OWN_HEAD in told and "" not in told else ""
    heads = ["data", "accuracy (%)", "correct", "measured with", "in commands", "notes"]
    rows: list[list[Cell]] = [
        [plots.row_title(a.suite, a.data),
         Figure(100 * e.value, 100 * e.low, 100 * e.high, whole=True), f"{a.correct} of {a.n}",
         how(a, usual), a.spec, " ".join((*a.notes, *convention_notes([a])))]
        for a in entry.accuracies if (e := shown(a))
    ]  # fmt: skip
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    table = Printed(heads, rows)
    tables.draw(table, "Every accuracy of this run")
    other = "" if told == [usual] else ", where no other head is named"
    st.caption(
        "With Wilson's 95 % intervals." + (f" Classified with {usual}{other}." if usual else "")
    )


def how(a: Accuracy, usual: str = "") -> str:
    """The attack, and what classified unless that is the usual head."""
    parts = attack_said(a.attack) if a.attack else "", a.head if a.head != usual else ""
    return "; ".join(part for part in parts if part) or "clean images"


def configuration(plain: dict[str, Any]) -> None:
    """Every setting."""
    rows = [
        {"setting": titles.setting(key), "value": compare.told(key, value), "key": key}
        for key, value in plain.items()
        if key != "provenance"
    ]
    if rows:
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, alt="Every setting of this run", height=320
        )


def where(entry: Entry, plain: dict[str, Any]) -> None:
    """Versions and machine of training, and of evaluation."""
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
    st.header("Files", anchor=False)
    rows: list[dict[str, Any]] = [
        {
            "file": store.readable(path.relative_to(entry.path).as_posix()),
            "size": size,
            "SHA-256": store.digest(path),
        }
        for path, size in files_of(entry)
    ]
    looks: dict[Any, Any] = {"size": in_bytes, "SHA-256": lambda digest: digest[:DIGITS]}
    shown = pd.DataFrame(rows, columns=["file", "size", "SHA-256"]).style.format(looks)
    st.dataframe(shown, hide_index=True, alt="Files of this run")
    st.caption(f"SHA-256: the first {DIGITS} digits; the tables to download have all 64.")
    table = Printed(
        ["file", "size in bytes", "SHA-256"],
        [[row["file"], str(row["size"]), row["SHA-256"]] for row in rows],
    )
    tables.downloads(table, "files", "table-files")
    if entry.evaluation and entry.evaluation.checkpoint:
        st.caption(evaluated(entry.evaluation.checkpoint, rows))


def in_bytes(size: float) -> str:
    """``23.2 MB``."""
    unit, *larger = "B", "kB", "MB", "GB", "TB"
    while size >= 1000 and larger:
        size, unit = size / 1000, larger.pop(0)
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def files_of(entry: Entry, most: int = 500) -> list[tuple[Path, int]]:
    """Files of a run and their bytes, hidden ones left out, as far as they can be looked at."""
    found: list[tuple[Path, int]] = []
    for folder, inner, names in os.walk(entry.path):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names, key=os.fsencode):
            path = Path(folder, name)
            if name.startswith(".") or not store.own_file(entry, str(path.relative_to(entry.path))):
                continue
            found.append((path, store.stamp(path)[2]))
        if len(found) >= most:
            break
    return found[:most]


def evaluated(sha256: str, rows: list[dict[str, Any]]) -> str:
    """Which of the files the accuracies are of; of large ones no digest is known."""
    same = [text(row["file"]) for row in rows if row["SHA-256"] == sha256]
    said = f"The accuracies are of a checkpoint with SHA-256 {shell.inline(sha256)}"
    if same:
        return f"{said}: {', '.join(same)}."
    unknown = any(row["file"].endswith(".pt") and not row["SHA-256"] for row in rows)
    return f"{said}{'' if unknown else ', which is none of these files'}."


main()
