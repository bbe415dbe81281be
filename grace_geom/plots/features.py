"""Features as clouds, spectra, numbers by layer and histograms: plain functions of findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import union
from grace_geom.plots.layers import layer_axis, order, short, title
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground, of_sets
from grace_geom.plots.panels import Curve, overlay, span
from grace_geom.plots.style import dress, plain_html
from grace_geom.records import Finding

MOST_POINTS = 300
"""Of each distribution in a cloud: more cover each other."""


def sets_of(found: Sequence[Finding], group: str = "pca") -> list[str]:
    """Distributions with arrays ``GROUP/SET``."""
    return order([name for f in found for name in f.array_names(group)])


def clouds(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], solid: bool = False
) -> dict[str, go.Figure]:
    """Principal components of the ID features, a panel a run, a colour a distribution; 2-D, or 3-D
    where ``solid``.
    """
    colors = of_sets(sets_of(found), legend.ground)
    drawn = {}
    for f in found:
        share, figure = f.array("pca_share"), go.Figure()
        for name in sets:
            points = f.array(f"pca/{name}")
            if points is None:
                continue
            p = np.asarray(points, float)[:MOST_POINTS]
            common: dict[str, Any] = {
                "mode": "markers",
                "name": plain_html(title(name)),
                "text": _classes(f, name, len(p)),
            }
            marker = {"color": colors[name], "opacity": 0.75}
            hover = "%{text}<extra>" + plain_html(title(name)) + "</extra>"
            if solid:
                figure.add_scatter3d(
                    x=p[:, 0],
                    y=p[:, 1],
                    z=p[:, 2],
                    marker=marker | {"size": 2.5},
                    hovertemplate=hover,
                    **common,
                )
            else:
                figure.add_scatter(
                    x=p[:, 0], y=p[:, 1], marker=marker | {"size": 4}, hovertemplate=hover, **common
                )
        if figure.data and share is not None:
            axes = [f"PC {i + 1} ({100 * float(s):.0f} %)" for i, s in enumerate(share)]
            drawn[legend.names[f.run]] = (_solid if solid else _flat)(
                figure, axes, legend.ground, f.run
            )
    return drawn


def _classes(f: Finding, name: str, n: int) -> list[str]:
    classes, labels = f.array("class_names"), f.array(f"pca_label/{name}")
    if classes is None or labels is None:
        return [""] * n
    return [
        plain_html(str(classes[int(y)])) if y >= 0 else "a class that ID lacks" for y in labels[:n]
    ]


def _flat(figure: go.Figure, axes: Sequence[str], ground: Ground, _: str) -> go.Figure:
    y = {"title": axes[1], "scaleanchor": "x", "constrain": "domain", "nticks": 6}
    x = {"title": axes[0], "constrain": "domain", "nticks": 6}
    return dress(figure, ground, 330, xaxis=x, yaxis=y, showlegend=False)


def _solid(figure: go.Figure, axes: Sequence[str], ground: Ground, run: str) -> go.Figure:
    axis = {
        "gridcolor": ground.grid,
        "color": ground.text,
        "backgroundcolor": "rgba(0,0,0,0)",
        "nticks": 5,
    }
    scene = {
        f"{name}axis": axis | {"title": {"text": text}}
        for name, text in zip("xyz", axes, strict=True)
    }
    return dress(
        figure,
        ground,
        380,
        showlegend=False,
        uirevision=f"cloud-{run}",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene=scene | {"aspectmode": "data"},
    )


def decay(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], layer: str
) -> dict[str, go.Figure]:
    """Eigenvalues of the feature covariance as shares of their sum, a panel a distribution; both
    axes logarithmic.
    """
    arrays = {
        (f.run, s): np.asarray(a, float)
        for f in found for s in sets if (a := f.array(f"features/{s}/spectrum/{layer}")) is not None
    }  # fmt: skip
    ends = span([a[a > 1e-6] for a in arrays.values()], log=True)
    drawn = {}
    for s in sets:
        lines = {
            f.run: Curve(range(1, int((a > 1e-6).sum()) + 1), a[a > 1e-6])
            for f in found if (a := arrays.get((f.run, s))) is not None
        }  # fmt: skip
        if lines:
            y = {
                "title": "Share of the variance",
                "type": "log",
                "range": ends,
                "exponentformat": "power",
                "dtick": 1,
            }
            x = {"title": "Eigenvalue, largest first", "type": "log", "dtick": "D2"}
            drawn[title(s)] = overlay(lines, legend, x, y, markers=False)
    return drawn


def layers_of(found: Sequence[Finding]) -> list[str]:
    """Layers that the anisotropy of any run was measured at, in their order."""
    arrays = [f.array("features/layers") for f in found]
    return union([str(name) for name in a.tolist()] for a in arrays if a is not None)


def by_layer(
    found: Sequence[Finding], legend: Legend, key: str, sets: Sequence[str], axis: str
) -> dict[str, go.Figure]:
    """One number of ``anisotropy`` against the layer, a panel a distribution on one scale, with
    bands.
    """
    layers = layers_of(found)
    curves: dict[str, dict[str, Curve]] = {}
    for s in sets:
        for f in found:
            ms = [f.value(f"features/{s}/{key}/{layer}") for layer in layers]
            if any(m is not None for m in ms):
                y, low, high = (
                    [
                        np.nan if m is None or getattr(m, part) is None else getattr(m, part)
                        for m in ms
                    ]
                    for part in ("value", "low", "high")
                )
                curves.setdefault(s, {})[f.run] = Curve(range(len(layers)), y, low, high)
    every = [v for lines in curves.values() for c in lines.values() for v in (c.y, c.low, c.high)]
    ends = span(every)
    x = layer_axis([short(layer) for layer in layers])
    return {
        title(s): overlay(lines, legend, x, {"title": axis, "range": ends})
        for s, lines in curves.items()
    }


def histogram(
    found: Sequence[Finding], legend: Legend, key: str, axis: str
) -> go.Figure | None:  # fmt: skip
    """Per-image numbers as step outlines with bins that the runs share, in shares of the images."""
    arrays = {f.run: a[np.isfinite(a)] for f in found if (a := f.array(key)) is not None}
    arrays = {run: np.asarray(a, float) for run, a in arrays.items() if len(a)}
    if not arrays:
        return None
    every = np.concatenate(list(arrays.values()))
    edges = np.linspace(every.min(), every.max() + 1e-9, 31)
    lines = {}
    for run, a in arrays.items():
        counts, _ = np.histogram(a, edges)
        lines[run] = Curve(
            np.repeat(edges, 2), np.concatenate([[0], np.repeat(counts / len(a), 2), [0]])
        )
    return overlay(
        lines,
        legend,
        {"title": axis},
        {"title": "Share of the images", "rangemode": "tozero"},
        markers=False,
    )
