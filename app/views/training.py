"""Is it going well?"""

import time
from functools import partial

import pandas as pd
import streamlit as st

from app import logged, mirror, shell, show, store, studying, verdict
from app.kept import kept_of_logs, kept_of_runs
from app.progress import RunProgress, duration, progress
from app.shell import Choice, text
from grace_geom.plots import training

REFRESH = 5.0
MOST_STALLED = 5  # commands that are written out for stalled runs
WIDTH = 460  # of a column of panels: two beside each other on a laptop, one on a phone
Found = dict[str, tuple[RunProgress, store.Lines]]


def main() -> None:
    """A verdict, then every logged number; again and again while a run is being written."""
    choice = shell.page("Is it going well?")
    if mirrored := mirror.of_root(choice.root):
        studying.draw(mirrored)
    live = any(state.state == "running" for state, _ in states(choice).values())
    st.fragment(page, run_every=REFRESH if live else None)(choice, live)


def states(choice: Choice) -> Found:
    """Where each chosen run stands, with its records."""
    found = {}
    for entry in choice.runs:
        records, written = store.log(entry, "metrics")
        silent = time.time() - written if written else 0.0
        found[entry.id] = progress(records.rows, store.settings(entry), silent), records
    return found


@shell.noticing("training_notices")  # its answer and notices are drawn again with the fragment
def page(choice: Choice, live: bool) -> None:
    """Everything that changes while a run is being written; ``live``: whether one was when the page
    was opened.
    """
    found = states(choice)
    if live and not any(state.state == "running" for state, _ in found.values()):
        st.rerun()  # the last one has ended: once more as a page that does not look again
    trends, checks, attacked = verdicts(found)
    names = {run: text(choice.names[run]) for run in found}
    where = {run: state.ends for run, (state, _) in found.items()}
    shell.answer(verdict.sentence(names, where, trends, checks, attacked))
    logs = {run: found[run][1] for run in drawn(choice, found) if found[run][1].rows}
    view = controls()
    show.legend(list(logs), choice.legend)
    with st.container(horizontal=True, gap="medium"):
        for heading, keys in kept_of_logs(logged.groups, logs).items():
            with st.container(width=WIDTH, gap="small"):
                st.header(heading, anchor=False)
                panel(choice, logs, heading, keys, view)
    status(choice, found, trends, checks)
    stalled(choice, found)
    remarks(choice, found, logs)


def verdicts(found: Found) -> tuple[dict[str, verdict.Trend], dict[str, verdict.HeldOut], bool]:
    """How the loss of each trained run ends; best and last check of held-out images; whether those
    were under attack.
    """
    logs = {r: log for r, (s, log) in found.items() if log.rows and s.state != "untrained"}
    attacked = any(kept_of_runs(logged.checked, log, "val_acc_pgd") for log in logs.values())
    key = "val_acc_pgd" if attacked else "val_acc"
    held = {run: kept_of_runs(logged.held, log, key) for run, log in logs.items()}
    checks = {run: each for run, each in held.items() if each}
    return {r: kept_of_runs(logged.trend, log) for r, log in logs.items()}, checks, attacked


def controls() -> training.View:
    """What the figures stand against, how smooth they are, and their axes."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        along = st.segmented_control(
            "Against",
            list(training.ALONG),
            format_func=lambda key: training.ALONG[key],
            key="training_against",
            default="step",
            required=True,
            bind="query-params",
        )
        smoothing = st.slider(
            "Smoothing", 0.0, 0.99, 0.6, 0.01, key="training_smoothing", width=240,
            bind="query-params",
            help="Weight of the past in an exponential moving average that is not pulled to zero "
            f"at its start. Faint: as logged. Lines of up to {training.FEW} numbers stay as they "
            "are.",
        )  # fmt: skip
        log = st.toggle(
            "Logarithmic", key="training_log", bind="query-params",
            help="Axes of losses, norms, rates and speeds that are all above 0.",
        )  # fmt: skip
    return training.View(along, smoothing, log)


def drawn(choice: Choice, found: Found) -> list[str]:
    """Runs with a line: all of them where they are few, else one seed of each, and those being
    written; never more than can be told apart.
    """
    if len(choice.runs) <= shell.MOST_AT_FIRST:
        return list(found)
    one_each = {e.id for e in choice.single}
    first = [run for run, (state, _) in found.items() if state.state == "running"]
    runs = [*first, *(run for run in found if run in one_each and run not in first)]
    kept = set(runs[: 2 * shell.MOST_AT_FIRST])
    st.caption(
        f"{len(kept)} of {len(found)} runs have a line: those being written, then one seed of "
        "each. The table names all."
    )
    return [run for run in found if run in kept]


def panel(
    choice: Choice, logs: logged.Logs, heading: str, keys: list[str], view: training.View,
) -> None:  # fmt: skip
    """The logged numbers of one heading below each other."""
    known = kept_of_logs(logged.points, logs, keys, view.along)
    many = sum(len(at) for of_runs in known.values() for at, _ in of_runs.values())
    along = training.ALONG[view.along].lower()
    smoothed = (
        f"Lines: moving average, weight {view.smoothing:g}; faint: as logged."
        if view.smoothing
        else "As logged, not smoothed."
    )
    meanings = [
        f"**{training.title(key).split(':')[0]}**: {training.MEANINGS[key]}."
        for key in keys if key in training.MEANINGS
    ]  # fmt: skip
    show.figure(
        kept_of_logs(logged.stack, logs, choice.legend, keys, view),
        f"training-{heading.split()[0].lower()}",
        f"{heading} against {along}, one line a run: {', '.join(map(training.title, keys))}",
        "  \n".join([f"{smoothed} {many} records.", *meanings]),
        partial(logged.table, known, view.along),
        f"No run has logged both {heading.lower()} and {along}.",
    )


def status(
    choice: Choice,
    found: Found,
    trends: dict[str, verdict.Trend],
    checks: dict[str, verdict.HeldOut],
) -> None:
    """A row for each run: where it stands, and what its verdict is based on."""
    st.header("Where each run stands", anchor=False)
    rows = []
    for run, (state, records) in found.items():
        speed, seconds = kept_of_runs(logged.pace, records)
        trained = seconds if state.step else None
        rows.append(
            {
                "run": choice.names[run], "state": state.state,
                "step": f"{state.step} of {state.total}" if state.total else str(state.step),
                "trained for": duration(trained), "ends in": duration(state.left),
                "images a second": "" if speed is None else f"{speed:.1f}",
                **_of_trend(trends.get(run)), **_of_checks(checks.get(run)),
                "lines not readable": str(records.broken) if records.broken else "",
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    frame = frame[[name for name in frame if frame[name].any()]]
    st.dataframe(frame, hide_index=True, alt="State of the chosen runs")
    st.caption(
        "Loss: mean over the last fifth of the log, at least 4 records, and its change from as many "
        "before with Welch's 95 % interval, as if records were independent. Held out: best and last "
        "check (every `--eval-every` steps, under PGD with `--val-pgd`); the change with Newcombe's "
        "interval, widened for all checks that could have been the best."
    )


def _of_trend(trend: verdict.Trend | None) -> dict[str, str]:
    if trend is None or trend.n < verdict.LEAST:
        return {"loss": trend.kind if trend and trend.kind == "broken" else "", "change": ""}
    ends = f"{trend.change:+.2g} [{trend.low:+.2g}, {trend.high:+.2g}]".replace("-", "\u2212")
    return {"loss": f"{trend.last:.3g}, {trend.kind}", "change": ends}


def _of_checks(held: verdict.HeldOut | None) -> dict[str, str]:
    if held is None:
        return {"held out: best": "", "last": "", "change (points)": ""}
    low, change, high = (100 * x for x in (held.low, held.change, held.high))
    return {
        "held out: best": f"{100 * held.best:.1f} % at step {held.best_step}",
        "last": f"{100 * held.last:.1f} % of {held.n}, {held.checks} checks",
        "change (points)": f"{change:+.1f} [{low:+.1f}, {high:+.1f}]" if change else "0",
    }


def stalled(choice: Choice, found: Found) -> None:
    """How to go on with runs that write no more; of many, the first few."""
    runs = [run for run, (state, _) in found.items() if state.state == "stalled"]
    if not runs:
        return
    silent = min(found[run][0].silent for run in runs)
    st.warning(
        f"{len(runs)} {'runs have' if len(runs) > 1 else 'run has'} stalled: no record for "
        f"{duration(silent)} or longer. Where its process is gone, this goes on from its newest "
        "checkpoint:"
    )
    commands = [
        f"python -m grace_geom.train --config "
        f"{shell.quoted(choice.known[run].path / 'config.yaml')} --resume"
        for run in runs[:MOST_STALLED]
    ]
    st.code("\n".join(commands), language="bash", wrap_lines=True)
    if len(runs) > MOST_STALLED:
        st.caption(f"And {len(runs) - MOST_STALLED} more: see the table.")


def remarks(choice: Choice, found: Found, logs: logged.Logs) -> None:
    """What of the logs the figures do not show, and that the page looks again."""
    said = [line for run in logs if (line := left_out(text(choice.names[run]), found[run][1]))]
    if any(state.state == "running" for state, _ in found.values()):
        said.insert(
            0, f"A run is being written: this page looks again every {REFRESH:.0f} seconds."
        )
    if said:
        st.caption("  \n".join(said))


def left_out(name: str, log: store.Lines) -> str:
    """What of a log has no point in the figures; empty where nothing is left out."""
    said = []
    if log.total > len(log.rows):
        said.append(f"{len(log.rows)} of {log.total} records are drawn, evenly spaced")
    if log.skipped:
        said.append(f"the first {log.skipped / 2**20:.0f} MiB of its log are not read")
    if log.odd:
        each = ", ".join(f"{shell.inline(key)} {count}" for key, count in log.odd.items())
        said.append(f"values that are NaN or infinite have no point ({each})")
    return f"{name}: {'; '.join(said)}." if said else ""


main()
