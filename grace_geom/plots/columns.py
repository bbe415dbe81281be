"""Points with intervals over named abscissae, runs side by side: matrices, domains, indices."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Point
from grace_geom.plots.style import dress, plain_html, short_weight


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
    """
    if not any(points.values()):
        return None
    figure = go.Figure()
    for i, (run, known) in enumerate(points.items()):
        shift = 0.6 * ((i + 0.5) / len(points) - 0.5)
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


def matrix_axis(names: Sequence[str]) -> dict[str, Any]:
    """Short names of weight matrices, upright."""
    return {"ticktext": [plain_html(short_weight(n)) for n in names], "tickangle": -90}


def is_matrix(name: str) -> bool:
    """Whether a weight of this name is a matrix that Fig. 7 shows: not a gain, not a bias."""
    return (
        name.endswith(("weight", "proj", ".A", ".B")) and ".ln_" not in name and "bias" not in name
    )
