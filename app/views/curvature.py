"""Is it flat, and where not?"""

import numpy as np
import pandas as pd
import streamlit as st

from app import shell, show
from app.measured import attack_of, how, measured, values_table
from app.shell import Choice
from grace_geom.plots import curvature, panels, spectra
from grace_geom.records import Finding

NUMBERS = (
    ("lambda_1", "Largest eigenvalue λ₁", "Curvature in the sharpest direction."),
    ("lambda_min_1", "Smallest eigenvalue", "Below 0: the loss falls in that direction."),
    ("trace", "Trace", "Sum of all eigenvalues."),
    ("frobenius/sqrt_d", "‖H‖_F / √d", "Root mean square eigenvalue."),
)


def main() -> None:
    """What ``hessian_spectrum`` and ``sharpness`` found."""
    choice = shell.page("Is it flat, and where not?")
    shown = measured(choice, "hessian_spectrum")
    if shown:
        show.legend([f.run for f in shown], choice.legend)
        density(choice, shown)
        numbers(choice, shown)
        matrices(choice, shown)
    sharpness(choice)


def caption(found: list[Finding], key: str = "") -> str:
    """How it was measured."""
    s = found[0].result.settings
    m = found[0].value(key) if key else None
    estimator = f"{m.estimator}. " if m is not None and m.estimator else ""
    loss = (
        "cross-entropy on clean images"
        if s.get("loss") == "ce"
        else f"cross-entropy under {attack_of(found)}"
    )
    name = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix"}.get(
        str(s.get("operator")), str(s.get("operator"))
    )
    return how(found, f"{estimator}{name} of the {loss} over the weights `{s.get('params')}`,")


def density(choice: Choice, found: list[Finding]) -> None:
    """The whole spectrum."""
    st.subheader("Spectral density", anchor=False)
    nodes = [
        {"run": f.run, "node": float(x), "weight": float(w)}
        for f in found
        if f.array("density_nodes") is not None
        for x, w in zip(
            f.array("density_nodes").ravel(), f.array("density_weights").ravel(), strict=True
        )
    ]
    starts = {
        np.atleast_2d(a).shape[0] for f in found if (a := f.array("density_nodes")) is not None
    }
    many = (
        f"mean over {max(starts)} start vectors"
        if starts and max(starts) > 1
        else "one start vector"
    )
    show.figure(
        spectra.density(found, choice.legend),
        "density",
        "Spectral density of each run, linear eigenvalue axis, logarithmic density axis",
        f"Stochastic Lanczos quadrature, {many}, one Gaussian kernel for all (σ = "
        f"{spectra.kernel(found) or 0:.3g}); bands: the spread of start vectors; nothing is "
        "drawn below a hundredth of one eigenvalue; λ₁ is named where it was measured. "
        f"{caption(found)}",
        pd.DataFrame(nodes),
        "Measured without --density-probes.",
    )


def numbers(choice: Choice, found: list[Finding]) -> None:
    """Four numbers, each a dot plot."""
    st.subheader("Four numbers", anchor=False)
    drawn = {
        title: fig for key, title, _ in NUMBERS
        if (fig := panels.measures(found, choice.legend, key, title)) is not None
    }  # fmt: skip
    there = [(key, title, meaning) for key, title, meaning in NUMBERS if title in drawn]
    meanings = " ".join(f"*{title}*: {meaning}" for _, title, meaning in there)
    estimators = "; ".join(
        dict.fromkeys(
            m.estimator
            for key, _, _ in there
            if (m := found[0].value(key)) is not None and m.estimator
        )
    )
    show.panels(
        drawn,
        "curvature",
        "One number of the curvature of each run with its interval",
        f"{meanings} Estimators: {estimators}. Bars: eigenvalues within their residual bounds, "
        f"estimates within 95 %. {caption(found)}",
        values_table(found, [key for key, _, _ in there]),
    )


def matrices(choice: Choice, found: list[Finding]) -> None:
    """Curvature matrix by matrix."""
    st.subheader("Curvature of each matrix", anchor=False)
    drawn = curvature.by_block(found, choice.legend, "kappa")
    if not drawn:
        st.info("No curvature by matrix on record.")
        return
    keys = [f"kappa/{name}" for name in found[0].names("kappa")]
    show.panels(
        drawn,
        "kappa",
        "Heat map of the mean curvature of each weight matrix, blocks down, kinds across",
        "Mean diagonal of each matrix' block of the Hessian (trace / size), one logarithmic colour "
        "scale; blank where the estimate is not positive; a matrix of the stem or the head fills its "
        "row. "
        f"{caption(found, keys[0] if keys else '')}",
        values_table(found, keys),
    )


def sharpness(choice: Choice) -> None:
    """Rise of the loss against the radius."""
    st.subheader("Sharpness: how far the loss rises nearby", anchor=False)
    found = measured(choice, "sharpness")
    losses = [loss for loss in ("ce", "adv-ce") if any(f.array_names(loss) for f in found)]
    if not losses:
        return
    titles = {"ce": "clean loss", "adv-ce": "adversarial loss"}
    loss = st.segmented_control(
        "Loss",
        losses,
        default=losses[0],
        format_func=lambda name: titles[name],
        key="sharpness-loss",
        required=True,
        help="Adversarial: on PGD images that were found at the checkpoint.",
    )
    show.legend([f.run for f in found], choice.legend)
    keys = [f"{loss}/{name}" for name in found[0].names(str(loss))]
    steps = found[0].result.settings.get("ascent_steps")
    show.panels(
        curvature.sharpness(found, choice.legend, str(loss)),
        f"sharpness-{loss}",
        f"Rise of the {titles[str(loss)]} against the radius of the weight perturbation, one line "
        "a run",
        how(
            found,
            f"Maxima by projected ascent, {steps} gradients, lower bounds of the true ones; the "
            f"Gaussian one is a mean of {found[0].result.settings.get('samples')} pairs, band: "
            "1.96 standard errors;",
        ),
        values_table(found, keys),
    )


main()
