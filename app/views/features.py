"""Do features collapse or deform?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app import collapse, shell, show, store, wall
from app.kept import kept
from app.measured import attack_of, how, intervals, measured, values_table
from app.shell import Choice, text
from app.wall import Shot
from grace_geom.plots import clouds, features, layers, panels, pictures
from grace_geom.plots.palette import of_sets
from grace_geom.plots.pictures import Picture
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
            over_id(choice, found)
            per_image(choice, found)
            dimensions(choice, found)
    if spread:
        st.header("Layer by layer", anchor=False)
        by_layer(choice, spread)


def held_against(choice: Choice, number: collapse.Told) -> None:
    """The number of the answer, a row a run, over the interval of the reference."""
    figure = features.held_against(number.of, number.reference, choice.legend, number.name)
    name = text(choice.names[number.reference])
    show.figure(
        figure,
        "collapse",
        f"Dot plot of the {number.name}, a row a run",
        how(
            number.found,
            f"Line and grey band: {name} with its interval; a run whose interval lies outside of the "
            "band uses clearly fewer directions, or more;",
            intervals(number.found, number.key),
        ),
        partial(values_table, number.found, [number.key]),
    )


@st.fragment  # a selected point draws the clouds again, not the page
def over_id(choice: Choice, found: list[Finding]) -> None:
    """Every distribution over ID: a row a distribution, a panel a run."""
    others = [s for s in clouds.sets_of(found) if s != "id" and choice.keeps(s)]
    if not others:
        st.info("No distribution beside ID on record for this choice.")
        return
    sets, kind, solid = _controls(found, others)
    colors = of_sets(clouds.sets_of(found), choice.ground)
    show.swatches({layers.title(s): colors[s] for s in ("id", *sets)})
    table = partial(_points_table, found, ("id", *sets), kind)
    if solid:
        shown = found[:MOST_SCENES]
        if len(found) > MOST_SCENES:
            st.caption(f"The first {MOST_SCENES} runs: choose others in the sidebar.")
        drawn = kept(clouds.clouds, shown, choice.legend, ["id", *sets], solid=True)
        alt = "Scatter of three principal components of image features"
        show.panels(drawn, "cloud-3d", alt, _how(found, kind), table)
        return
    pictured = {f.run: pictures.pictures(f) for f in _galleries(choice)}
    chosen: list[tuple[str, str, int]] = []
    over: dict[str, go.Figure] = {}
    for i, s in enumerate(sets):
        with show.wide_where_alone(f"panels-cloud-{i}"):
            for f in found:
                figure = _cloud(choice, found, f, s, kind, pictured.get(f.run, {}))
                if figure is not None:
                    over[
                        f"{choice.names[f.run]}, {layers.brief(s)}: {clouds.named_cosine(f, s)}"
                    ] = figure
                    chosen += _panel(choice, figure, f, s, kind)
    _selected(choice, pictured, chosen)
    st.caption(_how(found, kind))
    alt = "Features of every run, each distribution over that of ID in grey"
    show.downloads(show.exhibit(over, alt, _how(found, kind)), f"cloud-{kind}", table)


def _controls(found: list[Finding], others: list[str]) -> tuple[list[str], clouds.Kind, bool]:
    """Distributions, coordinates and axes."""
    few = others if len(found) <= 3 else others[-1:]
    mapped = any(f.array("umap/id") is not None for f in found)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = {layers.brief(s): s for s in others}
        sets = st.pills(
            "Over ID, in grey", list(names), selection_mode="multi", key="features_over",
            default=[layers.brief(s) for s in few], bind="query-params",
        )  # fmt: skip
        ways = ["PCA, 2-D", "PCA, 3-D", *(["UMAP"] if mapped else [])]
        way = st.segmented_control(
            "Coordinates", ways, default=ways[0], key="features_axes", required=True,
            bind="query-params",
        )  # fmt: skip
    chosen = [names[name] for name in sets] or few
    return [s for s in others if s in chosen], "umap" if way == "UMAP" else "pca", way == ways[1]


def _galleries(choice: Choice) -> list[Finding]:
    found, _ = store.findings("image_gallery", choice.single, choice.root)
    return found


def _cloud(
    choice: Choice,
    found: list[Finding],
    f: Finding,
    s: str,
    kind: clouds.Kind,
    known: Mapping[str, Picture],
) -> go.Figure | None:
    """One run's cloud of one distribution over ID; rings where the gallery has the image."""
    if f.array(f"{kind}/{s}") is None:
        return None
    colors = of_sets(clouds.sets_of(found), choice.ground)
    there = found if kind == "pca" else [f]  # two maps have no scale in common
    ends = clouds.reach(there, ["id", s], kind)
    places = {
        name: {p.index for p in known.values() if p.set == ("id" if name == "adv" else name)}
        for name in ("id", s)
    }
    pair = {name: colors[name] for name in ("id", s)}
    return kept(clouds.cloud, f, pair, choice.ground, ends, height=280, kind=kind, pictured=places)


def _panel(
    choice: Choice, figure: go.Figure, f: Finding, s: str, kind: clouds.Kind
) -> list[tuple[str, str, int]]:
    """Draw it. Returns the points that somebody selected: run, distribution, place in the
    source.
    """
    with st.container(width=304, gap="small"):
        name = choice.names[f.run]
        st.markdown(
            f"**{text(name)}**  \n{text(layers.brief(s))}: {text(clouds.named_cosine(f, s))}"
        )
        alt = f"Features of {name}, {layers.title(s)}, over those of ID in grey"
        event = show.selectable(figure, f"cloud-{kind}-{s}-{f.run}", alt)
    return [(f.run, str(of), int(place)) for of, place in event]


def _selected(
    choice: Choice,
    known: Mapping[str, Mapping[str, Picture]],
    chosen: Sequence[tuple[str, str, int]],
) -> None:
    """The images of the selected points, where the gallery has them."""
    if not known:
        st.caption("`analyses/image_gallery.py` on these runs adds pictures to the points.")
        return
    if not chosen:
        st.caption("Points with a ring have a picture: select some by a click, a box or a lasso.")
        return
    shots: dict[str, list[Shot]] = {}
    for run, name, place in dict.fromkeys(chosen):
        of = "id" if name == "adv" else name
        p = next((p for p in known[run].values() if (p.set, p.index) == (of, place)), None)
        if p is not None:
            seen = p.adv if name == "adv" else p.clean
            mark = f"{'✓' if seen.right else '✗'} {seen.names[0]}"
            head = f"{choice.names[run]}: {p.label}, no. {place}"
            shot = Shot(seen.pixels, layers.brief(name), f"{p.label}, {layers.title(name)}")
            shots.setdefault(head, []).append(replace(shot, lines=[(mark, "")]))
    lost = len(dict.fromkeys(chosen)) - sum(len(row) for row in shots.values())
    wall.cards(shots)
    if lost:
        st.caption(f"{lost} of the selected images are not in the gallery.")


def _how(found: list[Finding], kind: clouds.Kind) -> str:
    """What the coordinates are."""
    s = found[0].result.settings
    axes = (
        "Unit features of the embedding on the first principal axes of each run's own ID features "
        "(axes of two runs do not correspond, their scales do); share of the ID variance in "
        "brackets;"
    )
    if kind == "umap":
        axes = (
            "Unit features of the embedding by UMAP, fitted to ID, the others placed in it: cosine "
            f"distance, {s.get('umap_neighbours')} neighbours, min_dist 0.1, seed {s.get('seed')}; "
            "distances between groups mean little, and two maps have nothing in common;"
        )
    many = f"At most {clouds.MOST_POINTS} images a distribution. Above a panel: mean cosine of "
    return how(
        found,
        f"{axes} {many}class centroids to those of ID. Under attack: {attack_of(found)};",
        intervals(found, "centroid_cosine"),
    )


def _points_table(found: list[Finding], sets: Sequence[str], kind: clouds.Kind) -> pd.DataFrame:
    rows = []
    for f in found:
        for s in sets:
            points, labels = f.array(f"{kind}/{s}"), f.array(f"pca_label/{s}")
            if points is None or labels is None:
                continue
            for p, y in zip(points, labels, strict=True):
                axes = {f"{kind}_{i}": float(v) for i, v in enumerate(p, 1)}
                rows.append({"run": f.run, "distribution": s, **axes, "label": int(y)})
    return pd.DataFrame(rows)


def per_image(choice: Choice, found: list[Finding]) -> None:
    """Numbers of single images, as cumulative shares."""
    st.header(
        "Image by image",
        anchor=False,
        help="Gram volume: sqrt |det G| of the clean feature, the adversarial one, and the "
        "adversarial one at perturbed weights (AWP); 0 where the three fall together, as GRACE "
        "asks for.",
    )
    show.legend([f.run for f in found], choice.legend)
    s = found[0].result.settings
    show.panels(
        kept(features.per_image, found, choice.legend),
        "images",
        "Cumulative share of images below a number, one line a run with its band",
        how(
            found,
            f"Share of images at or below a number. Adversarial: {attack_of(found)}. "
            f"AWP: weights perturbed at rank {s.get('rank')}, ‖Δ‖ = {s.get('rho')} ‖W‖ in every "
            "matrix;",
            "Bands hold the whole line at 95 % (Dvoretzky-Kiefer-Wolfowitz).",
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
        points = layers.points(found, key, sets)
        heads = [layers.title(s) for s in sets]
        if (fig := kept(panels.rows, points, heads, choice.legend, {"title": title})) is not None:
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
