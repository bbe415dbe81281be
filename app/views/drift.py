"""What changed in the representation, and on which data?"""

from collections.abc import Collection
from dataclasses import replace
from functools import partial

import pandas as pd
import streamlit as st

from app import answers, scale, shell, show
from app.details import details, heading
from app.kept import kept
from app.measured import alike, attack_of, how, intervals, measured, values_table
from app.shell import Choice, text
from grace_geom.plots import centroids, layers, zoom
from grace_geom.plots.legend import Legend
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
    seeds = seeds_of(choice, found)
    legend = called_by_means(choice, seeds)
    shell.answer(
        answers.representation(found, answers.bold(legend.names), sets, seeds)
        or answers.unmeasured("representation_drift")
    )
    if found and not sets:
        st.info("The chosen distributions are not among those that were measured.")
    elif found:
        by_layer(replace(choice, legend=legend), found, sets, seeds)
        heat_maps(choice, found, sets)
    of_classes(choice)
    said = {name: meaning for name, _, meaning in MEASURES.values()} if found else {}
    details(said | {
        "Class centroids": "1 − cosine of a class's mean feature on ID images and on the named "
        "images, mean over the classes that both have; 0: unmoved."
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


def rows(
    found: list[Finding], key: str, sets: list[str], seeds: dict[str, list[Finding]]
) -> pd.DataFrame:
    """The numbers of panels by layer."""
    return pd.DataFrame([
        {"run": f.run, "distribution": s, "layer": layer, "value": v, "low": low, "high": high}
        for f in found for s in sets
        if (a := layers.of_layers(f, f"{key}/{s}", seeds)) is not None
        for layer, v, low, high in zip(layers.layer_names(f), *a, strict=True)
    ])  # fmt: skip


@st.fragment
def by_layer(
    choice: Choice, found: list[Finding], sets: list[str], seeds: dict[str, list[Finding]]
) -> None:
    """One measure of the distance to the reference, layer by layer."""
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Layer by layer")
        key = st.selectbox(
            "Measure", list(MEASURES), format_func=lambda k: MEASURES[k][0], key="drift_measure",
            bind="query-params", filter_mode="contains", width=280, label_visibility="collapsed",
        )  # fmt: skip
        label = f"All {len(found)} in colour"
        every = len(found) <= show.MOST_IN_FRONT or st.toggle(
            label, key="drift_all", bind="query-params"
        )
    name, estimator, _ = MEASURES[key]
    front = [f.run for f in found] if every else in_front(choice, found, key, sets, seeds)
    show.legend(front, choice.legend)
    behind = tuple(f.run for f in found if f.run not in front)
    estimator += show.greys(choice.names, behind, label)
    drawn = kept(layers.by_layer, found, choice.legend, key, sets, name, None, seeds, behind, True)
    show.panels(
        drawn,
        f"layers-{key}",
        f"{name} with the reference by layer, one line a run with its band",
        caption(
            found,
            f"{estimator}{of_seeds(seeds)}{text(zoom.said(drawn))}",
            *(() if seeds else (key,)),
        ),
        partial(rows, found, key, sets, seeds),
        width=464,
    )


def seeds_of(choice: Choice, found: list[Finding]) -> dict[str, list[Finding]]:
    """For each run that stands for a mean over seeds, what was found on all of these that were
    measured as it was; none where that is one.
    """
    means = {run.id: e.members for e, run in zip(choice.compared, choice.single, strict=True)}
    if not any(means[f.run] for f in found):
        return {}
    known = alike(choice, "representation_drift")
    each = {f.run: [known[run.id] for run in means[f.run] if run.id in known] for f in found}
    return {run: some for run, some in each.items() if len(some) > 1}


def called_by_means(choice: Choice, seeds: Collection[str]) -> Legend:
    """The legend with the names of means for the runs that stand for one."""
    named = dict(choice.names)
    for e, run in zip(choice.compared, choice.single, strict=True):
        if run.id in seeds:
            named[run.id] = choice.names[e.id]
    return replace(choice.legend, names=named)


def of_seeds(seeds: dict[str, list[Finding]]) -> str:
    """What lines and bands are where there are means: a sentence."""
    if not seeds:
        return ""
    counts = sorted({len(some) for some in seeds.values()})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f" Means over {many} seeds with 95 % intervals (Student's t) where several were measured; "
        "the sidebar shows each seed."
    )


def in_front(
    choice: Choice, found: list[Finding], key: str, sets: list[str], seeds: dict[str, list[Finding]]
) -> list[str]:
    """Of many runs, those that moved least and most and the baseline, in the order of the page."""
    shown = {*kept(layers.ends, found, key, sets, seeds, show.MOST_IN_FRONT - 2)}
    shown |= {choice.base_run.id} if choice.base_run else set()
    return [f.run for f in found if f.run in shown]


@st.fragment
def heat_maps(choice: Choice, found: list[Finding], sets: list[str]) -> None:
    """Every layer with every layer, on one distribution at a time; of many runs those that moved
    least and most there.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Every layer with every layer")
        distribution = st.segmented_control(
            "Distribution", sets, default=sets[0], format_func=layers.brief, key="drift_set",
            bind="query-params", required=True, width="content", label_visibility="collapsed",
        )  # fmt: skip
        every = len(found) <= show.MOST_IN_FRONT or st.toggle(
            f"All {len(found)} runs", key="drift_maps_all", bind="query-params"
        )
    distribution = distribution if distribution in sets else sets[0]
    shown = found if every else farthest_and_nearest(found, distribution)
    streamed = found[0].result.settings.get("stream")  # sums give this matrix no intervals
    few = "" if every else f" {len(shown)} of {len(found)} runs: those that moved least and most."
    drawn = kept(layers.layer_by_layer, shown, choice.legend, distribution)
    scale.bar(drawn)
    show.panels(
        scale.barless(drawn), "cka-layers",
        "Heat map of CKA, layers of the reference against layers of the run, colours from 0 to 1",
        caption(
            found,
            f"Linear CKA, debiased, {layers.title(distribution).lower()}.{few}",
            *(() if streamed else ("cka",)),
        ),
        partial(cells, found, distribution), whole=drawn,
    )  # fmt: skip


def farthest_and_nearest(found: list[Finding], distribution: str) -> list[Finding]:
    """The runs that moved least and most on one distribution, in the order of the page."""
    of = distribution if distribution != layers.WITHIN else "adv"
    ends = kept(layers.ends, found, "cka", [of], {}, show.MOST_IN_FRONT)
    return [f for f in found if f.run in ends] or found[: show.MOST_IN_FRONT]


def cells(found: list[Finding], distribution: str) -> pd.DataFrame:
    """The numbers of the maps of one distribution."""
    return pd.DataFrame([
        {"run": f.run, "distribution": distribution, "reference_layer": a, "layer": b,
         "cka": float(grid[i, j])}
        for f in found if (grid := f.array(f"cka_layers/{distribution}")) is not None
        for i, a in enumerate(layers.layer_names(f))
        for j, b in enumerate(layers.layer_names(f))
    ])  # fmt: skip


def of_classes(choice: Choice) -> None:
    """How far the classes' mean features went."""
    st.header("Class centroids", anchor=False)
    found = measured(choice, "feature_stability")
    sets = layers.order([s for f in found for s in f.names("centroid_cosine") if choice.keeps(s)])
    base = choice.base_run.id if choice.base_run else ""
    drawn = kept(centroids.moved, found, choice.legend, sets, base)
    if not drawn:
        if found:
            st.info("None of the chosen distributions was measured.")
        return
    show.panels(
        drawn,
        "centroids",
        "1 − cosine of class centroids to those of ID, a row a run",
        how(
            found,
            "Further to the right: moved further (1 − cosine of mean unit features, mean over shared "
            "classes). One logarithmic scale; on top what moved least over all panels; dotted: the "
            f"baseline. Under attack: {attack_of(found)};",
            intervals(found, "centroid_cosine"),
        ),
        partial(values_table, found, [f"centroid_cosine/{s}" for s in sets]),
    )


main()
