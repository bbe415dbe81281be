"""Is it flat, and where not?"""

import math
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import answers, shell, show
from app.details import details, heading
from app.head import unbroken
from app.kept import kept
from app.measured import attack_of, command, how, measured, values_table
from app.shell import Choice, inline, text
from grace_geom.plots import curvature, panels, spectra
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import point
from grace_geom.plots.weight_names import group_name
from grace_geom.records import Finding

FIGURES = "Eigenvalues, trace and norm"
BELOW = "Below 0 the loss falls in that direction"
NUMBERS = (
    ("lambda_1", "Largest eigenvalue", "λ<sub>1</sub>", "Curvature in the sharpest direction"),
    ("lambda_min_1", "Smallest eigenvalue", "λ<sub>min</sub>", BELOW),
    ("trace", "Trace", "Tr H", "Sum of all eigenvalues"),
    ("frobenius/sqrt_d", "Frobenius norm / √d", "‖H‖<sub>F</sub> / √d",
     "Root mean square eigenvalue"),
)  # fmt: skip
AXES = {"linear": "Linear λ", "log": "Logarithmic λ"}
RISES = "Sharpness: how far the loss rises nearby"
LOSSES = {"ce": "Clean loss", "adv-ce": "Adversarial loss"}


def main() -> None:
    """What ``hessian_spectrum`` and ``sharpness`` found."""
    choice = shell.page("Is it flat, and where not?")
    shown = flattest_first(measured(choice, "hessian_spectrum"))
    said = {}
    if shown:
        shell.answer(answers.curvature(shown, answers.bold(choice.names)))
        known = any(f.array("density_nodes") is not None for f in shown)
        if known:  # the rows of the other figures have names
            with_tops = spectra.with_tops(shown, choice.legend)
            show.legend([f.run for f in shown], with_tops)
            density(choice, shown, with_tops)
        numbers(choice, shown)
        matrices(choice, shown)
        if not known:
            without_density(choice)
        said = meanings(choice, shown)
    rising = sharpness(choice)
    if not shown:
        shell.answer(
            answers.sharpness(rising, answers.bold(choice.names))
            or answers.unmeasured("hessian_spectrum")
        )
    details(said | sharpness_meaning(rising))


def flattest_first(found: list[Finding]) -> list[Finding]:
    """In the order in which the answer ranks them: by λ₁; those without it come last."""
    tops = {f.run: point(f.value("lambda_1")) for f in found}
    return sorted(found, key=lambda f: p.value if (p := tops[f.run]) else math.inf)


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
    where = inline(group_name(str(s.get("params"))))
    return how(found, f"{estimator}{name} of the {loss} over the {where},")


@st.fragment
def density(choice: Choice, found: list[Finding], with_tops: Legend) -> None:
    """The whole spectrum, on one of two axes."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Spectral density")
        axis = st.segmented_control(
            "Axis of the eigenvalues", list(AXES), default="linear", format_func=AXES.__getitem__,
            key="curvature_axis", bind="query-params", required=True, width="content",
            label_visibility="collapsed",
            help="Logarithmic: negative and positive eigenvalues apart, with a kernel of one width "
            "in decades.",
        )  # fmt: skip
    if axis == "log":
        left_out = 100 * spectra.near_zero(found)
        drawn = kept(spectra.log_density, found, choice.legend)
        if drawn:
            show.panels(
                drawn, "density-log", "Spectral density of each run over the logarithm of λ",
                f"Gaussian kernel, σ = {spectra.DECADES:g} decades; eigenvalues below "
                f"a millionth of the largest are left out, up to {left_out:.3g} % of a "
                f"run's. {caption(found)}{show.coincide(drawn)}",
                partial(_nodes, found), width=474,
            )  # fmt: skip
            return
    fig = kept(spectra.density, found, choice.legend)
    show.figure(
        fig,
        "density",
        "Spectral density of each run, linear eigenvalue axis, logarithmic density axis. "
        + answers.curvature(found, choice.names).replace("**", ""),
        f"Gaussian kernel, σ = {spectra.kernel(found) or 0:.3g}; markers below: eigenvalues found "
        f"one by one, a row a run; dotted: λ₁; bands: single probes. {caption(found)}"
        + show.coincide({"": fig}),
        partial(_nodes, found),
        legend=with_tops,
    )


def without_density(choice: Choice) -> None:
    """What measures the density, below the numbers that are there."""
    st.header("Spectral density", anchor=False)
    st.info(
        "How many eigenvalues lie where was not measured for these runs. This does it, with 2 "
        "random start vectors:"
    )
    line = command(choice, "hessian_spectrum", "--density-probes 2")
    st.code(line, language="bash", wrap_lines=True)


def _nodes(found: list[Finding]) -> pd.DataFrame:
    return pd.DataFrame([
        {"run": f.run, "probe": probe, "node": float(x), "weight": float(w)}
        for f in found
        if f.array("density_nodes") is not None
        for probe, row in enumerate(np.atleast_2d(f.array("density_nodes")))
        for x, w in zip(row, np.atleast_2d(f.array("density_weights"))[probe], strict=True)
    ])  # fmt: skip


def numbers(choice: Choice, found: list[Finding]) -> None:
    """The numbers of the whole matrix, each a dot plot with the baseline marked."""
    st.header(FIGURES, anchor=False)
    base = choice.base_run.id if choice.base_run else ""
    drawn = {
        title: fig for key, title, axis, _ in NUMBERS
        if (fig := kept(panels.measures, found, choice.legend, key, axis, base)) is not None
    }  # fmt: skip
    marked = " Bold, dotted: the baseline." if base in {f.run for f in found} else ""
    there = [key for key, title, *_ in NUMBERS if title in drawn]
    falls = (
        f" Smallest eigenvalue: {BELOW[0].lower()}{BELOW[1:]}." if NUMBERS[1][1] in drawn else ""
    )
    estimators = "; ".join(
        dict.fromkeys(
            m.estimator.partition(", |Hv")[0]
            for key in there
            if (m := found[0].value(key)) is not None and m.estimator
        )
    )
    show.panels(
        drawn,
        "curvature",
        "One number of the curvature of each run with its interval",
        f"Rows: flattest first, by λ₁.{marked}{falls} {estimators}. Bars: eigenvalues within their "
        f"residuals, estimates within 95 %, for these images alone. {caption(found)}"
        f"{show.whole([f.run for f in found], choice.names)}",
        partial(values_table, found, there),
    )


def matrices(choice: Choice, found: list[Finding]) -> None:
    """Curvature matrix by matrix."""
    st.header("Curvature of each matrix", anchor=False)
    base = choice.base_run.id if choice.base_run else ""
    fig = kept(curvature.map_by_matrix, found, choice.legend, "kappa", base)
    if fig is not None and (said := answers.most_curved(found, answers.bold(choice.names))):
        st.markdown(unbroken(said))
    keys = [f"kappa/{name}" for name in found[0].names("kappa")]
    bold = " Bold: the baseline." if base in {f.run for f in found} else ""
    crossed = " ×: not clearly above 0." if fig is not None and len(fig.data) > 1 else ""
    show.figure(
        fig,
        "kappa",
        "Map of the mean curvature of each weight matrix from stem to head, a row a run",
        f"κ = trace / entries of each matrix; rows: flattest first, by λ₁.{bold}{crossed} The pointer has "
        "the 95 % intervals. "
        f"{caption(found, keys[0] if keys else '')}",
        partial(values_table, found, keys),
        "No matrix is clearly curved." if keys else "No curvature by matrix on record.",
        head="Mean curvature κ of each weight matrix",
    )


def meanings(choice: Choice, found: list[Finding]) -> dict[str, str]:
    """What the figures of the spectrum show, and what was not resolved."""
    return {
        "Spectral density": "Stochastic Lanczos quadrature: each node carries its weight as mass, "
        "smoothed with a Gaussian kernel of the stated width; nothing is drawn below a hundredth "
        f"of one eigenvalue. {text(spectra.resolved(found, choice.legend))}.",
        FIGURES: "; ".join(f"*{title}*: {meaning.lower()}" for _, title, _, meaning in NUMBERS)
        + ".",
        "Curvature of each matrix": "Columns follow the network from its stem to its head; colours "
        "are logarithmic. An estimate that is not above 0, or whose interval reaches 0, has a cross; "
        "where nothing was measured a cell is empty. The pointer shows the interval of each estimate.",
    }


def sharpness(choice: Choice) -> list[Finding]:
    """Rise of the loss against the radius. Returns what was found."""
    place = st.empty()
    found = measured(choice, "sharpness")
    if not found:
        place.header(RISES, anchor=False)  # over the command that measures it
    if any(f.array_names(loss) for loss in LOSSES for f in found):
        rises(choice, found)
    return found


@st.fragment
def rises(choice: Choice, found: list[Finding]) -> None:
    """Of one loss at a time."""
    losses = [loss for loss in LOSSES if any(f.array_names(loss) for f in found)]
    with st.container(horizontal=True, vertical_alignment="center"):
        heading(RISES)
        loss = st.segmented_control(
            "Loss", losses, default=losses[0], format_func=LOSSES.__getitem__,
            key="curvature_loss", bind="query-params", required=True, width="content",
            label_visibility="collapsed",
            help="Adversarial: on PGD images that were found at the checkpoint.",
        )  # fmt: skip
    show.legend([f.run for f in found], choice.legend)
    keys = [f"{loss}/{name}" for name in found[0].names(str(loss))]
    steps, samples = (found[0].result.settings.get(key) for key in ("ascent_steps", "samples"))
    drawn = kept(curvature.sharpness, found, choice.legend, str(loss))
    linear = curvature.scales(drawn.values())
    show.panels(
        drawn,
        f"sharpness-{loss}",
        f"Rise of the {LOSSES[str(loss)].lower()} against the radius of the weight perturbation, "
        "one line a run",
        how(
            found,
            f"Maxima: {steps} ascent steps, lower bounds. Gaussian: {samples} pairs, 95 %"
            f"{linear and f', {linear}'};",
        ),
        partial(values_table, found, keys),
    )


def sharpness_meaning(found: list[Finding]) -> dict[str, str]:
    """How sharpness is found."""
    if not found:
        return {}
    return {
        "Sharpness": "The rise of the loss within a radius of the weights. Maxima come from "
        "projected gradient ascent, so they are lower bounds of the true ones; the Gaussian form is "
        "a mean over pairs of random perturbations, band: 1.96 standard errors."
    }


main()
