"""Where did the weights move?"""

import numpy as np
import pandas as pd
import streamlit as st

from app import shell, show, store
from app.measured import how, measured, values_table
from app.shell import Choice, text
from grace_geom.plots import curriculum as ranks
from grace_geom.plots import drift as drifts
from grace_geom.plots.panels import measures
from grace_geom.plots.weight_names import weight_name
from grace_geom.records import Finding

Span = tuple[float, float]
MAPS = (("rank", "Rank of the perturbation", False), ("score", "Curvature score", True))
HOW = {
    "rank": "0: the matrix is not perturbed.",
    "score": "Estimated Gauss-Newton diagonal, mean over each weight matrix; moving average over "
    "refreshes.",
}


def main() -> None:
    """Drift, its singular values, the rank curriculum."""
    choice = shell.page("Where did the weights move?")
    found = measured(choice, "parameter_drift")
    if found:
        drift(choice, found)
        singular_values(choice, found)
    curriculum(choice)


def drift(choice: Choice, found: list[Finding]) -> None:
    """Relative drift of every matrix and of all weights."""
    st.subheader("Drift from the pretrained weights", anchor=False)
    show.legend([f.run for f in found], choice.legend)
    names = [f"relative/{name}" for name in found[0].names("relative")]
    show.figure(
        drifts.by_matrix(found, choice.legend),
        "drift",
        "Relative drift of each weight matrix, one line a run",
        how(
            found,
            "‖W − W₀‖_F / ‖W₀‖_F of every weight matrix, exact (it needs no images); logarithmic. "
            "Matrices that a run leaves alone have no point. Settings of the analysis:",
        ),
        values_table(found, ["drift", *names]),
    )
    panels = {
        title: fig for key, title in (("drift", "All weights: ‖θ − θ₀‖ / ‖θ₀‖"),
                                      ("mean_effective_rank", "Mean effective rank of W − W₀"))
        if (fig := measures(found, choice.legend, key, title)) is not None
    }  # fmt: skip
    show.panels(
        panels,
        "drift-all",
        "One number of each run's drift",
        "Left: all weights of the image tower as one vector, exact. Right: exp of the entropy of "
        "the singular values of W − W₀, mean over matrices: low-rank methods stay low.",
        values_table(found, ["drift", "mean_effective_rank", "zero_shot_loss"]),
        width=474,
    )


def singular_values(choice: Choice, found: list[Finding]) -> None:
    """Of one matrix' change."""
    st.subheader("Singular values of W − W₀", anchor=False)
    matrices = drifts.matrices(found)
    if not matrices:
        st.info("No singular values on record.")
        return
    most = drifts.moved_most(found)
    name = st.selectbox(
        "Matrix", matrices, matrices.index(most[0]) if most else 0, format_func=weight_name,
        key="matrix", help="In the network's order; at first the one that moved most in any run.",
    )  # fmt: skip
    fig, rows = drifts.singular(found, choice.legend, name)
    show.figure(
        fig,
        "singular-values",
        f"Singular values of the change of {weight_name(name)}, one line a run",
        f"σᵢ of W − W₀ for {weight_name(name)}, the largest 64, logarithmic; exact. A change of "
        "rank r ends at i = r: what follows is rounding.",
        pd.DataFrame(rows),
        "No run moved this matrix.",
    )


def curriculum(choice: Choice) -> None:
    """The rank curriculum and the curvature scores behind it, on colour scales that the runs
    share."""
    st.subheader("GRACE's rank curriculum", anchor=False)
    st.markdown(
        "GRACE perturbs each weight matrix within a low rank that follows its curvature: the more "
        "curved a matrix is, the higher the rank of its perturbation. Score and rank are taken "
        "again at every refresh."
    )
    found = {e.id: ranks.curriculum(store.lines(e, "curvature").rows) for e in choice.single}
    drawn = {run: f for run, f in found.items() if f[0]}
    if not drawn:
        st.info(
            "None of the chosen runs has a `curvature.jsonl`; `grace` writes one. This trains it:"
        )
        st.code("python -m grace_geom.train --method grace", language="bash")
    spans = {key: span(drawn, key, log) for key, _, log in MAPS}
    for run, (steps, matrices, grids) in drawn.items():
        ends = {key: e for key, e in spans.items() if e is not None}
        panels = {
            heading: ranks.refreshes(
                grids[key], steps, matrices, ends[key], key, choice.ground, log
            )
            for key, heading, log in MAPS
            if key in ends
        }
        rows = [
            {
                "run": run,
                "step": step,
                "matrix": name,
                "rank": grids["rank"][i, j],
                "score": grids["score"][i, j],
            }
            for i, name in enumerate(matrices)
            for j, step in enumerate(steps)
        ]
        st.markdown(f"Run **{text(choice.names[run])}**")
        show.panels(
            panels,
            f"curriculum-{run.replace('/', '-')}",
            f"Heat map by weight matrix and refresh of run {run}",
            f"{len(matrices)} matrices, {len(steps)} refreshes, from curvature.jsonl. Rank "
            f"{HOW['rank']} Score: {HOW['score']}",
            pd.DataFrame(rows),
            width=474,
        )


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
