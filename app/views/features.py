"""Do features collapse or deform?"""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import collapse, points, shell, show
from app.details import heading
from app.kept import kept
from app.measured import attack_of, how, intervals, measured, values_table
from app.shell import Choice
from grace_geom.plots import features, layers, panels
from grace_geom.records import Finding

MEASURES = {
    "effective_rank_centred": (
        "Effective rank",
        "exp of the entropy of the singular values of centred features: "
        "how many directions they use; low: collapsed.",
    ),
    "iso_score": (
        "IsoScore",
        "(PR − 1) / (D − 1) of the covariance: 1 if all directions are used alike, 0 if one is.",
    ),
    "lid": (
        "LID, local intrinsic dimension",
        "Levina-Bickel maximum likelihood, k = 20, unit rows: dimension of the "
        "neighbourhood of an image.",
    ),
    "mean_cosine": ("Mean cosine", "Between features of two images: 1 if all point one way."),
    "participation_ratio": ("Participation ratio", "(Σλ)² / Σλ² of the covariance."),
    "uniformity": ("Uniformity", "ln mean exp(−2‖u − u'‖²): the lower the more evenly spread."),
}


def main() -> None:
    """Answer and its number, clouds, numbers of images, dimension, numbers by layer."""
    choice = shell.page("Do features collapse or deform?")
    found = measured(choice, "feature_stability", ("rho", "rank", "awp_batch"))
    above = st.container()  # what has not been measured is said below the clouds
    spread = measured(choice, "anisotropy", flags="--parts features")
    spread = [f for f in spread if f.array("features/layers") is not None]
    number = collapse.told(choice, found, spread)
    shell.answer(collapse.sentence(choice, found, number))
    if number:
        with above:
            held_against(choice, number)
    if found:
        with above:
            points.over_id(choice, found)
            per_image(choice, found)
            dimensions(choice, found)
    if spread:
        st.header("Layer by layer", anchor=False)
        by_layer(choice, spread)


def held_against(choice: Choice, number: collapse.Told) -> None:
    """The number of the answer, a row a run, over the interval of the reference."""
    figure = features.held_against(number.of, number.reference, choice.legend, number.name)
    name = shell.called(choice.names[number.reference])
    show.figure(
        figure,
        "collapse",
        f"Dot plot of the {number.name}, a row a run",
        how(
            number.found,
            f"Bold, line and grey band: {name} with its interval; a run whose interval lies outside of the "
            "band uses clearly fewer directions, or more;",
            intervals(number.found, number.key),
        ),
        partial(values_table, number.found, [number.key]),
    )


@st.fragment
def per_image(choice: Choice, found: list[Finding]) -> None:
    """Numbers of single images, as cumulative shares."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading(
            "Image by image",
            "Gram volume: sqrt |det G| of the clean feature, the adversarial one, and the "
            "adversarial one at perturbed weights (AWP); 0 where the three fall together, as GRACE "
            "asks for.",
        )
        label = f"All {len(found)} in colour"
        every = len(found) <= show.MOST_IN_FRONT or st.toggle(
            label, key="features_images_all", bind="query-params"
        )
    front = [f.run for f in (found if every else points.ends(choice, found))]
    behind = tuple(f.run for f in found if f.run not in front)
    show.legend(front, choice.legend)
    s = found[0].result.settings
    show.panels(
        kept(features.per_image, found, choice.legend, behind),
        "images",
        "Cumulative share of images below a number, one line a run with its band",
        how(
            found,
            f"Share of images at or below a number. Adversarial: {attack_of(found)}. "
            f"AWP: weights perturbed at rank {s.get('rank')}, ‖Δ‖ = {s.get('rho')} ‖W‖ in every "
            "matrix;",
            "Bands hold the whole line at 95 % (Dvoretzky-Kiefer-Wolfowitz)."
            + show.greys(choice.names, behind, label),
        ),
        lambda: pd.DataFrame([
            {"run": f.run, "number": key, "image": i, "value": float(v)}
            for f in found for key in features.PER_IMAGE if (a := f.array(key)) is not None
            for i, v in enumerate(a)
        ]),
    )  # fmt: skip


@st.fragment
def dimensions(choice: Choice, found: list[Finding]) -> None:
    """Intrinsic dimension of each distribution; drawn where somebody opens it."""
    place = st.expander(
        "Intrinsic dimension of the embedding", key="features_dimension", on_change="rerun",
        bind="query-params",
    )  # fmt: skip
    if place.open:
        with place:
            _dimensions(choice, found)


def _dimensions(choice: Choice, found: list[Finding]) -> None:
    sets = [s for s in layers.order([n for f in found for n in f.names("lid")]) if choice.keeps(s)]
    drawn = {}
    for key, title in (("lid", "LID (Levina-Bickel, k = 20)"), ("two_nn", "TwoNN")):
        dots = layers.points(found, key, sets)
        heads = [layers.title(s) for s in sets]
        if (fig := kept(panels.rows, dots, heads, choice.legend, {"title": title})) is not None:
            drawn[title] = fig
    keys = [f"{key}/{s}" for key in ("lid", "two_nn") for s in sets]
    show.panels(
        drawn,
        "dimension",
        "Dot plot of intrinsic dimension for each distribution, one marker a run",
        how(
            found,
            "Number of dimensions in the neighbourhood of an image, two estimators;",
            intervals(found, "lid", "two_nn"),
        ),
        partial(values_table, found, keys),
        width=474,
    )


def by_layer(choice: Choice, found: list[Finding]) -> None:
    """Effective rank, IsoScore, LID and others against the layer; eigenvalue decay at one layer."""
    show.legend([f.run for f in found], choice.legend)
    names = found[0].array("features/sets")
    sets = [
        s for s in layers.order([str(n) for n in np.asarray(names).tolist()]) if choice.keeps(s)
    ]
    there = {
        k: v
        for k, v in MEASURES.items()
        if any(k in n.split("/") for f in found for n in f.names("features"))
    }
    if not there or not sets:
        st.info("No number by layer on record for the chosen distributions.")
        return
    key = st.selectbox(
        "Number",
        list(there),
        format_func=lambda k: MEASURES[k][0],
        key="features_number",
        width=360,
        bind="query-params",
        filter_mode="contains",
    )
    at = features.layers_of(found)
    keys = [f"features/{s}/{key}/{layer}" for s in sets for layer in at]
    show.panels(
        kept(features.by_layer, found, choice.legend, key, sets, MEASURES[key][0]),
        f"features-{key}",
        f"{MEASURES[key][0]} by layer, one line a run with its band",
        how(
            found,
            f"{MEASURES[key][1]} Under attack: {attack_of(found)};",
            intervals(found, *(f"features/{s}/{key}" for s in sets)),
        ),
        partial(values_table, found, keys),
    )
    decay(choice, found, sets, at)


@st.fragment
def decay(choice: Choice, found: list[Finding], sets: list[str], at: list[str]) -> None:
    """Eigenvalues of the features at one layer; drawn where somebody opens it."""
    place = st.expander(
        "Eigenvalue decay", key="features_decay", on_change="rerun", bind="query-params"
    )
    if place.open:
        with place:
            _decay(choice, found, sets, at)


def _decay(choice: Choice, found: list[Finding], sets: list[str], at: list[str]) -> None:
    layer = st.selectbox(
        "Layer", at, index=len(at) - 1, format_func=layers.layer_name, key="features_layer", width=200,
        bind="query-params", filter_mode="contains",
    )  # fmt: skip
    show.panels(
        kept(features.decay, found, choice.legend, sets, layer),
        "decay",
        "Eigenvalues of the feature covariance, largest first, one line a run",
        how(
            found,
            "Eigenvalues of the covariance as shares of their sum, down to 1e-6; a steep fall: few "
            "directions carry the features;",
        ),
        lambda: pd.DataFrame([
            {"run": f.run, "distribution": s, "layer": layer, "i": i, "share": float(v)}
            for f in found for s in sets
            if (a := f.array(f"features/{s}/spectrum/{layer}")) is not None
            for i, v in enumerate(a, start=1)
        ]),
    )  # fmt: skip


main()
