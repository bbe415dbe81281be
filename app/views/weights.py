"""Where did the weights move?"""

import numpy as np
import pandas as pd
import streamlit as st

from app import curves, shell, store
from app.shell import text

Span = tuple[float, float]
MAPS = (("rank", "Rank of the perturbation", False), ("score", "Curvature score", True))
HOW = {
    "rank": "0: the matrix is not perturbed.",
    "score": "Estimated Gauss-Newton diagonal, mean over each weight matrix; moving average over refreshes.",
}

def main() -> None:
    """The rank curriculum and the curvature scores behind it, on colour scales that the runs share."""
    choice = shell.chosen()
    st.title("Where may the weights move?")
    shell.problems(choice.runs)
    st.markdown(
        "GRACE perturbs each weight matrix within a low rank that follows its curvature: the more curved a matrix is, "
        "the higher the rank of its perturbation. Score and rank are taken again at every refresh."
    )
    found = {e.id: curves.curriculum(store.lines(e, "curvature").rows) for e in choice.runs}
    drawn = {run: f for run, f in found.items() if f[0]}
    if without := [text(choice.names[run]) for run in found if run not in drawn]:
        st.info(f"No curvature on record (only `grace` writes `curvature.jsonl`): {', '.join(without)}")
    spans = {key: span(drawn, key, log) for key, _, log in MAPS}
    for run, (steps, matrices, grids) in drawn.items():
        st.subheader(text(choice.names[run]), anchor=False)
        with st.container(horizontal=True, gap="medium"):
            for key, heading, log in MAPS:
                if (ends := spans[key]) is not None:
                    one_map(choice, run, (steps, matrices, grids[key]), key, heading, ends, log)


def span(drawn: dict[str, tuple[list[int], list[str], dict[str, np.ndarray]]], key: str, log: bool) -> Span | None:
    """Ends of the colour scale of all runs, of the logarithm where ``log``; ``None`` where there are no numbers."""
    values = np.concatenate([grids[key].ravel() for _, _, grids in drawn.values()]) if drawn else np.array([])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not values.size:
        return None
    return (float(np.log10(values.min())), float(np.log10(values.max()))) if log else (0.0, float(values.max()))


def one_map(
    choice: shell.Choice, run: str, what: tuple[list[int], list[str], np.ndarray], key: str, heading: str, ends: Span,
    log: bool,
) -> None:  # fmt: skip
    """Matrices down, refreshes across."""
    steps, matrices, grid = what
    rows = [
        {"run": run, "step": step, "matrix": name, key: grid[i, j]}
        for i, name in enumerate(matrices) for j, step in enumerate(steps)
    ]  # fmt: skip
    with st.container(width=470):
        st.markdown(f"**{heading}**")
        shell.figure(
            curves.heat(grid, steps, matrices, ends, key, choice.ground, log), f"{key}-{run.replace('/', '-')}",
            f"Heat map of the {key} of each weight matrix at each refresh of run {run}",
            f"{len(matrices)} matrices, {len(steps)} refreshes, from curvature.jsonl. {HOW[key]}", pd.DataFrame(rows),
        )  # fmt: skip


main()
