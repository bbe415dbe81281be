"""Is it going well?"""

import time

import pandas as pd
import streamlit as st

from app import shell, show, store
from app.progress import RunProgress, duration, progress
from app.shell import Choice, text
from grace_geom.plots import training

REFRESH = 5.0


def main() -> None:
    """State of each run, then every logged number; by itself again and again while a run is being
    written.
    """
    choice = shell.page("Is it going well?")
    live = any(state.state == "running" for state, _ in states(choice).values())
    st.fragment(page, run_every=REFRESH if live else None)(choice, live)


def states(choice: Choice) -> dict[str, tuple[RunProgress, store.Lines]]:
    """Where each chosen run stands, with its records."""
    found = {}
    for entry in choice.runs:
        records = store.lines(entry, "metrics")
        path = store.own_file(entry, "metrics.jsonl")
        written = store.stamp(path)[1] / 1e9 if path else 0.0
        silent = time.time() - written if written else 0.0
        found[entry.id] = progress(records.rows, store.settings(entry), silent), records
    return found


def page(choice: Choice, live: bool) -> None:
    """Everything that changes while a run is being written; ``live``: whether one was when the page
    was opened.
    """
    found = states(choice)
    if live and not any(state.state == "running" for state, _ in found.values()):
        st.rerun()  # the last one has ended: once more as a page that does not look again
    stalled = [run for run, (state, _) in found.items() if state.state == "stalled"]
    for run in stalled:
        state = found[run][0]
        st.warning(
            f"{text(choice.names[run])} has stalled: no record for {duration(state.silent)}, at "
            f"step {state.step}. If its process is gone, this goes on from its newest checkpoint:"
        )
        config = shell.quoted(choice.known[run].path / "config.yaml")
        st.code(f"python -m grace_geom.train --config {config} --resume", language="bash")
    if any(state.state == "running" for state, _ in found.values()):
        st.caption(f"A run is being written: this page looks again every {REFRESH:.0f} seconds.")
    status(choice, found)
    records = {run: found[run][1].rows for run in drawn(choice, found) if found[run][1].rows}
    left_out(choice, {run: found[run][1] for run in records})
    show.legend(list(records), choice.legend)
    for heading, keys in training.groups(records).items():
        st.subheader(heading, anchor=False)
        panels(choice, records, heading, keys)


def drawn(choice: Choice, found: dict[str, tuple[RunProgress, store.Lines]]) -> list[str]:
    """Runs with a line: all of them where they are few, else one seed of each, and those being
    written.
    """
    if len(choice.runs) <= shell.MOST_AT_FIRST:
        return list(found)
    one_each = {e.id for e in choice.single}
    st.caption(
        "One seed of each method is drawn, and every run that is being written; the table names "
        "all."
    )
    return [
        run
        for run, (state, _) in found.items()
        if run in one_each or state.state in ("running", "stalled")
    ]


def left_out(choice: Choice, logs: dict[str, store.Lines]) -> None:
    """What of the logs the figures do not show."""
    for run, log in logs.items():
        name, said = text(choice.names[run]), []
        if log.total > len(log.rows):
            said.append(f"{len(log.rows)} of {log.total} records are drawn, evenly spaced")
        if log.skipped:
            said.append(f"the first {log.skipped / 2**20:.0f} MiB of its log are not read")
        if log.odd:
            each = ", ".join(f"{shell.inline(key)} {count}" for key, count in log.odd.items())
            said.append(f"values that are NaN or infinite have no point ({each})")
        if said:
            st.caption(f"{name}: {'; '.join(said)}.")


def status(choice: Choice, found: dict[str, tuple[RunProgress, store.Lines]]) -> None:
    """A row for each run."""
    rows = []
    for run, (state, records) in found.items():
        speed = training.series(records.rows, "images_per_s")[1]
        seconds = training.series(records.rows, "seconds")[1]
        trained = seconds[-1] if seconds and state.step else None
        rows.append(
            {
                "run": choice.names[run], "state": state.state,
                "step": f"{state.step} of {state.total}" if state.total else str(state.step),
                "trained for": duration(trained), "ends in": duration(state.left),
                "images a second": f"{speed[-1]:.1f}" if speed else "",
                "lines not readable": str(records.broken) if records.broken else "",
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    frame = frame[[name for name in frame if frame[name].any()]]
    st.dataframe(frame, hide_index=True, alt="State of the chosen runs")


def panels(
    choice: Choice, records: dict[str, tuple[dict[str, object], ...]], heading: str, keys: list[str]
) -> None:  # fmt: skip
    """The logged numbers of one heading."""
    figures = {training.title(key): training.training(records, choice.legend, key) for key in keys}
    rows = [
        {"run": run, "step": step, "name": key, "value": value}
        for key in keys for run, some in records.items()
        for step, value in zip(*training.series(some, key), strict=True)
    ]  # fmt: skip
    what = f"{heading.lower()} against the training step, one line a run"
    show.panels(
        {title: fig for title, fig in figures.items() if fig is not None},
        f"training-{heading.split()[0].lower()}",
        what[0].upper() + what[1:],
        f"As logged, not smoothed: {', '.join(map(shell.inline, keys))}. {len(rows)} records.",
        pd.DataFrame(rows),
    )


main()
