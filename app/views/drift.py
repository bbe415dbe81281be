"""What changed in the representation, and on which data?"""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import answers, shell, show
from app.details import details, heading
from app.kept import kept
from app.measured import attack_of, how, intervals, measured, values_table
from app.shell import Choice, text
from grace_geom.plots import layers, panels
from grace_geom.records import Finding

MEASURES = {  # name, estimator, and what it means
    "cka": ("CKA", "Linear CKA, debiased (HSIC₁).",
            "Centred kernel alignment: 1 where two layers see the same images alike up to rotation "
            "and scale, 0 where they have nothing in common."),
    "gram_chord": ("Gram drift, cosines",
                   "‖Ĝa − Ĝb‖ (Frobenius) of cosine Gram matrices, 0 to 1.41.",
                   "Sees a moved mean too, which CKA does not."),
    "gram_chord_centred": ("Gram drift, centred", "‖Ĝa − Ĝb‖ (Frobenius) of centred features, 0 to 1.41.",
                           "A function of CKA with its sign."),
    "log_norm_ratio": ("Log norm ratio of Gram matrices", "ln ‖Gb‖ / ‖Ga‖ (Frobenius).",
                       "Above 0 features draw together."),
    "procrustes": ("Procrustes distance", "d² after the best rotation and unit scaling, 0 to 2.",
                   "0 where the features are the same up to rotation and scale."),
}  # fmt: skip


def main() -> None:
    """CKA and its relatives by layer, CKA of all layers, centroids."""
    choice = shell.page("What changed, on which data?")
    found = same_layers(choice, measured(choice, "representation_drift"))
    sets = layers.order([s for f in found for s in f.array_names("cka_layers") if choice.keeps(s)])
    shell.answer(
        answers.representation(found, answers.bold(choice.names), sets)
        or answers.unmeasured("representation_drift")
    )
    if found and not sets:
        st.info("The chosen distributions are not among those that were measured.")
    elif found:
        show.legend([f.run for f in found], choice.legend)
        by_layer(choice, found, sets)
        heat_maps(choice, found, sets)
    centroids(choice)
    said = {name: meaning for name, _, meaning in MEASURES.values()} if found else {}
    details(said | {
        "Class centroids": "Cosine of a class's mean feature on ID images and on the named images, "
        "mean over the classes that both have; 1: unmoved."
    })  # fmt: skip


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


@st.fragment
def by_layer(choice: Choice, found: list[Finding], sets: list[str]) -> None:
    """One measure of the distance to the reference, layer by layer."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Layer by layer")
        key = st.selectbox(
            "Measure", list(MEASURES), format_func=lambda k: MEASURES[k][0], key="drift_measure",
            bind="query-params", filter_mode="contains", width=280, label_visibility="collapsed",
        )  # fmt: skip
    name, estimator, _ = MEASURES[key]
    show.panels(
        kept(layers.by_layer, found, choice.legend, key, sets, name),
        f"layers-{key}",
        f"{name} with the reference by layer, one line a run with its band",
        caption(found, estimator, key),
        partial(rows, found, key, sets),
    )


@st.fragment
def heat_maps(choice: Choice, found: list[Finding], sets: list[str]) -> None:
    """Every layer with every layer, on one distribution at a time."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Every layer with every layer")
        distribution = st.segmented_control(
            "Distribution", sets, default=sets[0], format_func=layers.title, key="drift_set",
            bind="query-params", required=True, width="content", label_visibility="collapsed",
        )  # fmt: skip
    distribution = distribution if distribution in sets else sets[0]
    streamed = found[0].result.settings.get("stream")  # sums give this matrix no intervals
    show.panels(
        kept(layers.layer_by_layer, found, choice.legend, distribution), "cka-layers",
        "Heat map of CKA, layers of the reference against layers of the run, colours from 0 to 1",
        caption(
            found,
            f"Linear CKA, debiased, {layers.title(distribution).lower()}.",
            *(() if streamed else ("cka",)),
        ),
        partial(cells, found, distribution),
    )  # fmt: skip


def cells(found: list[Finding], distribution: str) -> pd.DataFrame:
    """The numbers of the maps of one distribution."""
    return pd.DataFrame([
        {"run": f.run, "distribution": distribution, "reference_layer": a, "layer": b,
         "cka": float(grid[i, j])}
        for f in found if (grid := f.array(f"cka_layers/{distribution}")) is not None
        for i, a in enumerate(layers.layer_names(f))
        for j, b in enumerate(layers.layer_names(f))
    ])  # fmt: skip


def centroids(choice: Choice) -> None:
    """Where the classes' mean features went."""
    st.header("Class centroids", anchor=False)
    found = measured(choice, "feature_stability")
    sets = layers.order([s for f in found for s in f.names("centroid_cosine") if choice.keeps(s)])
    points = layers.points(found, "centroid_cosine", sets)
    fig = kept(
        panels.rows,
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
        partial(values_table, found, [f"centroid_cosine/{s}" for s in sets]),
        "None of the chosen distributions was measured." if found else "",
    )


main()
