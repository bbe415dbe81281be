"""Do features collapse or deform?"""

import numpy as np
import pandas as pd
import streamlit as st

from app import shell, show
from app.measured import attack_of, how, intervals, measured, values_table
from app.shell import Choice
from grace_geom.plots import features, layers, panels
from grace_geom.plots.palette import of_sets
from grace_geom.records import Finding

MOST_SCENES = 6  # three-dimensional panels at a time: browsers keep few of them alive
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
    """Clouds, spectra, numbers by layer, histograms."""
    choice = shell.page("Do features collapse or deform?")
    found = measured(choice, "feature_stability", ("rho", "rank", "awp_batch"))
    if found:
        clouds(choice, found)
        histograms(choice, found)
        dimensions(choice, found)
    st.header("Layer by layer", anchor=False)
    spread = measured(choice, "anisotropy", flags="--parts features")
    spread = [f for f in spread if f.array("features/layers") is not None]
    if spread:
        by_layer(choice, spread)


def clouds(choice: Choice, found: list[Finding]) -> None:
    """Principal components."""
    st.header("ID, shifted and attacked images on the principal axes of ID", anchor=False)
    solid = (
        st.segmented_control(
            "Dimensions",
            ["2-D", "3-D"],
            default="2-D",
            key="cloud-kind",
            required=True,
            label_visibility="collapsed",
        )
        == "3-D"
    )
    sets = [s for s in features.sets_of(found) if s == "id" or choice.keeps(s)]
    shown = found
    if solid and len(found) > MOST_SCENES:
        st.caption(f"The first {MOST_SCENES} runs: choose others in the sidebar.")
        shown = found[:MOST_SCENES]
    colors = of_sets(features.sets_of(found), choice.ground)
    show.swatches({layers.title(s): colors[s] for s in sets})
    table = pd.DataFrame(
        [
            {
                "run": f.run,
                "distribution": s,
                "pc1": float(p[0]),
                "pc2": float(p[1]),
                "pc3": float(p[2]),
                "label": int(y),
            }
            for f in shown
            for s in sets
            if (a := f.array(f"pca/{s}")) is not None
            for p, y in zip(a, f.array(f"pca_label/{s}"), strict=True)
        ]
    )
    show.panels(
        features.clouds(shown, choice.legend, sets, solid),
        f"cloud-{'3d' if solid else '2d'}",
        "Scatter of principal components of image features, a colour a distribution",
        how(
            found,
            "Unit features of the embedding on the first principal axes of each run's own ID "
            f"features (axes of two runs do not correspond, their scales do); at most "
            f"{features.MOST_POINTS} images a distribution. Share of the ID variance in brackets. "
            "Under attack: "
            f"{attack_of(found)};",
        ),
        table,
    )


def histograms(choice: Choice, found: list[Finding]) -> None:
    """Of images."""
    st.header(
        "Image by image",
        anchor=False,
        help="Gram volume: sqrt |det G| of the clean feature, the adversarial one, and the "
        "adversarial one at perturbed weights (AWP); 0 where the three fall together, as GRACE "
        "asks for.",
    )
    show.legend([f.run for f in found], choice.legend)
    drawn = {
        title: fig
        for key, title in features.PER_IMAGE.items()
        if (fig := features.histogram(found, choice.legend, key, title.split(" of ")[0]))
        is not None
    }
    table = pd.DataFrame(
        [
            {"run": f.run, "number": key, "image": i, "value": float(v)}
            for f in found
            for key in features.PER_IMAGE
            if (a := f.array(key)) is not None
            for i, v in enumerate(a)
        ]
    )
    s = found[0].result.settings
    show.panels(
        drawn,
        "images",
        "Histogram of a number of each image, one outline a run",
        how(
            found,
            f"One number an image, 30 bins that the runs share. Adversarial: {attack_of(found)}. "
            f"AWP: weights perturbed at rank {s.get('rank')}, ‖Δ‖ = {s.get('rho')} ‖W‖ in every "
            "matrix;",
        ),
        table,
    )


def dimensions(choice: Choice, found: list[Finding]) -> None:
    """Intrinsic dimension of each distribution."""
    st.header("Intrinsic dimension of the embedding", anchor=False)
    sets = [s for s in layers.order([n for f in found for n in f.names("lid")]) if choice.keeps(s)]
    drawn = {}
    for key, title in (("lid", "LID (Levina-Bickel, k = 20)"), ("two_nn", "TwoNN")):
        points = layers.points(found, key, sets)
        heads = [layers.title(s) for s in sets]
        if (fig := panels.rows(points, heads, choice.legend, {"title": title})) is not None:
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
        values_table(found, keys),
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
        key="anisotropy-number",
        width=360,
    )
    at = features.layers_of(found)
    keys = [f"features/{s}/{key}/{layer}" for s in sets for layer in at]
    show.panels(
        features.by_layer(found, choice.legend, key, sets, MEASURES[key][0]),
        f"features-{key}",
        f"{MEASURES[key][0]} by layer, one line a run with its band",
        how(
            found,
            f"{MEASURES[key][1]} Under attack: {attack_of(found)};",
            intervals(found, *(f"features/{s}/{key}" for s in sets)),
        ),
        values_table(found, keys),
    )
    st.header("Eigenvalue decay", anchor=False)
    layer = st.selectbox(
        "Layer", at, index=len(at) - 1, format_func=layers.short, key="decay-layer", width=200,
        help="emb: the embedding.",
    )  # fmt: skip
    table = pd.DataFrame([
        {"run": f.run, "distribution": s, "layer": layer, "i": i, "share": float(v)}
        for f in found for s in sets if (a := f.array(f"features/{s}/spectrum/{layer}")) is not None
        for i, v in enumerate(a, start=1)
    ])  # fmt: skip
    show.panels(
        features.decay(found, choice.legend, sets, layer),
        "decay",
        "Eigenvalues of the feature covariance, largest first, one line a run",
        how(
            found,
            "Eigenvalues of the covariance as shares of their sum, down to 1e-6; a steep fall: few "
            "directions carry the features;",
        ),
        table,
    )


main()
