"""Is it flat, and where not?"""

import shlex

import pandas as pd
import streamlit as st

from app import curves, shell, store
from app.shell import Choice, text
from app.store import Finding

NUMBERS = (
    ("lambda_1", "Largest eigenvalue λ₁", "Curvature in the sharpest direction."),
    ("lambda_min_1", "Smallest eigenvalue", "Below 0: the loss falls in that direction."),
    ("trace", "Trace", "Sum of all eigenvalues."),
    ("frobenius/sqrt_d", "‖H‖_F / √d", "Root mean square eigenvalue."),
)
SAME = ("data", "n", "params", "loss", "operator", "eps", "seed", "dtype")


def main() -> None:
    """What ``hessian_spectrum`` found."""
    choice = shell.chosen()
    st.title("Is it flat, and where not?")
    shell.problems(choice.runs)
    found, broken = store.findings("hessian_spectrum", choice.runs, choice.root)
    for problem in broken:
        st.warning(f"Left out: {text(problem)}")
    missing = [e for e in choice.runs if e.id not in {f.run for f in found}]
    if missing:
        st.info(f"Not measured yet: {', '.join(text(choice.names[e.id]) for e in missing)}. This does it:")
        folders = " ".join(shlex.quote(str(choice.root / e.id)) for e in choice.runs)
        st.code(f"python analyses/hessian_spectrum.py {folders}", language="bash", wrap_lines=True)
    shown = same_settings(choice, found)
    if shown:
        numbers(choice, shown)
        pictures(choice, shown)


def same_settings(choice: Choice, found: list[Finding]) -> list[Finding]:
    """Those measured as the baseline was (or as the first); of the others it is said why they are left out."""
    base = choice.baseline.id if choice.baseline else ""
    first = next((f for f in found if f.run == base), found[0] if found else None)
    kept = []
    for f in found:
        other = [k for k in SAME if first and f.result.settings.get(k) != first.result.settings.get(k)]
        if other and first:
            st.warning(f"{text(choice.names[f.run])} is left out: measured with other {text(', '.join(other))}")
        else:
            kept.append(f)
    return kept


def caption(found: list[Finding], key: str = "") -> str:
    """How it was measured."""
    s = found[0].result.settings
    m = found[0].value(key) if key else None
    how = f"{m.estimator}. " if m is not None and m.estimator else ""
    loss = "cross-entropy on clean images" if s.get("loss") == "ce" else f"loss {s.get('loss')}"
    return (
        f"{how}{s.get('operator', 'hessian')} of the {loss} over the weights `{s.get('params')}`, "
        f"n = {s.get('n')} images, seed {s.get('seed')}, {s.get('dtype')}."
    )


def numbers(choice: Choice, found: list[Finding]) -> None:
    """Four numbers, each a dot plot."""
    st.subheader("Four numbers", anchor=False)
    with st.container(horizontal=True, gap="medium"):
        for key, title, meaning in NUMBERS:
            fig = curves.measures(found, choice.names, key, title, choice.ground)
            if fig is None:
                continue
            with st.container(width=470):
                st.markdown(f"**{title}**", help=meaning)
                rows = [{"run": f.run, "value": m.value, "low": m.low, "high": m.high, "estimator": m.estimator}
                        for f in found if (m := f.value(key)) is not None]  # fmt: skip
                shell.figure(
                    fig, f"curvature-{key.replace('/', '-')}", f"{title} of each run with its interval",
                    caption(found, key), pd.DataFrame(rows),
                )  # fmt: skip


def pictures(choice: Choice, found: list[Finding]) -> None:
    """Density and curvature by matrix."""
    left, right = st.columns(2)
    with left:
        st.subheader("Spectral density", anchor=False)
        nodes = [
            {"run": f.run, "node": float(x), "weight": float(w)} for f in found if f.array("density_nodes") is not None
            for x, w in zip(f.array("density_nodes").ravel(), f.array("density_weights").ravel(), strict=True)
        ]  # fmt: skip
        shell.figure(
            curves.density(found, choice.names, choice.ground), "density",
            "Spectral density of each run, linear eigenvalue axis, logarithmic density axis",
            "Stochastic Lanczos quadrature, mean over start vectors, one Gaussian kernel for all (1 % of the range); "
            f"nothing is drawn below a hundredth of one eigenvalue. {caption(found)}",
            pd.DataFrame(nodes), "Measured without --density-probes.",
        )  # fmt: skip
    with right:
        st.subheader("Curvature of each matrix", anchor=False)
        rows = [
            {"run": f.run, "matrix": name, "kappa": f.value(f"kappa/{name}").value}
            for f in found for name in f.names("kappa")
        ]  # fmt: skip
        shell.figure(
            curves.blocks(found, choice.names, "kappa", choice.ground), "kappa",
            "Heat map of the mean curvature of each weight matrix, one column a run",
            f"Mean diagonal of its block (trace / size); blank where the estimate is not positive. {caption(found)}",
            pd.DataFrame(rows), "No curvature by matrix on record.",
        )  # fmt: skip


main()
