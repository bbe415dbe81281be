"""Clouds of features on the page of feature geometry: each distribution over ID, and the images of
the points that somebody selects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app import collapse, head, show, store, wall
from app.kept import kept
from app.measured import attack_of, how, intervals
from app.shell import Choice, text
from app.wall import Shot
from grace_geom.plots import clouds, layers, pictures
from grace_geom.plots.palette import of_sets
from grace_geom.plots.pictures import Picture
from grace_geom.plots.variants import fitted
from grace_geom.records import Finding

MOST_SCENES = 6
"""Three-dimensional panels at a time: browsers keep few of them alive."""
WIDE = 304
"""Pixels of a panel: three in a row."""


@st.fragment  # a selected point draws the clouds again, not the page
def over_id(choice: Choice, found: list[Finding]) -> None:
    """Every distribution over ID: a row a distribution, a panel a run; of many runs those whose
    centroids stay and move most under attack.
    """
    others = [s for s in clouds.sets_of(found) if s != "id" and choice.keeps(s)]
    st.header("How far do classes move?", anchor=False)
    if not others:
        st.info("No distribution beside ID on record for this choice.")
        return
    if said := collapse.moves(found, others):
        st.markdown(head.unbroken(said))
    sets, kind, solid, every = _controls(found, others)
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
    shown = found if every else ends(choice, found)
    names = fitted({f.run: choice.names[f.run] for f in shown}, WIDE // show.LETTER)
    pictured = {f.run: pictures.pictures(f) for f in _galleries(choice)}
    chosen: list[tuple[str, str, int]] = []
    over: dict[str, go.Figure] = {}
    for i, s in enumerate(sets):
        digits = clouds.digits_of(found, s)
        with show.wide_where_alone(f"panels-cloud-{i}"):
            for f in shown:
                figure = _cloud(choice, found, f, s, kind, pictured.get(f.run, {}))
                if figure is not None:
                    cosine = f"{layers.brief(s)}: {clouds.named_cosine(f, s, digits)}"
                    over[f"{choice.names[f.run]}, {cosine}"] = figure
                    alt = f"Features of {choice.names[f.run]}, {layers.title(s)}, over those of ID"
                    event = _panel(names[f.run], cosine, figure, f"cloud-{kind}-{s}-{f.run}", alt)
                    chosen += [(f.run, str(of), int(at)) for of, at in event]
    _selected(choice, pictured, chosen)
    few = "" if len(shown) == len(found) else (
        f"{len(shown)} of {len(found)} runs: those whose class centroids stay and move most under "
        "attack. "
    )  # fmt: skip
    st.caption(few + _how(found, kind))
    alt = "Features of runs, each distribution over that of ID in grey"
    show.downloads(show.exhibit(over, alt, few + _how(found, kind)), f"cloud-{kind}", table)


def ends(choice: Choice, found: list[Finding]) -> list[Finding]:
    """Of many runs, those whose class centroids stay and move most under attack and the baseline,
    in the order of the page.
    """
    known = {f.run: m.value for f in found if (m := f.value(collapse.MOVED)) is not None}
    ordered, most = sorted(known, key=lambda run: known[run]), show.MOST_IN_FRONT
    base = [choice.base_run.id] if choice.base_run and choice.base_run.id in known else []
    ordered = [run for run in ordered if run not in base]
    moved = (most - len(base) + 1) // 2
    stayed = len(ordered) - (most - len(base) - moved)
    kept_runs = {*base, *ordered[:moved], *ordered[stayed:]}
    return [f for f in found if f.run in kept_runs] if len(ordered) >= most else found[:most]


def _controls(found: list[Finding], others: list[str]) -> tuple[list[str], clouds.Kind, bool, bool]:
    """Distributions, coordinates, whether there are three axes, and whether all runs are shown."""
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
        every = len(found) <= show.MOST_IN_FRONT or st.toggle(
            f"All {len(found)} runs", key="features_all", bind="query-params"
        )
    chosen = [names[name] for name in sets] or few
    kind: clouds.Kind = "umap" if way == "UMAP" else "pca"
    return [s for s in others if s in chosen], kind, way == ways[1], every


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


def _panel(name: str, cosine: str, figure: go.Figure, key: str, alt: str) -> list[list[Any]]:
    """Draw it under two lines. Returns the points that somebody selected: distribution and place
    in the source.
    """
    with st.container(width=WIDE, gap="small"):
        st.markdown(f"**{text(name)}**  \n{text(cosine)}")
        return show.selectable(figure, key, f"{alt} in grey")


def _selected(
    choice: Choice,
    known: Mapping[str, Mapping[str, Picture]],
    chosen: Sequence[tuple[str, str, int]],
) -> None:
    """The images of the selected points, where the gallery has them."""
    if not known:
        st.caption("analyses/image_gallery.py on these runs adds pictures to the points.")
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
    many = f"at most {clouds.MOST_POINTS} images a distribution. Above a panel: mean cosine of "
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
