"""Numbers against the layer, and layer against layer, as figures: plain functions of findings."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots import zoom
from grace_geom.plots.columns import union
from grace_geom.plots.compose import pages
from grace_geom.plots.ends import name_ends
from grace_geom.plots.legend import Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.panels import Curve, Point, log_axis, overlay, point, span
from grace_geom.plots.sample import attack, intervals, sample
from grace_geom.records import Finding
from grace_geom.records.numbers import over_trainings

WITHIN = "clean-adv"
EMBEDDING = "embedding"
"""The last layer, as records and axes call it."""
SHORT = "E"
"""The same in small maps, whose caption explains it."""
NAME_ROOM, SMALL_ROOM = 0.16, 0.2
"""Share of an axis that half of its name takes: of a panel, and of a small map."""
SIMILARITIES = ("cka",)
"""Numbers of which 1 is the highest, and low ones say that much moved."""
WIDE = 2.0
"""Decades that numbers span before their axis is logarithmic."""
SMALL = 6
"""Maps in a row at most: they are small, and share their axes."""
HIGH, LOW = 272, 230
"""Pixels of a map that fills a panel of three in a row, and of a small one."""


def order(names: Sequence[str]) -> list[str]:
    """Distributions: ID, the OOD sets, attacked, clean against attacked."""
    return sorted(dict.fromkeys(names), key=lambda n: (n == WITHIN, n != "id", n == "adv"))


def title(name: str) -> str:
    """What a distribution is called above its panel."""
    return _TITLES.get(name, f"Under shift: {name}")


def brief(name: str) -> str:
    """The same where there is little room."""
    return _BRIEF.get(name, name)


def where(name: str) -> str:
    """The same within a sentence: ``in distribution``, ``on sketch``."""
    return _WHERE.get(name, f"on {name}")


_TITLES = {
    "id": "In distribution",
    "ood": "Under shift",
    "shift": "Under shift",
    "adv": "Under attack",
    WITHIN: "Clean against attacked, within one run",
}
_BRIEF = {
    "id": "ID",
    "ood": "OOD",
    "shift": "shifted",
    "adv": "attacked",
    WITHIN: "clean and attacked",
}
_WHERE = {
    "id": "in distribution",
    "ood": "under shift",
    "shift": "under shift",
    "adv": "under attack",
    WITHIN: "of clean against attacked images",
}


def layer_names(f: Finding) -> list[str]:
    """Of a finding, as axes have them; see :func:`short`."""
    layers = f.array("layers")
    return [] if layers is None else [short(str(name)) for name in layers.tolist()]


def short(layer: str) -> str:
    """``block.3`` -> ``3``; the embedding keeps its name."""
    return layer.removeprefix("block.").removeprefix("stage.")


def layer_name(layer: str) -> str:
    """Within a sentence, of either name: ``block.3`` or ``3`` -> ``block 3``."""
    name = short(layer)
    return f"block {name}" if name.isdigit() else name


Seeds = Mapping[str, Sequence[Finding]]
"""Run that stands for a mean -> findings of the runs that it is the mean of."""


def by_layer(
    found: Sequence[Finding],
    legend: Legend,
    key: str,
    sets: Sequence[str],
    axis: str,
    bound: Sequence[float] | None = None,
    seeds: Seeds | None = None,
    behind: Collection[str] = (),
    named: bool = False,
) -> dict[str, go.Figure]:
    """A panel a distribution on one scale, a line a run with its band: arrays ``KEY/SET`` of
    ``(value, low, high)``. A run stands at its own layers among those of all runs. The scale is
    logarithmic where values span more than two decades. Clean against attacked images of one run
    are zoomed where they use little of it (:mod:`~grace_geom.plots.zoom`).

    Args:
        found: Findings.
        legend: Name and look of each run.
        key: Of the arrays.
        sets: Distributions.
        axis: What is measured.
        bound: Range of the axis; default what all panels need.
        seeds: Runs in whose place means over trainings are drawn, see :func:`of_layers`.
        behind: Runs whose lines stand back, see :func:`~grace_geom.plots.panels.overlay`.
        named: Whether lines have their runs' names at their ends, where there is room.
    """
    arrays = {
        (f.run, s): a
        for f in found for s in sets if (a := of_layers(f, f"{key}/{s}", seeds or {})) is not None
    }  # fmt: skip
    front = [] if key in SIMILARITIES else list(arrays.values())
    log = not bound and _decades(front) > WIDE
    within, every = [a for (_, s), a in arrays.items() if s == WITHIN], [*arrays.values()]
    y = _heights(axis, every, log) | ({"range": list(bound)} if bound else {})
    near = not bound and zoom.worthwhile(within, every, log)
    closer = _heights(f"{axis}{zoom.WORD}", within, log) if near else y
    ticks = union(layer_names(f) for f in found)
    drawn = {}
    for s in sets:
        lines = {
            f.run: Curve([ticks.index(name) for name in layer_names(f)], a[0], a[1], a[2])
            for f in found
            if (a := arrays.get((f.run, s))) is not None
        }
        if lines:
            own = closer if s == WITHIN else y
            figure = overlay(lines, legend, layer_axis(ticks), own, behind=behind)
            drawn[title(s)] = name_ends(figure, legend, behind) if named else figure
    return drawn


def _heights(axis: str, arrays: Sequence[np.ndarray], log: bool) -> dict[str, Any]:
    """The vertical axis that holds some numbers ``(3, layers)``."""
    return {"title": axis} | (
        log_axis([a[0] for a in arrays]) if log else {"range": span([*arrays])}
    )


def of_layers(f: Finding, name: str, seeds: Seeds) -> np.ndarray | None:
    """``(3, layers)`` of a number by layer: values, lower and upper ends of 95 % intervals; of a
    run that stands for a mean of several, means over trainings (Student's t over them).

    Args:
        f: A finding.
        name: Of the array.
        seeds: Findings of the runs that some stand for; those of other layers are left out.
    """
    own = f.array(name)
    if own is None:
        return None
    towers = [g for g in seeds.get(f.run, ()) if layer_names(g) == layer_names(f)]
    each = [np.asarray(a, float)[0] for g in towers if (a := g.array(name)) is not None]
    return over_trainings(each) if len(each) > 1 else np.asarray(own, float)


def ends(
    found: Sequence[Finding], key: str, sets: Sequence[str], seeds: Seeds, most: int
) -> list[str]:
    """The runs whose layer that moved most moved least and most of all: ``most`` of them, half at
    either end; all where there are no more. They are those that the sentence on drift is about.
    """
    farthest = np.nanmin if key in SIMILARITIES else np.nanmax
    means = {}
    for f in found:
        own = [
            a[0] for s in sets
            if s != WITHIN and (a := of_layers(f, f"{key}/{s}", seeds)) is not None
        ]  # fmt: skip
        if own and np.isfinite(flat := np.concatenate(own)).any():
            means[f.run] = float(farthest(flat))
    ordered = sorted(means, key=lambda run: means[run])
    low = most // 2
    return ordered if len(ordered) <= most else [*ordered[:low], *ordered[low - most :]]


def _decades(values: Sequence[np.ndarray]) -> float:
    """Powers of ten that positive values span; 0 where some, or ends of bands, are not positive."""
    flat = np.concatenate([np.ravel(v) for v in values]) if values else np.zeros(0)
    flat = flat[np.isfinite(flat)]
    return float(np.log10(flat.max() / flat.min())) if flat.size and flat.min() > 0 else 0.0


def layer_axis(ticks: Sequence[str], room: float = NAME_ROOM) -> dict[str, Any]:
    """Axis of blocks; of many, every other one is named, and always the embedding, whose name needs
    the room of its neighbours.

    Args:
        ticks: Names of layers.
        room: Share of the axis that half of its name takes.
    """
    every, last = max(1, -(-len(ticks) // 13)), max(len(ticks) - 1, 1)
    least = room * last * (EMBEDDING in ticks)
    at = [
        i for i, name in enumerate(ticks)
        if name == EMBEDDING or (i % every == 0 and last - i >= least)
    ]  # fmt: skip
    return {"title": "Block", "tickvals": at, "ticktext": [ticks[i] for i in at]}


def layer_by_layer(
    found: Sequence[Finding], legend: Legend, distribution: str, small: bool = False
) -> dict[str, go.Figure]:
    """CKA of every layer of the reference with every layer of the run, 0 to 1, a panel a run. The
    pointer shows the intervals.

    Args:
        found: Findings.
        legend: Name and look of each run.
        distribution: Of the images.
        small: Whether up to :data:`SMALL` stand in a row.
    """
    axes = ("Layer of the run", "Layer of the reference")
    if distribution == WITHIN:
        axes = ("Layer, attacked images", "Layer, clean images")
    drawn = {}
    for f in found:
        grid = f.array(f"cka_layers/{distribution}")
        if grid is not None:
            layers, ends = layer_names(f), f.array(f"cka_layers_interval/{distribution}")
            figure = heat(
                np.asarray(grid), layers, layers, (0, 1), "CKA", legend.ground, axes,
                height=LOW if small else HIGH,
                interval=None if ends is None else np.asarray(ends, float),
            )  # fmt: skip
            # All of the names would stand aslant, and below a small map the last one is too wide.
            named = layer_axis(layers, SMALL_ROOM if small else NAME_ROOM)["ticktext"]
            words = [name.replace(EMBEDDING, SHORT) if small else name for name in named]
            look = {"tickvals": named, "ticktext": words, "title_standoff": 6}
            figure.update_xaxes(tickangle=0, constraintoward="left", **look)
            drawn[legend.names[f.run]] = figure.update_yaxes(**look)
    return drawn


def points(found: Sequence[Finding], key: str, sets: Sequence[str]) -> dict[str, dict[str, Point]]:
    """Values ``KEY/SET`` with their intervals: run -> title of the distribution -> point."""
    return {
        f.run: {title(s): p for s in sets if (p := point(f.value(f"{key}/{s}"))) is not None}
        for f in found
    }


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Of ``representation_drift``: CKA by layer, and further figures for every layer with every
    layer, Procrustes distance and Gram drift.
    """
    sets = order([s for f in found for s in f.array_names("cka_layers")])
    if not sets:
        return {}
    reference = str(found[0].result.settings.get("reference", "pretrained"))
    against = f"against {PurePath(reference).name}, on the same images"
    under = f"attacked: {attack(found)}, found at the run, the same images through both"
    words = [sample(found), against, under]
    measured = {
        "": ("Similarity to the reference, layer by layer", "cka", "CKA"),
        "procrustes": ("Procrustes distance to the reference", "procrustes", "Procrustes d²"),
        "gram": ("Gram drift from the reference", "gram_chord", "Gram drift, cosines"),
    }
    lines = {
        page: (head, [by_layer(found, legend, key, sets, axis)], _with_bands(words, found, key))
        for page, (head, key, axis) in measured.items()
    }
    grids = {
        f"layers-{s}": (
            f"CKA of every layer with every layer {where(s)}",
            [layer_by_layer(found, legend, s, True)],
            "; ".join([sample(found), *_of_sheet(s, against, under), f"{SHORT}: {EMBEDDING}"]),
        )
        for s in sets
    }
    return pages(lines, legend) | pages(grids, legend, columns=SMALL)


def _of_sheet(name: str, against: str, under: str) -> list[str]:
    """What a sheet of one set is against, and its attack where it has one."""
    if name == WITHIN:
        return ["each run with itself", under.partition(", the same")[0]]
    return [against, under] if name == "adv" else [against]


def _with_bands(words: Sequence[str], found: Sequence[Finding], key: str) -> str:
    """The note of a figure, and what its bands are where it has some."""
    bands = intervals(found, key)
    return "; ".join([*words, f"bands: {bands}"] if bands else words)
