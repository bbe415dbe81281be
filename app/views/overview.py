"""Which checkpoint is best for my trade-off?"""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from app import columns, compare, ranking, shell, show, tables, why
from app.details import form, heading
from app.head import unbroken
from app.kept import kept
from app.ranking import Ranking
from app.shell import Choice, text
from app.store import Entry
from grace_geom.plots import accuracies
from grace_geom.plots.tradeoff import pareto, tradeoff
from grace_geom.records import shown as usual

TITLES = {
    "HM": "Trade-off",
    "Adv": "Under attack",
    "ID": "In distribution",
    "OOD": "Under shift",
    "NatAdv": "Hard images",
    "ZS": "New tasks",
}
# Of the trade-off plots, in pixels: both are seen beside the table on the first screen.
HEIGHT = 255
AGAINST = ("Adv", "OOD")
# Table and plots side by side where both have room, below each other where they have not.
ROOM = {"overview-table": (5, 480), "overview-plots": (3, 340)}
BESIDE = "".join(
    f"[data-testid=stLayoutWrapper]:has(>.st-key-{key})"
    f"{{flex:{grow} 1 {least}px!important;min-width:min(100%,{least}px)}}"
    for key, (grow, least) in ROOM.items()
)
# Where they stand below each other, the first plot follows the table; what only serves the table
# comes after the plots. (The sidebar takes 300 pixels.)
STACKED = """{where}[data-testid=stLayoutWrapper]:has(>.st-key-overview-table),
{where}.st-key-overview-table{{display:contents}}
{where}.st-key-overview-table>*{{flex:1 1 100%}}
{where}.st-key-overview-table>:nth-child(n+2){{order:2}}
{where}[data-testid=stLayoutWrapper]:has(>.st-key-overview-plots){{order:1}}"""
WITH_SIDEBAR = "body:has([data-testid=stSidebar][data-collapsed=false]) "
NARROW = (
    f"@media(max-width:1011px){{{STACKED.format(where='')}}}"
    f"@media(max-width:1311px){{{STACKED.format(where=WITH_SIDEBAR)}}}"
    "@media(max-width:640px){.st-key-overview-table [data-testid=stDataFrameResizable]"
    "{max-height:257px!important}}"
)


def main() -> None:
    """The answer, the ranked table, the trade-off; then why, data sets, the paper's rows."""
    choice = shell.page("Which checkpoint is best for my trade-off?")
    shown = comparable(choice)
    if not shown:
        ids = " ".join(shell.quoted(e.path) for e in choice.runs)
        st.info("None of the chosen runs has been evaluated. This does it:")
        st.code(f"python -m grace_geom.evaluate {ids}", language="bash", wrap_lines=True)
        return
    ranked = ranking.ranking(shown, choice.baseline)
    escaped = {run: text(name) for run, name in choice.names.items()}
    if ranked.by:
        shell.answer(ranking.sentence(ranked, escaped))
    found = why.reasons(choice, shown)
    for note in why.unlike_geometry(choice, shown, found):
        shell.notice(note)
    seeds(choice, shown)
    st.html(f"<style>{BESIDE}{NARROW}</style>")
    with st.container(horizontal=True, gap="medium"):
        with st.container(key="overview-table"):
            tables.ranked(choice, ranked)
            leaders(choice, ranked)
        with st.container(key="overview-plots"):
            scatters(choice, ranked)
    st.caption(compare.how_measured(shown, ("id", "ood", "adv")))
    why.geometry(choice, shown, found, ranked.numbers(choice.names))
    per_set(choice, list(ranked.entries))
    tables.papers_rows(choice, shown)


def comparable(choice: Choice) -> list[Entry]:
    """Evaluated runs on the baseline's data; of the others it is said why they are left out."""
    evaluated = [e for e in choice.compared if e.evaluation]
    waiting = [e for e in choice.compared if not e.evaluation and not e.problems]
    if waiting and evaluated:
        ids = " ".join(shell.quoted(m.path) for e in waiting for m in e.members or (e,))
        shell.notice(
            f"Not evaluated yet: {names(choice, waiting)}. This does it:",
            f"python -m grace_geom.evaluate {ids}",
        )
    for remark in choice.remarks:
        shell.notice(f"Not taken together as seeds of one method: {text(remark)}")
    base = choice.baseline
    if base is None or base.evaluation is None:
        return evaluated
    kept = []
    for entry in evaluated:
        if reason := compare.incomparable(entry, base, ("id",)):
            shell.notice(
                f"{names(choice, [entry])} cannot be compared with {names(choice, [base])}: "
                f"{text(reason)}"
            )
        else:
            kept.append(entry)
            if reason := compare.incomparable(
                entry, base, ("ood", "adv", "natural_adv", "zeroshot")
            ):
                shell.notice(
                    f"{names(choice, [entry])} has no difference to the baseline everywhere: "
                    f"{text(reason)}"
                )
    return kept


def names(choice: Choice, entries: list[Entry]) -> str:
    """Names of runs for a sentence."""
    return ", ".join(text(choice.names[e.id]) for e in entries)


def seeds(choice: Choice, shown: list[Entry]) -> None:
    """Say so where the same methods were trained with seeds that are not shown."""
    pairs = {(e.folder, e.method) for e in shown}
    here = {e.id for e in choice.runs}
    others = [e for run, e in choice.known.items() if e.evaluation and run not in here]
    hidden = [e for e in others if (e.folder, e.method) in pairs]
    if hidden:
        table = choice.root / shown[0].folder / "table.md"
        means = f" Means over seeds are in {text(str(table))}." if table.is_file() else ""
        shell.notice(
            f"{len(hidden)} evaluated runs of these methods with other seeds are not shown; "
            f"add them in the sidebar.{means}"
        )  # fmt: skip


def standing(choice: Choice, found: compare.Lead, base: Entry | None) -> str:
    """How sure the first place is: paired differences on the same images where there are any."""
    sentence = "This is the baseline. " if base and found.best.id == base.id else ""
    if not found.verdicts:
        return sentence + "No other run has this number."
    close = [v for v in found.verdicts if not v.clear]
    if not close:
        second = found.verdicts[0]
        rest = " Clear of the others too." if len(found.verdicts) > 1 else ""
        return f"{sentence}Ahead of {against(choice, second)}.{rest}"
    named = "; nor of ".join(against(choice, v) for v in close[:2])
    more = f"; nor of {len(close) - 2} more" if len(close) > 2 else ""
    return f"{sentence}Not clearly ahead of {named}{more}."


def against(choice: Choice, verdict: compare.Verdict) -> str:
    """Another run, the difference to it and what it rests on."""
    name, gap = shell.called(choice.names[verdict.other.id]), verdict.gap
    if verdict.reason:
        return f"{name}: not to be compared, {text(verdict.reason)}"
    if gap is None:
        return f"{name}: intervals {'do not overlap' if verdict.clear else 'overlap'}, no images in common"
    if gap.clear:
        return f"{name} by {text(compare.points(gap).replace(' [', ' points [').lstrip('+'))}, {gap.on}"
    p = f", p = {gap.p:.2f}" if gap.low > 0 else ""
    return f"{name}: {text(compare.points(gap) + p)}, {gap.on}"


def leaders(choice: Choice, ranked: Ranking) -> None:
    """The best run of each column, and how sure that is, a line each."""
    lines = []
    for column, title in TITLES.items():
        if (found := ranked.leads.get(column)) is None:
            continue
        low, high = 100 * found.estimate.low, 100 * found.estimate.high
        gain = (
            ""
            if found.delta is None
            else f", {text(f'{100 * found.delta:+.1f}')} points over the baseline"
        )
        lines.append(
            f"- {title} ({column}): **{text(choice.names[found.best.id])}**, "
            f"{100 * found.estimate.value:.1f} % \\[{low:.1f}, {high:.1f}\\]{gain}. "
            f"{standing(choice, found, ranked.baseline)}"
        )
    escaped = {run: text(name) for run, name in choice.names.items()}
    lines += [f"- {line}" for line in compare.head_to_head(ranked.entries, escaped)]
    with st.expander("Who leads in each column, and how surely", key="overview-leaders"):
        st.markdown("\n".join(lines))


def scatters(choice: Choice, ranked: Ranking) -> None:
    """ID against Adv and against OOD, one below the other, with one caption and one row of files:
    both are seen beside the table.
    """
    shown, numbers = ranked.entries, ranked.numbers(choice.names)
    estimates = {e.id: e.estimates for e in shown}
    drawn = {}
    for column in AGAINST:
        axes, seeds = (accuracies.AXES["ID"], accuracies.AXES[column]), singles(shown, "ID", column)
        size = (330, HEIGHT - 70)
        fig = kept(tradeoff, estimates, choice.legend, "ID", column, axes, size, numbers, seeds)
        if fig is None:
            st.info(f"No chosen run has both ID and {column} accuracy.")
            continue
        known = {
            e.id: (a.value, b.value)
            for e in shown
            if (a := e.estimates.get("ID")) and (b := e.estimates.get(column))
        }
        front = ", ".join(choice.names[run] for run in pareto(known))
        alt = f"Scatter of {column} against ID accuracy, a point a run. No other run is better in "
        show.chart(fig, f"id-{column.lower()}", f"{alt}both than: {front}")
        drawn[TITLES[column]] = fig
    if not drawn:
        return
    said = [
        "Up and right is better; bars are 95 % intervals. Ringed: no other is better in both;",
        "dotted: the front of these.",
        *(["Small and faint: single seeds."] if any(e.members for e in shown) else []),
        *(["Numbers: rows of the table."] if numbers else []),
    ]
    st.caption(unbroken(" ".join(said)))
    keyed = [*said, *([f"{key}."] if (key := ranked.key(choice.names)) else [])]
    alt = "Scatter of accuracy under attack and under shift against ID accuracy, a point a run"
    whole = show.exhibit(drawn, alt, " ".join(keyed))
    show.downloads(whole, "trade-off", partial(tables.with_intervals, shown, ("ID", *AGAINST)))


def singles(shown: Sequence[Entry], x: str, y: str) -> dict[str, list[tuple[float, float]]]:
    """The points of each mean's seeds: values alone, whose intervals would take long to compute."""
    return {
        e.id: [
            (at[x], at[y])
            for at in (columns.values(m.estimates) for m in e.members) if x in at and y in at
        ]
        for e in shown if e.members
    }  # fmt: skip


FORMS = ("Map", "Dots")
# Pixels that the names of the rows of a map take, and a cell at least.
LABELS, CELL = 130, 42


@st.fragment
def per_set(choice: Choice, shown: list[Entry]) -> None:
    """The chosen distributions, best run first: of many runs as a map, of few as dots."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Data set by data set")
        chosen = form(FORMS, len(shown) > show.MOST_IN_FRONT, "overview_form")
    asked = {e.id: compare.asked(e) for e in shown}
    means = {e.id: len(e.members) for e in shown if e.members}
    keys = [
        key
        for key in accuracies.data_sets(asked.values(), tuple(accuracies.SUITE_TITLES))
        if choice.keeps(accuracies.distribution(key))
    ]
    suites = tuple({suite for suite, _ in keys})
    if chosen == "Map":
        said = compare.how_measured(shown, suites, "intervals")
        show.figure(
            kept(accuracies.as_map, asked, choice.legend, keys), "data-sets",
            "Map of accuracy on every data set, a row a run",
            "In %, coloured from the lowest to the highest of each column; half an interval is "
            f"{accuracies.widest(asked, keys):.1f} points at most, and the pointer has each. {said}",
            partial(of_each_set, shown, keys), "None of the chosen distributions was evaluated.",
            least=LABELS + CELL * len(keys),
        )  # fmt: skip
        return
    show.legend([e.id for e in shown], choice.legend)
    show.figure(
        kept(accuracies.dots, asked, choice.legend, keys, means), "data-sets",
        "Dot plot of accuracy on every data set with 95 % intervals, one colour and marker a run",
        compare.how_measured(shown, suites),
        partial(of_each_set, shown, keys), "None of the chosen distributions was evaluated.",
    )  # fmt: skip


def of_each_set(shown: list[Entry], keys: list[tuple[str, str]]) -> pd.DataFrame:
    """The accuracies of some data sets, a row each."""
    return pd.DataFrame([
        {"run": e.id, "suite": a.suite, "data": a.data, "attack": a.attack_name, "n": a.n,
         "seeds": len(e.members) or 1, "accuracy": mean.value, "ci_low": mean.low,
         "ci_high": mean.high, "metric": a.metric or "top-1"}
        for e in shown for key, a in compare.asked(e).items()
        if key in keys and (mean := usual(a))
    ])  # fmt: skip


main()
