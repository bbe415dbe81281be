"""What changed in the representation, and on which data?"""

import numpy as np
import pandas as pd
import streamlit as st

from app import shell, show
from app.measured import attack_of, how, intervals, measured, values_table
from app.shell import Choice, text
from grace_geom.plots import layers, panels
from grace_geom.records import Finding

MEASURES = {
    "gram_chord": (
        "Gram drift, cosines",
        "‖Ĝa − Ĝb‖_F of cosine Gram matrices, 0 to 1.41: also sees a moved mean.",
    ),
    "gram_chord_centred": (
        "Gram drift, centred",
        "The same of centred features: a function of CKA with its sign.",
    ),
    "log_norm_ratio": (
        "Log norm ratio of the Gram matrices",
        "ln ‖Gb‖_F / ‖Ga‖_F: above 0 features draw together.",
    ),
    "procrustes": ("Procrustes distance", "d² after the best rotation and unit scaling, 0 to 2."),
}


def main() -> None:
    """CKA, Gram drift, centroids."""
    choice = shell.page("What changed, on which data?")
    found = measured(choice, "representation_drift")
    found = same_layers(choice, found)
    if found:
        show.legend([f.run for f in found], choice.legend)
        sets = layers.order(
            [s for f in found for s in f.array_names("cka_layers") if choice.keeps(s)]
        )
        if not sets:
            st.info("The chosen distributions are not among those that were measured.")
            return
        cka(choice, found, sets)
        heat_maps(choice, found, sets)
        gram(choice, found, sets)
    centroids(choice)


def same_layers(choice: Choice, found: list[Finding]) -> list[Finding]:
    """Towers with the layers of the first; the others are refused, with the reason."""
    kept = [f for f in found if layers.layer_names(f) == layers.layer_names(found[0])]
    for f in found:
        if f not in kept:
            shell.notice(f"{text(choice.names[f.run])} is left out: its tower has other layers.")
    return kept


def caption(found: list[Finding], what: str, *keys: str) -> str:
    """How it was measured, and what the intervals of the numbers ``keys`` are."""
    reference = found[0].result.settings.get("reference")
    against = "the pretrained model" if reference == "pretrained" else f"`{reference}`"
    return how(
        found,
        f"{what} Against {against}, on the same images. Under attack: {attack_of(found)}, found at "
        "the run and shown to both;",
        intervals(found, *keys),
    )


def rows(found: list[Finding], key: str, sets: list[str]) -> pd.DataFrame:
    """The numbers of panels by layer."""
    return pd.DataFrame([
        {"run": f.run, "distribution": s, "layer": layer, "value": v, "low": low, "high": high}
        for f in found for s in sets if (a := f.array(f"{key}/{s}")) is not None
        for layer, v, low, high in zip(layers.layer_names(f), *np.asarray(a, float), strict=True)
    ])  # fmt: skip


def cka(choice: Choice, found: list[Finding], sets: list[str]) -> None:
    """Similarity layer by layer."""
    st.subheader(
        "Similarity to the reference, layer by layer",
        anchor=False,
        help="CKA, centred kernel alignment: 1 where two layers see the same images alike up to "
        "rotation and scale, 0 where they have nothing in common.",
    )
    drawn = layers.by_layer(found, choice.legend, "cka", sets, "CKA")
    show.panels(
        drawn, "cka", "CKA with the reference by layer, one line a run with its band",
        caption(found, "Linear CKA, debiased (HSIC₁).", "cka"), rows(found, "cka", sets),
    )  # fmt: skip


def heat_maps(choice: Choice, found: list[Finding], sets: list[str]) -> None:
    """Every layer with every layer, on one distribution at a time."""
    st.subheader("Every layer with every layer", anchor=False)
    distribution = st.segmented_control(
        "Distribution",
        sets,
        default=sets[0],
        format_func=layers.title,
        key="heat-set",
        required=True,
        label_visibility="collapsed",
    )
    distribution = distribution if distribution in sets else sets[0]
    table = pd.DataFrame(
        [
            {
                "run": f.run,
                "distribution": distribution,
                "reference_layer": a,
                "layer": b,
                "cka": float(grid[i, j]),
            }
            for f in found
            if (grid := f.array(f"cka_layers/{distribution}")) is not None
            for i, a in enumerate(layers.layer_names(f))
            for j, b in enumerate(layers.layer_names(f))
        ]
    )
    streamed = found[0].result.settings.get("stream")  # sums give this matrix no intervals
    show.panels(
        layers.layer_by_layer(found, choice.legend, distribution), "cka-layers",
        "Heat map of CKA, layers of the reference against layers of the run, colours from 0 to 1",
        caption(
            found,
            f"Linear CKA, debiased, {layers.title(distribution).lower()}.",
            *(() if streamed else ("cka",)),
        ),
        table,
    )  # fmt: skip


def gram(choice: Choice, found: list[Finding], sets: list[str]) -> None:
    """Gram drift, and its relatives."""
    st.subheader("Gram drift", anchor=False)
    key = st.selectbox(
        "Measure",
        list(MEASURES),
        format_func=lambda k: MEASURES[k][0],
        key="gram-measure",
        width=360,
    )
    name, meaning = MEASURES[key]
    show.panels(
        layers.by_layer(found, choice.legend, key, sets, name),
        f"layers-{key}",
        f"{name} by layer, one line a run with its band",
        caption(found, meaning, key),
        rows(found, key, sets),
    )


def centroids(choice: Choice) -> None:
    """Where the classes' mean features went."""
    st.subheader(
        "Class centroids",
        anchor=False,
        help="Cosine of a class's mean feature on ID images and on the named images, mean over "
        "classes; 1: unmoved.",
    )
    found = measured(choice, "feature_stability")
    sets = layers.order([s for f in found for s in f.names("centroid_cosine") if choice.keeps(s)])
    points = layers.points(found, "centroid_cosine", sets)
    fig = panels.rows(
        points,
        [layers.title(s) for s in sets],
        choice.legend,
        {"title": "Cosine of centroids to ID"},
    )
    if fig is not None:
        show.legend([f.run for f in found], choice.legend)
    show.figure(
        fig,
        "centroids",
        "Dot plot of class-centroid cosines for each distribution, one marker a run",
        how(
            found,
            f"Mean over shared classes, unit features. Under attack: {attack_of(found)};",
            intervals(found, "centroid_cosine"),
        ),
        values_table(found, [f"centroid_cosine/{s}" for s in sets]),
        "None of the chosen distributions was measured." if found else "",
    )


main()
