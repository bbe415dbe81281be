"""Where did the weights move?"""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import answers, shell, show, store
from app.details import details, form, heading
from app.kept import kept
from app.measured import measured, values_table
from app.shell import Choice, inline, text
from grace_geom.plots import curriculum as ranks
from grace_geom.plots import drift as drifts
from grace_geom.plots.panels import measures
from grace_geom.plots.weight_names import group_name, weight_name
from grace_geom.records import Finding

Span = tuple[float, float]
MEANINGS = {
    "Drift": "Left of the first and right of the last block stand the stem and the head. Both "
    "norms are Frobenius norms, over one matrix or over all weights as one vector.",
    "Mean effective rank": "exp of the entropy of the singular values of W − W₀, mean over "
    "matrices: low-rank methods stay low.",
    "Singular values": "A change has rank r where its r-th singular value is 30 times the next one "
    "and what follows is below a thousandth of the first. LoRA ends at its r.",
    "Rank curriculum": "GRACE perturbs each weight matrix within a low rank that follows its "
    "curvature: the more curved a matrix is, the higher the rank of its perturbation. Score and "
    "rank are taken again at every refresh.",
}
MAPS = (("rank", "Rank of the perturbation", False), ("score", "Curvature score", True))
HOW = {
    "rank": "0: the matrix is not perturbed.",
    "score": "estimated Gauss-Newton diagonal, mean over each weight matrix; moving average over "
    "refreshes.",
}


def main() -> None:
    """Drift, its singular values, the rank curriculum."""
    choice = shell.page("Where did the weights move?")
    st.html(f"<style>{NARROW}</style>")
    found = measured(choice, "parameter_drift")
    shell.answer(
        answers.weights(found, answers.bold(choice.names)) or answers.unmeasured("parameter_drift")
    )
    if found:
        drift(choice, found)
        singular_values(choice, found)
    curriculum(choice)
    details(MEANINGS if found else {"Rank curriculum": MEANINGS["Rank curriculum"]})


FORMS = ("Map", "Lines")
BOLD = " Bold: the baseline."
# On a telephone upright names of matrices are as wide as their columns.
NARROW = "@media(max-width:640px){.st-key-figure-drift .xtick text{font-size:9px!important}}"


@st.fragment
def by_matrix(choice: Choice, found: list[Finding]) -> None:
    """Relative drift of every matrix: of many runs as a map, of few as lines."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Drift from the pretrained weights")
        many = len(found) > show.MOST_IN_FRONT
        chosen = form(FORMS, many, "weights_form")
        label, every = f"All {len(found)} in colour", True
        if chosen == "Lines" and many:
            every = st.toggle(label, key="weights_all", bind="query-params")
    said = "‖W − W₀‖ / ‖W₀‖ (Frobenius) of every weight matrix, exact, without images;"
    names = [f"relative/{name}" for name in found[0].names("relative")]
    base = baseline(choice, found)
    if chosen == "Map":
        fig = kept(drifts.map_by_matrix, found, choice.legend, base)
        alt = "Map of the relative drift of each weight matrix from stem to head, a row a run"
        said += " runs from the one that moved farthest as a whole to the one that moved least; "
        said += "logarithmic colours; a matrix that a run leaves alone has none."
        said += BOLD if base else ""
    else:
        front = [f.run for f in found] if every else in_front(choice, found)
        show.legend(front, choice.legend)
        behind = tuple(f.run for f in found if f.run not in front)
        fig = kept(drifts.by_matrix, found, choice.legend, behind)
        alt = "Relative drift of each weight matrix from stem to head, one line a run"
        said += " a matrix that a run leaves alone has no point."
        said += show.greys(choice.names, behind, label) + show.coincide({"": fig})
    head = "‖W − W₀‖ / ‖W₀‖ of each weight matrix" if chosen == "Map" else ""
    table = partial(values_table, found, ["drift", *names])
    show.figure(fig, "drift", alt, said, table, head=head)


def baseline(choice: Choice, found: list[Finding]) -> str:
    """The run that rows mark, where its weights were measured; else empty."""
    base = choice.base_run.id if choice.base_run else ""
    return base if any(f.run == base for f in found) else ""


def in_front(choice: Choice, found: list[Finding]) -> list[str]:
    """Of many runs, those that moved least and most as a whole and the baseline, in the order of
    the page.
    """
    shown = {*drifts.extremes(found, show.MOST_IN_FRONT - 2)}
    shown |= {choice.base_run.id} if choice.base_run else set()
    return [f.run for f in found if f.run in shown]


def drift(choice: Choice, found: list[Finding]) -> None:
    """Relative drift of every matrix and of all weights."""
    by_matrix(choice, found)
    ordered, base = drifts.farthest_first(found), baseline(choice, found)
    panels = {
        title: fig for key, title in (("drift", "All weights: ‖θ − θ₀‖ / ‖θ₀‖"),
                                      ("mean_effective_rank", "Mean effective rank of W − W₀"))
        if (fig := kept(measures, ordered, choice.legend, key, title, base)) is not None
    }  # fmt: skip
    show.panels(
        panels,
        "drift-all",
        "One number of each run's drift",
        f"Exact, over the {inline(group_name(str(found[0].result.settings.get('params'))))}; the run "
        f"that moved farthest stands on top.{' Bold, dotted: the baseline.' if base else ''}",
        partial(values_table, ordered, ["drift", "mean_effective_rank", "zero_shot_loss"]),
        width=474,
    )


@st.fragment
def singular_values(choice: Choice, found: list[Finding]) -> None:
    """Of one matrix' change."""
    matrices = drifts.matrices(found)
    if not matrices:
        st.info("No singular values on record.")
        return
    most = drifts.moved_most(found)
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Singular values of W − W₀")
        name = st.selectbox(
            "Matrix", matrices, matrices.index(most[0]) if most else 0, format_func=weight_name,
            key="weights_matrix", bind="query-params", filter_mode="contains", width=260,
            label_visibility="collapsed",
            help="In the network's order; at first the one that moved most in any run.",
        )  # fmt: skip
        label = f"All {len(found)} in colour"
        every = len(found) <= show.MOST_IN_FRONT or st.toggle(
            label, key="weights_values_all", bind="query-params"
        )
    front = [f.run for f in found] if every else in_front(choice, found)
    behind = tuple(f.run for f in found if f.run not in front)
    fig, rows = kept(drifts.singular, found, choice.legend, name, behind, True)
    show.legend(front, choice.legend)
    show.figure(
        fig,
        "singular-values",
        f"Singular values of the change of {weight_name(name)}, one line a run",
        f"σᵢ of W − W₀ for {weight_name(name)}, largest first, exact. Behind the rank of a change "
        f"stands what rounding leaves.{show.greys(choice.names, behind, label)}",
        partial(pd.DataFrame, rows),
        "No run moved this matrix.",
    )


def curriculum(choice: Choice) -> None:
    """The rank curriculum and the curvature scores behind it, on colour scales that the runs
    share."""
    st.header("GRACE's rank curriculum", anchor=False)
    found = {e.id: ranks.curriculum(store.lines(e, "curvature").rows) for e in choice.single}
    drawn = {run: f for run, f in found.items() if f[0]}
    if not drawn:
        st.info(
            "None of the chosen runs has a log of its ranks; GRACE writes one (`curvature.jsonl`). "
            "This trains it:"
        )
        st.code("python -m grace_geom.train --method grace", language="bash")
    spans = {key: span(drawn, key, log) for key, _, log in MAPS}
    for run, (steps, matrices, grids) in drawn.items():
        ends = {key: e for key, e in spans.items() if e is not None}
        panels = {
            heading: kept(
                ranks.refreshes, grids[key], steps, matrices, ends[key], key, choice.ground, log
            )
            for key, heading, log in MAPS
            if key in ends
        }
        st.markdown(f"Run **{text(choice.names[run])}**")
        show.panels(
            panels,
            f"curriculum-{run.replace('/', '-')}",
            f"Heat map by weight matrix and refresh of {choice.names[run]}",
            f"{len(matrices)} matrices, {len(steps)} refreshes. Rank "
            f"{HOW['rank']} Score: {HOW['score']}",
            partial(ranked, run, steps, matrices, grids),
            width=474,
        )


def ranked(
    run: str, steps: list[int], matrices: list[str], grids: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Rank and score of each matrix of a run at each refresh."""
    return pd.DataFrame([
        {"run": run, "step": step, "matrix": name, "rank": grids["rank"][i, j],
         "score": grids["score"][i, j]}
        for i, name in enumerate(matrices) for j, step in enumerate(steps)
    ])  # fmt: skip


def span(
    drawn: dict[str, tuple[list[int], list[str], dict[str, np.ndarray]]], key: str, log: bool
) -> Span | None:
    """Ends of the colour scale of all runs, of the logarithm where ``log``; ``None`` where there
    are no numbers.
    """
    values = (
        np.concatenate([grids[key].ravel() for _, _, grids in drawn.values()])
        if drawn
        else np.array([])
    )
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not values.size:
        return None
    return (
        (float(np.log10(values.min())), float(np.log10(values.max())))
        if log
        else (0.0, float(values.max()))
    )


main()
