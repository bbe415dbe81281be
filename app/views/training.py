"""Is it going well?"""

import time
from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import logged, mirror, shell, show, standing, store, studying, tables, verdict
from app.fade import fading
from app.kept import kept_of_logs, kept_of_runs
from app.progress import RunProgress, duration, progress
from app.shell import Choice, text
from grace_geom.plots import ranges, training
from grace_geom.plots.checks import has_bars

REFRESH = 5.0
MOST_STALLED = 5  # commands that are written out for stalled runs
WIDTH, WIDEST = 440, 640  # of a column of panels: two on a laptop, one on a phone
# Columns share the room of a row; on a phone the choice of the axis fits it, and
# the names of the lines, which stand at their ends too, are one row that scrolls.
LOOK = (
    f"[class*=st-key-training-panels]>[data-testid=stLayoutWrapper]{{flex:1 1 {WIDTH}px!important;"
    f"max-width:{WIDEST}px}}"
    "@media(max-width:640px){[class*=st-key-training-panels]>[data-testid=stLayoutWrapper]"
    "{flex:1 1 100%!important;max-width:100%}"
    ".st-key-training_against button{padding-left:.45rem;padding-right:.45rem}"
    ".st-key-training-legend [role=group]{white-space:nowrap;overflow-y:hidden}}"
    f"{fading('.st-key-training-legend [role=group]')}"
)
AXES = (
    "Axes hold all lines{but} and need not begin at 0. None spans less than a fifth of its largest "
    "number, 10 points of accuracy or 0.05 of a cosine, so that noise does not look like a trend."
)
BUT = (
    " but those named in the corner of a panel (\u2191), which lie more than "
    f"{ranges.APART:g} times above the middle one: choose linear or logarithmic axes for all panels, "
    "under *Smoothing and axes*, to see them too;"
)
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
    view, single = controls(any(e.members for e in choice.compared), at_first(found))
    lines = drawn(choice, found, single)
    logs = {run: found[run][1] for runs in lines.values() for run in runs}
    every = choice.runs if single else choice.compared
    if len(lines) < len(every):
        st.caption(
            f"{len(lines)} of {len(every)} have a line, those that are being written first. The "
            "table names all."
        )
    with st.container(key="training-legend"):
        show.legend(list(lines), choice.legend)
    st.html(f"<style>{LOOK}</style>")
    beyond = panels(choice, logs, lines, view)
    if logs:
        st.caption(AXES.format(but=BUT if beyond else ""))
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


def at_first(found: Found) -> str:
    """What the figures stand against until somebody chooses: shares of the logs where one has more
    than twice the steps of another, or the short ones end far to the left; steps while some are
    being written.
    """
    steps = [state.step for state, _ in found.values() if state.step]
    if not steps or any(writes(found, run) for run in found):
        return "step"
    return "share" if max(steps) > 2 * min(steps) else "step"


def controls(seeds: bool, against: str) -> tuple[training.View, bool]:
    """What the figures stand against, first ``against``, how smooth they are, and their axes;
    whether single runs are drawn where means over ``seeds`` could be.
    """
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        along = st.segmented_control(
            "Against",
            list(training.ALONG),
            format_func=lambda key: training.ALONG[key],
            key="training_against",
            default=against,
            required=True,
            bind="query-params",
            help="Share: of a run's last step on record, which puts runs of unlike lengths over each "
            "other.",
        )
        with st.popover("Smoothing and axes"):
            smoothing = st.slider(
                "Smoothing", 0.0, 0.99, 0.6, 0.01, key="training_smoothing", width=280,
                bind="query-params",
                help="Weight of the past in an exponential moving average that is not pulled to zero "
                f"at its start. Faint: as logged. Lines of up to {training.FEW} numbers stay as they "
                "are.",
            )  # fmt: skip
            scale = st.segmented_control(
                "Axes", list(ranges.SCALES), format_func=ranges.SCALES.__getitem__,
                key="training_axes", default="auto", required=True, bind="query-params",
                help="Logarithmic: losses, norms, rates and speeds that are all above 0. Automatic: "
                f"losses and norms of which the largest is more than {ranges.WIDE:g} times the "
                f"smallest, or one line's median {ranges.APART:g} times another's; what lies as far "
                "above the middle one of many lines is named in the corner of its panel instead.",
            )  # fmt: skip
        single = seeds and st.toggle(
            "Single runs", key="training_single", bind="query-params",
            help="A line for each run in the place of means over seeds.",
        )  # fmt: skip
    return training.View(along, smoothing, scale), single


def drawn(choice: Choice, found: Found, single: bool) -> dict[str, tuple[str, ...]]:
    """What has a line, with the runs that it is the mean of: means where there are some and nobody
    wants single runs. Of too many the first ones, and before them those being written; of single
    runs at most one seed of each.
    """
    logged_ones = {run for run, (_, log) in found.items() if log.rows}
    most = 2 * shell.MOST_AT_FIRST
    if single and len(choice.runs) > most:
        entries = [e for e in choice.runs if e in choice.single or writes(found, e.id)]
    else:
        entries = list(choice.runs if single else choice.compared)
    lines = {
        e.id: known
        for e in entries
        if (known := tuple(m.id for m in e.members or (e,) if m.id in logged_ones))
    }
    ordered = sorted(lines, key=lambda line: not any(writes(found, run) for run in lines[line]))
    kept = set(ordered[:most])
    return {line: runs for line, runs in lines.items() if line in kept}


def writes(found: Found, run: str) -> bool:
    """Whether a run is being written."""
    return found[run][0].state == "running"


def panels(choice: Choice, logs: logged.Logs, lines: logged.Families, view: training.View) -> bool:
    """Every logged number by heading, two headings in a row; the terms of single methods, of which
    there are many, as two columns at the end. Returns whether lines lie beyond an axis.
    """
    found, beyond = kept_of_logs(logged.groups, logs, lines), []
    with st.container(horizontal=True, gap="medium", key="training-panels"):
        for heading, keys in found.items():
            if heading != training.OWN:
                with st.container(width=WIDTH, gap="small"):
                    st.header(heading, anchor=False)
                    beyond.append(panel(choice, logs, lines, (heading, ""), keys, view))
    if own := found.get(training.OWN, []):
        st.header(training.OWN, anchor=False)
        half = (len(own) + 1) // 2
        with st.container(horizontal=True, gap="medium", key="training-panels-own"):
            for part, keys in (("", own[:half]), ("-2", own[half:])):
                with st.container(width=WIDTH, gap="small"):
                    beyond.append(panel(choice, logs, lines, (training.OWN, part), keys, view))
    return any(beyond)


def panel(
    choice: Choice, logs: logged.Logs, lines: logged.Families, where: tuple[str, str],
    keys: list[str], view: training.View,
) -> bool:  # fmt: skip
    """Logged numbers below each other; ``where``: their heading, and which part of it. Returns
    whether lines lie beyond an axis.
    """
    heading, part = where
    known = kept_of_logs(logged.points, logs, keys, view.along)
    many = sum(len(at) for of_runs in known.values() for at, _ in of_runs.values())
    along = training.ALONG[view.along].lower()
    means = any(len(runs) > 1 for runs in lines.values())
    meanings = [
        f"**{training.title(key).split(':')[0]}**: {training.MEANINGS[key]}."
        for key in keys if key in training.MEANINGS
    ]  # fmt: skip
    fig = kept_of_logs(logged.stack, logs, choice.legend, keys, view, lines)
    bars = " Bars: Wilson's 95 % intervals of few checks." if has_bars(fig) else ""
    long = [len(at) > training.FEW for of_runs in known.values() for at, _ in of_runs.values()]
    said = f"{drawn_how(view, lines, long)}{bars} {many} records.{show.coincide({heading: fig})}"
    show.figure(
        fig,
        f"training-{heading.split()[0].lower()}{part}",
        f"{heading} against {along}, one line a {'method' if means else 'run'}: "
        f"{', '.join(map(training.title, keys))}",
        "  \n".join([said, *meanings]),
        partial(logged.table, known, view.along),
        f"No run has logged both {heading.lower()} and {along}.",
    )
    return training.leaves_out(fig)


def drawn_how(view: training.View, lines: logged.Families, long: Sequence[bool]) -> str:
    """What a line, a band and what is faint stand for; ``long``: which lines have numbers enough
    for an average.
    """
    sizes = {min(len(runs), 2) for runs in lines.values()}
    smoothed = view.smoothing > 0 and any(long)
    how = "as logged"
    if smoothed:
        of = "" if all(long) else f", where there are more than {training.FEW} numbers"
        how = f"moving average, weight {view.smoothing:g}{of}"
    said = [f"Lines: {how}"]
    if 2 in sizes:
        said.append(
            "means over seeds where all have numbers; bands: from their lowest to their highest"
        )
    if 1 in sizes and smoothed:
        said.append(f"faint: {'single runs ' if 2 in sizes else ''}as logged")
    return f"{'; '.join(said)}."


def status(
    choice: Choice,
    found: Found,
    trends: dict[str, verdict.Trend],
    checks: dict[str, verdict.HeldOut],
) -> None:
    """A row for each run: where it stands, and what its verdict is based on."""
    st.header("Where each run stands", anchor=False)
    table = standing.standing(choice.names, found, trends, checks)
    colors = {choice.names[run]: choice.legend.looks[run].color for run in found}
    tables.draw(table, "State of the chosen runs", colors, {})
    st.caption(" ".join(table.notes))


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
    said = [
        line for run in logs if (line := left_out(shell.called(choice.names[run]), found[run][1]))
    ]
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
