"""Numbers against the layer, and layer against layer, as figures: plain functions of findings."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, Point, heat, overlay, point, span
from grace_geom.records import Finding

WITHIN = "clean-adv"


def order(names: Sequence[str]) -> list[str]:
    """Distributions: ID, the OOD sets, attacked, clean against attacked."""
    return sorted(dict.fromkeys(names), key=lambda n: (n == WITHIN, n != "id", n == "adv"))


def title(name: str) -> str:
    """What a distribution is called above its panel."""
    known = {
        "id": "In distribution",
        "adv": "Under attack",
        WITHIN: "Clean against attacked, within one run",
    }
    return known.get(name, f"Under shift: {name}")


def layer_names(f: Finding) -> list[str]:
    """Of a finding; ``block.3`` is called ``3``, the embedding ``emb``."""
    layers = f.array("layers")
    return [] if layers is None else [short(str(name)) for name in layers.tolist()]


def short(layer: str) -> str:
    """``block.3`` -> ``3``; ``embedding`` -> ``emb``."""
    return layer.removeprefix("block.").removeprefix("stage.").replace("embedding", "emb")


def union(lists: Iterable[Iterable[str]]) -> list[str]:
    """Names that any of the lists has, each once: what a later list has between two known names
    stands between them.
    """
    found: list[str] = []
    for names in lists:
        at = 0
        for name in names:
            if name in found:
                at = found.index(name) + 1
            else:
                found.insert(at, name)
                at += 1
    return found


def by_layer(
    found: Sequence[Finding],
    legend: Legend,
    key: str,
    sets: Sequence[str],
    axis: str,
    bound: Sequence[float] | None = None,
) -> dict[str, go.Figure]:
    """A panel a distribution on one scale, a line a run with its band: arrays ``KEY/SET`` of
    ``(value, low, high)``. A run stands at its own layers among those of all runs.

    Args:
        found: Findings.
        legend: Name and look of each run.
        key: Of the arrays.
        sets: Distributions.
        axis: What is measured.
        bound: Range of the axis; default what all panels need.
    """
    arrays = {
        (f.run, s): np.asarray(a, float)
        for f in found
        for s in sets
        if (a := f.array(f"{key}/{s}")) is not None
    }
    ends = list(bound) if bound else span(list(arrays.values()))
    ticks = union(layer_names(f) for f in found)
    drawn = {}
    for s in sets:
        lines = {
            f.run: Curve([ticks.index(name) for name in layer_names(f)], a[0], a[1], a[2])
            for f in found
            if (a := arrays.get((f.run, s))) is not None
        }
        if lines:
            drawn[title(s)] = overlay(
                lines, legend, layer_axis(ticks), {"title": axis, "range": ends}
            )
    return drawn


def layer_axis(ticks: Sequence[str]) -> dict[str, Any]:
    """Axis of blocks; of many, every other one is named, and always the embedding."""
    every = max(1, -(-len(ticks) // 13))
    at = [i for i, name in enumerate(ticks) if i % every == 0 or name == "emb"]
    return {"title": "Block", "tickvals": at, "ticktext": [ticks[i] for i in at]}


def layer_by_layer(
    found: Sequence[Finding], legend: Legend, distribution: str
) -> dict[str, go.Figure]:  # fmt: skip
    """CKA of every layer of the reference with every layer of the run, 0 to 1, a panel a run."""
    axes = ("Layer of the run", "Layer of the reference")
    if distribution == WITHIN:
        axes = ("Layer, attacked images", "Layer, clean images")
    drawn = {}
    for f in found:
        grid = f.array(f"cka_layers/{distribution}")
        if grid is not None:
            layers = layer_names(f)
            drawn[legend.names[f.run]] = heat(
                np.asarray(grid), layers, layers, (0, 1), "CKA", legend.ground, axes, height=310
            )
    return drawn


def points(found: Sequence[Finding], key: str, sets: Sequence[str]) -> dict[str, dict[str, Point]]:
    """Values ``KEY/SET`` with their intervals: run -> title of the distribution -> point."""
    return {
        f.run: {title(s): p for s in sets if (p := point(f.value(f"{key}/{s}"))) is not None}
        for f in found
    }
