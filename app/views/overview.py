"""Which checkpoint is best for my trade-off?"""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app import compare, shell, show, tables
from app.measured import alike, command, how, unlike_ways, values_table
from app.shell import Choice, text
from app.store import Entry
from grace_geom.plots import accuracies, correlation, panels
from grace_geom.plots.tradeoff import tradeoff
from grace_geom.records import Estimate, questions
from grace_geom.records import shown as usual

CARDS = (
    (
        "HM",
        "Trade-off",
        "Harmonic mean of ID, OOD and adversarial accuracy: low if any of the three is low.",
    ),
    (
        "Adv",
        "Under attack",
        "Accuracy on test images that an attack may change by up to ε a pixel.",
    ),
    ("ID", "In distribution", "Accuracy on test images like those it was trained on."),
    (
        "OOD",
        "Under shift",
        "Mean accuracy over data sets of other styles: sketches, renditions, corruptions.",
    ),
    ("NatAdv", "Hard images", "Accuracy on unmodified images that the zero-shot model gets wrong."),
    (
        "ZS",
        "New tasks",
        "Zero-shot transfer: mean accuracy on tasks that it was not fine-tuned for.",
    ),
)


def main() -> None:
    """Cards, who won what and why, trade-off, geometry, table, data sets, the paper's rows."""
    choice = shell.page("Which checkpoint is best for my trade-off?")
    shown = comparable(choice)
    if not shown:
        ids = " ".join(shell.quoted(e.path) for e in choice.runs)
        st.info("None of the chosen runs has been evaluated. This does it:")
        st.code(f"python -m grace_geom.evaluate {ids}", language="bash", wrap_lines=True)
        return
    base = names(choice, [choice.baseline]) if choice.baseline else ""
    st.markdown(
        f"The best run for each question, and what it gains over the baseline **{base}**, in "
        "points."
    )
    found = reasons(choice, shown)
    for note in unlike_geometry(choice, shown, found):
        st.warning(note)
    cards(choice, shown)
    answer(choice, shown, found)
    seeds(choice, shown)
    scatters(choice, shown)
    geometry(choice, shown, found)
    tables.all_numbers(choice, shown)
    per_set(choice, shown)
    tables.papers_rows(choice, shown)


def comparable(choice: Choice) -> list[Entry]:
    """Evaluated runs on the baseline's data; of the others it is said why they are left out."""
    evaluated = [e for e in choice.compared if e.evaluation]
    waiting = [e for e in choice.compared if not e.evaluation and not e.problems]
    if waiting and evaluated:
        st.info(f"Not evaluated yet: {names(choice, waiting)}. This does it:")
        ids = " ".join(shell.quoted(m.path) for e in waiting for m in e.members or (e,))
        st.code(f"python -m grace_geom.evaluate {ids}", language="bash", wrap_lines=True)
    for remark in choice.remarks:
        st.info(f"Not taken together as seeds of one method: {text(remark)}")
    base = choice.baseline
    if base is None or base.evaluation is None:
        return evaluated
    kept = []
    for entry in evaluated:
        if reason := compare.incomparable(entry, base, ("id",)):
            st.warning(
                f"{names(choice, [entry])} cannot be compared with {names(choice, [base])}: "
                f"{text(reason)}"
            )
        else:
            kept.append(entry)
            if reason := compare.incomparable(
                entry, base, ("ood", "adv", "natural_adv", "zeroshot")
            ):
                st.warning(
                    f"{names(choice, [entry])} has no difference to the baseline everywhere: "
                    f"{text(reason)}"
                )
    return kept


def names(choice: Choice, entries: list[Entry]) -> str:
    """Names of runs for a sentence."""
    return ", ".join(text(choice.names[e.id]) for e in entries)


def cards(choice: Choice, shown: list[Entry]) -> None:
    """One card a question: who is best, how good, how much over the baseline, and who may be as
    good.

    The difference is coloured only where the best run is clearly ahead of the baseline.
    """
    base = choice.baseline
    leads = [
        (card, found) for card in CARDS if (found := compare.lead(card[0], shown, base)) is not None
    ]
    width = 182 if len(leads) in (4, 5) else 316  # whole rows on a wide page
    with st.container(horizontal=True, gap="small"):
        for (column, title, meaning), found in leads:
            with st.container(border=True, width=width, gap="small"):
                st.markdown(f"{title} ({column})", help=meaning)
                sure = base is not None and base.id not in {e.id for e in found.rivals}
                st.metric(
                    f"**{text(choice.names[found.best.id])}**",
                    f"{100 * found.estimate.value:.1f} %",
                    None if found.delta is None else f"{100 * found.delta:+.1f}",
                    delta_color="normal" if sure else "off",
                )
                low, high = 100 * found.estimate.low, 100 * found.estimate.high
                st.caption(
                    f"95 % interval {low:.1f} to {high:.1f}. {standing(choice, found, base)}"
                )


def seeds(choice: Choice, shown: list[Entry]) -> None:
    """Say so where the same methods were trained with seeds that are not shown."""
    pairs = {(e.folder, e.method) for e in shown}
    here = {e.id for e in choice.runs}
    others = [e for run, e in choice.known.items() if e.evaluation and run not in here]
    hidden = [e for e in others if (e.folder, e.method) in pairs]
    if hidden:
        table = choice.root / shown[0].folder / "table.md"
        means = f" Means over seeds are in {text(str(table))}." if table.is_file() else ""
        st.info(
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
    name, gap = names(choice, [verdict.other]), verdict.gap
    if verdict.reason:
        return f"{name}: not to be compared, {text(verdict.reason)}"
    if gap is None:
        return f"{name}: intervals {'do not overlap' if verdict.clear else 'overlap'}, no images in common"
    if gap.clear:
        return f"{name} by {text(compare.points(gap).replace(' [', ' points [').lstrip('+'))}, {gap.on}"
    p = f", p = {gap.p:.2f}" if gap.low > 0 else ""
    return f"{name}: {text(compare.points(gap) + p)}, {gap.on}"


def scatters(choice: Choice, shown: list[Entry]) -> None:
    """ID against Adv and against OOD."""
    st.subheader("The trade-off", anchor=False)
    left, right = st.columns(2)
    panels = (
        (left, "Adv", "Accuracy under attack (%)", ("id", "adv")),
        (right, "OOD", "Accuracy under shift (%), mean over sets", ("id", "ood")),
    )
    for place, column, title, suites in panels:
        with place:
            axes = ("Accuracy in distribution (%)", title)
            fig = tradeoff({e.id: e.estimates for e in shown}, choice.legend, "ID", column, axes)
            show.figure(
                fig,
                f"id-{column.lower()}",
                f"Scatter of {column} against ID accuracy, one labelled point a run",
                "Up and right is better. Ringed: no other run is better in both; dotted: steps of "
                f"that front. {compare.how_measured(shown, suites)}",
                tables.with_intervals(shown, ("ID", column)),
                f"No chosen run has both ID and {column} accuracy.",
            )


@dataclass(frozen=True)
class Reasons:
    """What the geometry says of the accuracies.

    Attributes:
        known: Each question with the geometry's number for each run.
        absent: Analyses of which there are not two to be compared.
    """

    known: tuple[tuple[correlation.Link, dict[str, float]], ...]
    absent: tuple[str, ...]


def reasons(choice: Choice, shown: list[Entry]) -> Reasons:
    """The questions for which two runs at least have a number on record."""
    members = {e.id: [run.id for run in e.members] for e in shown}
    found = [
        (
            link,
            correlation.numbers(link, shares(shown, link), alike(choice, link.analysis), members),
        )
        for link in correlation.LINKS
    ]
    absent = {link.analysis for link, x in found if len(x) < 2}
    return Reasons(tuple((link, x) for link, x in found if len(x) > 1), tuple(sorted(absent)))


def unlike_geometry(choice: Choice, shown: list[Entry], found: Reasons) -> list[str]:
    """What the pages of the analyses warn of, for each analysis whose numbers stand on this one."""
    here = {run.id for e in shown for run in e.members or (e,)}
    said: dict[str, list[str]] = {}
    for analysis in dict.fromkeys([*(link.analysis for link, _ in found.known), "bound_terms"]):
        used = [f for run, f in alike(choice, analysis).items() if run in here]
        for note in unlike_ways(choice, used):
            said.setdefault(note, []).append(analysis)
    return [f"{', '.join(f'`{name}`' for name in names)}: {note}" for note, names in said.items()]


def shares(shown: list[Entry], link: correlation.Link) -> dict[str, Estimate]:
    """The accuracy that a question is about, of the runs that have it."""
    known = ((e.id, e.estimates.get(link.column)) for e in shown)
    return {run: share for run, share in known if share is not None}


def answer(choice: Choice, shown: list[Entry], found: Reasons) -> None:
    """Who won what, and where the winners stand among the geometry's numbers: in words, before any
    figure.
    """
    escaped = {run: text(name) for run, name in choice.names.items()}
    base = choice.baseline.id if choice.baseline else ""
    lines = [f"- {line}" for line in compare.head_to_head(shown, escaped)]
    for link, x in found.known:
        y = {run: share for run, share in shares(shown, link).items() if run in x}
        said = correlation.together([x[run] for run in y], list(y.values()))
        lines.append(
            f"- {link.title} {correlation.sentence(link, y, x, escaped, base)} "
            f"{text(said)}{'.' if said else ''}"
        )
    if lines:
        st.markdown("\n".join(lines), help=RHO if found.known else None)


RHO = (
    "r_s: Spearman's rank correlation over the runs shown; p: how often the runs in a random order "
    "correlate as strongly, all orders counted up to 8 runs. The range is r_s's 2.5 and 97.5 "
    "percentile when every accuracy is drawn by itself, 2000 times with seed 0, from the normal "
    "distribution that has its 95 % interval: what noise of these runs' accuracies does, not what "
    "other runs would show."
)


def geometry(choice: Choice, shown: list[Entry], found: Reasons) -> None:
    """Measured numbers of weights, features and curvature beside the accuracies that they go
    with."""
    st.subheader("Why? What the geometry says", anchor=False)
    if found.known:
        meanings = " ".join(f"*{link.number}*: {link.meaning}" for link, _ in found.known)
        rows = [
            {"run": run, "number": link.number, "value": v, "beside": link.column}
            for link, x in found.known for run, v in x.items()
        ]  # fmt: skip
        show.panels(
            {
                link.title: correlation.relation(link, shares(shown, link), x, choice.legend)
                for link, x in found.known
            },
            "why",
            "Scatter of a geometric number against an accuracy, one labelled point a run",
            f"{meanings} {RHO} Bars: 95 % intervals of the accuracy, as above.",
            pd.DataFrame(rows),
        )
    bound(choice, shown)
    if found.absent:
        st.caption(
            "Fewer than two of the chosen runs have numbers of the other analyses. This measures "
            "them:"
            if found.known
            else "None of this has been measured on two of the chosen runs. This does it:"
        )
        commands = [command(choice, name) for name in found.absent]
        st.code("\n".join(commands), language="bash", wrap_lines=True)


BOUND = {
    "A": ("(A) proximity", "‖θ−θ₀‖² / 2nσ²"),
    "B": ("(B) sharpness", "σ²/2 · Tr H of the riskiest domain"),
    "C": ("(C) discrepancy", "2 L_f times the largest distance between domains (Lemma 3.2)"),
}


def bound(choice: Choice, shown: list[Entry]) -> None:
    """The three terms of the paper's bound, where they were measured."""
    known = alike(choice, "bound_terms")
    here = {run.id: e.id for e in shown for run in e.members or (e,)}
    found = [f for run, f in known.items() if run in here]
    legend = choice.legend
    drawn = {
        title: fig
        for key, (title, _) in BOUND.items()
        if (fig := panels.measures(found, legend, key, title)) is not None
    }
    if drawn:
        s = found[0].result.settings
        terms = "; ".join(f"{title}: {formula}" for title, formula in BOUND.values())
        show.panels(
            drawn,
            "bound",
            "One term of the robust PAC-Bayes bound for each run, with its interval",
            how(
                found,
                f"The paper's bound term by term at σ = {shell.inline(s.get('sigma'))}. {terms}. Cross-entropy "
                "is not bounded by 1: compare runs term by term, the sum certifies nothing;",
            ),
            values_table(found, list(BOUND)),
        )


def per_set(choice: Choice, shown: list[Entry]) -> None:
    """Dot plot of the chosen distributions."""
    st.subheader("Data set by data set", anchor=False)
    asked = {e.id: questions(e.accuracies) for e in shown}
    means = {e.id: len(e.members) for e in shown if e.members}
    keys = [
        key
        for key in accuracies.data_sets(asked.values(), tuple(accuracies.SUITE_TITLES))
        if choice.keeps(accuracies.distribution(key))
    ]
    rows = [
        {
            "run": e.id,
            "suite": a.suite,
            "data": a.data,
            "attack": a.attack_name,
            "n": a.n,
            "seeds": len(e.members) or 1,
            "accuracy": mean.value,
            "ci_low": mean.low,
            "ci_high": mean.high,
            "metric": a.metric or "top-1",
        }
        for e in shown
        for key, a in asked[e.id].items()
        if key in keys and (mean := usual(a))
    ]
    show.legend([e.id for e in shown], choice.legend)
    show.figure(
        accuracies.dots(asked, choice.legend, keys, means), "data-sets",
        "Dot plot of accuracy on every data set with 95 % intervals, one colour and marker a run",
        compare.how_measured(shown, tuple({suite for suite, _ in keys})), pd.DataFrame(rows),
        "None of the chosen distributions was evaluated.",
    )  # fmt: skip


main()
