"""Points with intervals over named abscissae, runs side by side: matrices, domains, indices."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground
from grace_geom.plots.panels import Point
from grace_geom.plots.style import dress, plain_html
from grace_geom.plots.weight_names import site


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


def columns(
    points: Mapping[str, Mapping[str, Point]],
    heads: Sequence[str],
    legend: Legend,
    y: Mapping[str, Any],
    height: int = 290,
    x: Mapping[str, Any] | None = None,
    spread: float = 0.6,
) -> go.Figure | None:
    """A column for each of ``heads``, in it a point with its interval for each run; ``None`` where
    there is no point.

    Args:
        points: Run -> head -> point.
        heads: Columns from left to right, as the pointer names them.
        legend: Name and look of each run.
        y: Settings of the y axis.
        height: In pixels.
        x: Settings of the x axis, such as its title and ``ticktext``.
        spread: Share of a column over which its runs stand.
    """
    if not any(points.values()):
        return None
    figure = go.Figure()
    for i, (run, known) in enumerate(points.items()):
        shift = spread * ((i + 0.5) / len(points) - 0.5)
        there = [(j, head, known[head]) for j, head in enumerate(heads) if head in known]
        value = np.array([p.value for _, _, p in there])
        low, high = (
            np.array([p.value if (e := getattr(p, side)) is None else e for _, _, p in there])
            for side in ("low", "high")
        )
        style = legend.looks[run]
        figure.add_scatter(
            x=[j + shift for j, _, _ in there],
            y=value,
            mode="markers",
            name=plain_html(legend.names[run]),
            legendgroup=run,
            showlegend=False,
            marker={"color": style.color, "symbol": style.marker, "size": 7},
            error_y={
                "type": "data", "symmetric": False, "array": high - value,
                "arrayminus": value - low, "color": style.color, "thickness": 1.2, "width": 0,
            },
            customdata=[[plain_html(h), *ends] for (_, h, _), *ends in zip(there, low, high, strict=True)],
            hovertemplate="%{customdata[0]}: %{y:.4g} [%{customdata[1]:.4g}, "
            "%{customdata[2]:.4g}]",
        )  # fmt: skip
    names = [plain_html(head) for head in heads]
    n = len(heads)
    settings = {"tickvals": list(range(n)), "ticktext": names, "range": [-0.6, n - 0.4]}
    return dress(figure, legend.ground, height, showlegend=False, yaxis=dict(y),
                 xaxis=settings | {"showgrid": False, "title": ""} | dict(x or {}))  # fmt: skip


MOST_NAMED = 40
"""Matrices that are named on an axis one by one; of more, their blocks are."""


def matrix_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of weight matrices: each named, upright, or of many each block in its middle."""
    n = len(names)
    axis: dict[str, Any] = {"range": [-0.6, n - 0.4], "title": "", "showgrid": False}
    if n <= MOST_NAMED:
        words = [plain_html(site(name).brief) for name in names]
        return axis | {"tickvals": list(range(n)), "ticktext": words, "tickangle": -90}
    words = [group.removeprefix("block ") for group, _, _ in groups(names)]
    middles = [(first + last) / 2 for _, first, last in groups(names)]
    return axis | {"tickvals": middles, "ticktext": list(map(plain_html, words)), "title": "Block"}


def groups(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Stem, blocks and head of matrices in order: name, first and last place."""
    found, start = [], 0
    for group, members in groupby(names, key=lambda name: site(name).group):
        count = len(list(members))
        found.append((group, start, start + count - 1))
        start += count
    return found


def shade_blocks(figure: go.Figure, names: Sequence[str], ground: Ground) -> go.Figure:
    """A band behind every second of stem, blocks and head."""
    for _, first, last in groups(names)[1::2]:
        figure.add_vrect(
            x0=first - 0.5, x1=last + 0.5, fillcolor=ground.band, line_width=0, layer="below"
        )
    return figure


def is_matrix(name: str) -> bool:
    """Whether a weight of this name is a matrix that Fig. 7 shows: not a gain, not a bias."""
    return (
        name.endswith(("weight", "proj", ".A", ".B")) and ".ln_" not in name and "bias" not in name
    )
