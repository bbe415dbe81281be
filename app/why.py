"""What the geometry says of the accuracies: in words, as panels, and term by term of the paper's
bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import streamlit as st

from app import shell, show
from app.kept import kept
from app.measured import alike, command, how, unlike_ways, values_table
from app.shell import Choice, text
from app.store import Entry
from grace_geom.plots import correlation, panels
from grace_geom.records import Estimate


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
            correlation.numbers(
                link, shares(shown, link), alike(choice, link.analysis, arrays=False), members
            ),
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
        used = [f for run, f in alike(choice, analysis, arrays=False).items() if run in here]
        for note in unlike_ways(choice, used):
            said.setdefault(note, []).append(analysis)
    return [f"{', '.join(f'`{name}`' for name in names)}: {note}" for note, names in said.items()]


def shares(shown: list[Entry], link: correlation.Link) -> dict[str, Estimate]:
    """The accuracy that a question is about, of the runs that have it."""
    known = ((e.id, e.estimates.get(link.column)) for e in shown)
    return {run: share for run, share in known if share is not None}


def _in_words(choice: Choice, shown: list[Entry], found: Reasons) -> None:
    """Where the runs with the best accuracies stand among the geometry's numbers."""
    escaped = {run: text(name) for run, name in choice.names.items()}
    base = choice.baseline.id if choice.baseline else ""
    lines = []
    for link, x in found.known:
        y = {run: share for run, share in shares(shown, link).items() if run in x}
        said = correlation.together([x[run] for run in y], list(y.values()))
        lines.append(
            f"- {link.title} {correlation.sentence(link, y, x, escaped, base)} "
            f"{text(said)}{'.' if said else ''}"
        )
    lines += [f"- *{link.number}*: {link.meaning}" for link, _ in found.known]
    with st.expander("These figures in words", key="overview-why"):
        st.markdown("\n".join([*lines, f"- {RHO}"]))


RHO = (
    "r_s: Spearman's rank correlation over the runs shown; p: how often the runs in a random order "
    "correlate as strongly, all orders counted up to 8 runs. The range is r_s's 2.5 and 97.5 "
    "percentile when every accuracy is drawn by itself, 2000 times with seed 0, from the normal "
    "distribution that has its 95 % interval: what noise of these runs' accuracies does, not what "
    "other runs would show."
)


def geometry(
    choice: Choice, shown: list[Entry], found: Reasons, numbers: Mapping[str, str] | None = None
) -> None:
    """Measured numbers of weights, features and curvature beside the accuracies that they go with;
    ``numbers`` stand for names at the points.
    """
    st.header("Why? What the geometry says", anchor=False)
    if found.known:
        show.panels(
            {
                link.title: kept(
                    correlation.relation, link, shares(shown, link), x, choice.legend, numbers
                )
                for link, x in found.known
            },
            "why",
            "Scatter of a geometric number against an accuracy, one labelled point a run",
            "A geometric number against an accuracy; bars are 95 % intervals of the accuracy.",
            partial(_beside, found),
            304 if len(found.known) == 3 else 464,  # whole rows on a wide page
        )
        _in_words(choice, shown, found)
    bound(choice, shown, numbers or {})
    if found.absent:
        st.caption(
            "Fewer than two of the chosen runs have numbers of the other analyses. This measures "
            "them:"
            if found.known
            else "None of this has been measured on two of the chosen runs. This does it:"
        )
        commands = [command(choice, name) for name in found.absent]
        st.code("\n".join(commands), language="bash", wrap_lines=True)


def _beside(found: Reasons) -> pd.DataFrame:
    return pd.DataFrame([
        {"run": run, "number": link.number, "value": v, "beside": link.column}
        for link, x in found.known for run, v in x.items()
    ])  # fmt: skip


BOUND = {
    "A": ("(A) proximity", "‖θ−θ₀‖² / 2nσ²"),
    "B": ("(B) sharpness", "σ²/2 · Tr H of the riskiest domain"),
    "C": ("(C) discrepancy", "2 L_f times the largest distance between domains (Lemma 3.2)"),
}


def bound(choice: Choice, shown: list[Entry], numbers: Mapping[str, str]) -> None:
    """The three terms of the paper's bound, where they were measured."""
    known = alike(choice, "bound_terms", arrays=False)
    here = {run.id: e.id for e in shown for run in e.members or (e,)}
    found = [f for run, f in known.items() if run in here]
    if numbers:
        found.sort(key=lambda f: int(numbers[here[f.run]]))
    short = {run: numbers[e] for run, e in here.items()} if numbers else {}
    legend = replace(choice.legend, names={**choice.names, **short})
    drawn = {
        title: fig
        for key, (title, _) in BOUND.items()
        if (fig := kept(panels.measures, found, legend, key, title)) is not None
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
            partial(values_table, found, list(BOUND)),
        )
