"""Features as clouds, spectra, numbers by layer and histograms: plain functions of findings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import union
from grace_geom.plots.compose import pages
from grace_geom.plots.layers import brief, layer_axis, order, short, title
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground, of_sets
from grace_geom.plots.panels import Curve, below, overlay, point, span
from grace_geom.plots.sample import attack, intervals, sample
from grace_geom.plots.style import dress, plain_html
from grace_geom.records import Finding

RUNS = 5
"""Columns of a page of small clouds at most."""
CAMERA = {"eye": {"x": 1.45, "y": 1.45, "z": 1.2}, "center": {"x": 0, "y": 0, "z": -0.15}}
"""Near enough that a scene fills its place, and a little above it, for the titles below."""
MOST_POINTS = 300
"""Of each distribution in a cloud: more cover each other."""
PER_IMAGE = {
    "gram_volume": "Gram volume of clean, adversarial, AWP",
    "cos_id_adv": "Cosine of clean and adversarial",
    "cos_adv_awp": "Cosine of adversarial and AWP",
}
"""Numbers of each image that ``feature_stability`` leaves."""
FLOAT32 = 1e-7
"""Digits of what is stored: a cosine that is nearer to 1 is 1."""


def sets_of(found: Sequence[Finding], group: str = "pca") -> list[str]:
    """Distributions with arrays ``GROUP/SET``."""
    return order([name for f in found for name in f.array_names(group)])


def clouds(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], solid: bool = False
) -> dict[str, go.Figure]:
    """Principal components of the ID features, a panel a run, a colour a distribution; 2-D, or 3-D
    where ``solid``. All panels have one scale: a run whose features have collapsed looks smaller.
    """
    every, ends = of_sets(sets_of(found), legend.ground), reach(found, sets)
    colors, drawn = {s: every[s] for s in sets}, {}
    for f in found:
        if (figure := cloud(f, colors, legend.ground, ends, solid)) is not None:
            name, shares = legend.names[f.run], _shares(f)
            drawn[f"{name} ({', '.join(shares)} %)" if solid else name] = figure
    return drawn


def _shares(f: Finding) -> list[str]:
    """Percent of the ID variance on each principal axis."""
    shares = f.array("pca_share")
    return [] if shares is None else [f"{100 * float(share):.0f}" for share in shares]


def reach(found: Sequence[Finding], sets: Sequence[str]) -> list[list[float] | None]:
    """From where to where the clouds of all runs go along each principal axis."""
    shown = [p for f in found for s in sets if (p := _points(f, s)) is not None]
    return [span([p[:, i] for p in shown], 0.03) for i in range(3)]


def cloud(
    f: Finding,
    colors: Mapping[str, str],
    ground: Ground,
    ends: Sequence[list[float] | None],
    solid: bool = False,
    height: int | None = None,
) -> go.Figure | None:
    """One panel of :func:`clouds`: points of some distributions of one run, the last on top.

    Args:
        f: Of ``feature_stability``.
        colors: Distribution -> colour; those that were not measured are left out.
        ground: Light or dark.
        ends: Ranges of the axes.
        solid: Three axes, not two.
        height: In pixels.
    """
    shares, figure = _shares(f), go.Figure()
    for name, color in colors.items():
        if (p := _points(f, name)) is None:
            continue
        common: dict[str, Any] = {
            "mode": "markers",
            "name": plain_html(title(name)),
            "text": _classes(f, name),
            "hovertemplate": "%{text}<extra>" + plain_html(title(name)) + "</extra>",
            "x": p[:, 0],
            "y": p[:, 1],
        }
        marker = {"color": color, "opacity": 0.75, "size": 2 if solid else 4}
        if solid:
            figure.add_scatter3d(z=p[:, 2], marker=marker, **common)
        else:
            figure.add_scatter(marker=marker, **common)
    if not figure.data or not shares:
        return None
    # Titles of a scene stand near each other: there the shares are in the name of the panel.
    titles = [f"PC {i}" if solid else f"PC {i} ({s} %)" for i, s in enumerate(shares, 1)]
    axes = [{"title": {"text": text}, "range": end} for text, end in zip(titles, ends, strict=True)]
    if solid:
        return _solid(figure, axes, ground, f.run).update_layout(height=height or 380)
    return _flat(figure, axes, ground).update_layout(height=height or 330)


def _shown(n: int) -> np.ndarray:
    """Which of ``n`` images stand in a cloud: all, or ``MOST_POINTS`` evenly."""
    return np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(int)


def _points(f: Finding, name: str) -> np.ndarray | None:
    points = f.array(f"pca/{name}")
    return None if points is None else np.asarray(points, float)[_shown(len(points))]


def _classes(f: Finding, name: str) -> list[str]:
    classes, labels = f.array("class_names"), f.array(f"pca_label/{name}")
    if classes is None or labels is None:
        return [""] * len(_shown(len(f.array(f"pca/{name}"))))
    return [
        plain_html(str(classes[int(y)])) if y >= 0 else "a class that ID lacks"
        for y in labels[_shown(len(labels))]
    ]


def _flat(figure: go.Figure, axes: Sequence[Mapping[str, Any]], ground: Ground) -> go.Figure:
    common = {"constrain": "domain", "nticks": 6}
    x = {**axes[0], **common}
    y = {**axes[1], **common, "scaleanchor": "x"}
    return dress(figure, ground, 330, xaxis=x, yaxis=y, showlegend=False)


def _solid(
    figure: go.Figure, axes: Sequence[Mapping[str, Any]], ground: Ground, run: str
) -> go.Figure:
    look = {
        "gridcolor": ground.grid,
        "color": ground.text,
        "backgroundcolor": "rgba(0,0,0,0)",
        "nticks": 4,
        "tickfont": {"size": 10},
    }
    scene = {f"{name}axis": look | dict(axis) for name, axis in zip("xyz", axes, strict=True)}
    return dress(
        figure,
        ground,
        380,
        showlegend=False,
        uirevision=f"cloud-{run}",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene=scene | {"aspectmode": "data", "camera": CAMERA},
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
            y = {"title": "Share of the variance", "type": "log", "range": ends, "dtick": 1}
            y |= {"exponentformat": "power"}
            x = {"title": "Index of the eigenvalue", "type": "log", "dtick": "D2"}
            drawn[title(s)] = overlay(lines, legend, x, y, markers=False)
    return drawn


def layers_of(found: Sequence[Finding]) -> list[str]:
    """Layers that the anisotropy was measured at, of all runs in turn."""
    return union(_layers(f) for f in found)


def _layers(f: Finding) -> list[str]:
    array = f.array("features/layers")
    return [] if array is None else [str(name) for name in array.tolist()]


def by_layer(
    found: Sequence[Finding], legend: Legend, key: str, sets: Sequence[str], axis: str
) -> dict[str, go.Figure]:
    """One number of ``anisotropy`` against the layer, a panel a distribution on one scale, with
    bands. A run stands at its own layers among those of all runs.
    """
    every = layers_of(found)
    curves: dict[str, dict[str, Curve]] = {}
    for s in sets:
        for f in found:
            own = _layers(f)
            ms = [f.value(f"features/{s}/{key}/{layer}") for layer in own]
            if any(m is not None for m in ms):
                y, low, high = (
                    [
                        np.nan if m is None or getattr(m, part) is None else getattr(m, part)
                        for m in ms
                    ]
                    for part in ("value", "low", "high")
                )
                at = [every.index(layer) for layer in own]
                curves.setdefault(s, {})[f.run] = Curve(at, y, low, high)
    shown = [v for lines in curves.values() for c in lines.values() for v in (c.y, c.low, c.high)]
    x, ends = layer_axis([short(layer) for layer in every]), span(shown)
    return {
        title(s): overlay(lines, legend, x, {"title": axis, "range": ends})
        for s, lines in curves.items()
    }


def sweeps(found: Sequence[Finding], legend: Legend, sets: Sequence[str]) -> dict[str, go.Figure]:
    """LID against the number of neighbours it is estimated from, a panel a distribution on one
    scale, a line a run with its band.
    """
    curves: dict[str, dict[str, Curve]] = {}
    for s in sets:
        for f in found:
            k, lid = f.array("lid_k"), f.array(f"lid_sweep/{s}")
            ends = f.array(f"lid_sweep_interval/{s}")
            if k is not None and lid is not None:
                low, high = (None, None) if ends is None else ends
                curves.setdefault(s, {})[f.run] = Curve(k, lid, low, high)
    lines = [c for panel in curves.values() for c in panel.values()]
    ends = span([v for c in lines for v in (c.y, c.low, c.high) if v is not None])
    ks = sorted({int(k) for c in lines for k in c.x})
    x = {"title": "Neighbours k", "type": "log", "tickvals": ks, "ticktext": [str(k) for k in ks]}
    y = {"title": "LID (maximum likelihood)", "range": ends}
    return {title(s): overlay(panel, legend, x, y) for s, panel in curves.items()}


def cumulative(
    found: Sequence[Finding], legend: Legend, key: str, axis: str, from_one: bool = False
) -> go.Figure | None:
    """Per-image numbers as cumulative shares; ``from_one`` shows cosines near 1 by their distance
    to it, on a logarithmic axis.
    """
    arrays = {f.run: np.asarray(a, float) for f in found if (a := f.array(key)) is not None}
    x: dict[str, Any] = {"title": axis, "nticks": 5}
    if from_one:
        arrays = {run: np.clip(1 - a, FLOAT32, None) for run, a in arrays.items()}
        x |= {"type": "log", "exponentformat": "power"}
    return below(arrays, legend, x)


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
    room = 0.03 * (edges[-1] - edges[0])  # else the sides of the outer bins would be cut
    lines = {}
    for run, a in arrays.items():
        counts, _ = np.histogram(a, edges)
        lines[run] = Curve(
            np.repeat(edges, 2), np.concatenate([[0], np.repeat(counts / len(a), 2), [0]])
        )
    return overlay(
        lines,
        legend,
        {"title": axis, "nticks": 5, "range": [edges[0] - room, edges[-1] + room]},
        {"title": "Share of the images", "rangemode": "tozero"},
        markers=False,
    )


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Of ``feature_stability``: every distribution over that of ID on two principal axes, all of
    them on three (Fig. 2a), numbers of single images, and LID against k.
    """
    sets = sets_of(found)
    bands = intervals(found, "lid_sweep")
    note = f"{sample(found)}; attacked: {attack(found)}, every image"
    axes = "unit features on the principal axes of each run's ID features, all on one scale"
    shares = "in brackets: share of the ID variance on PC 1, 2 and 3"
    s = found[0].result.settings
    awp = f"AWP: rank {s.get('rank')}, |Δ| = {s.get('rho')} |W| in every attention and MLP matrix"
    rows = {
        "fig2a": ("ID, shifted and attacked images",
                  [clouds(found, legend, sets, solid=True)], f"{axes}; {shares}; {note}"),
        "histograms": ("Image by image", _images(found, legend),
                       f"{note}; {awp}; bands hold the whole line at 95 % (DKW)"),
        "lid": ("Intrinsic dimension against the number of neighbours",
                [sweeps(found, legend, sets_of(found, "lid_sweep"))],
                f"{note}; bands: {bands}"),
    }  # fmt: skip
    drawn = _over_id(found, legend, sets, f"{axes}; {note}") | pages(rows, legend)
    for key, figure in drawn.items():
        if key not in ("histograms", "lid"):  # the points of clouds are too small for a key
            figure.update_layout(legend={"itemsizing": "constant"})
    return drawn


def _over_id(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], note: str
) -> dict[str, go.Figure]:
    """ID in grey and each distribution over it: a row a distribution, a column a run, the cosine of
    their class centroids above; more than ``RUNS`` runs on further pages, ``2``, ``3``, ...
    """
    title = "Each distribution over ID, in grey"
    how = f"{note}; numbers: mean cosine of class centroids to ID"
    if made := intervals(found, "centroid_cosine"):
        how += f", {made}"
    shown = [f for f in found if f.array("pca/id") is not None and _shares(f)]
    if len(shown) == 1:
        return pages({"": (title, _of_one(shown[0], legend, sets), how)}, legend)
    count = -(-len(shown) // RUNS)
    parts = [
        [shown[i] for i in part] for part in np.array_split(np.arange(len(shown)), max(count, 1))
    ]
    rows = {
        "" if i == 1 else str(i): (
            f"{title}, page {i} of {count}" if count > 1 else title,
            _grid(part, legend, sets, reach(found, sets)),
            how,
        )
        for i, part in enumerate(parts, 1)
    }
    return pages(rows, legend, RUNS)


def _of_one(f: Finding, legend: Legend, sets: Sequence[str]) -> list[dict[str, go.Figure | None]]:
    """One run: its distributions side by side."""
    colors, ends = of_sets(sets, legend.ground), reach([f], sets)
    return [
        {
            f"{legend.names[f.run]}, {brief(s)}: {_cosine(f, s)}": cloud(
                f, {name: colors[name] for name in ("id", s)}, legend.ground, ends, height=300
            )
            for s in sets
            if s != "id" and f.array(f"pca/{s}") is not None
        }
    ]


def _grid(
    found: Sequence[Finding],
    legend: Legend,
    sets: Sequence[str],
    ends: Sequence[list[float] | None],
) -> list[dict[str, go.Figure | None]]:
    """A row a distribution, a column a run; ticks and titles at the left and below only."""
    colors, drawn = of_sets(sets, legend.ground), []
    others = [s for s in sets if s != "id" and any(f.array(f"pca/{s}") is not None for f in found)]
    for s in others:
        row: dict[str, go.Figure | None] = {}
        for i, f in enumerate(found):
            both = {name: colors[name] for name in ("id", s)}
            figure = cloud(f, both, legend.ground, ends, height=215)
            if figure is None:
                continue
            first, second = _shares(f)[:2]
            x = f"PC 1 ({first} %)<br>PC 2: {second} %" if s == others[-1] else ""
            y = f"{brief(s)}<br>PC 2" if i == 0 else ""
            figure.update_xaxes(title_text=x, showticklabels=bool(x), nticks=4)
            figure.update_yaxes(title_text=y, showticklabels=bool(y), nticks=4)
            row[f"{legend.names[f.run]}: {_cosine(f, s)}"] = figure
        drawn.append(row)
    return drawn


def _cosine(f: Finding, name: str) -> str:
    """``0.64 [0.62, 0.67]``, on one line; in words where there is none."""
    m = point(f.value(f"centroid_cosine/{name}"))
    if m is None:
        return "not measured" if f.array(f"pca/{name}") is None else "no cosine"
    ends = "" if m.low is None or m.high is None else f" [{m.low:.2f}, {m.high:.2f}]"
    return f"{m.value:.2f}{ends}".replace(" ", "\N{NO-BREAK SPACE}")


def _images(found: Sequence[Finding], legend: Legend) -> list[dict[str, go.Figure]]:
    """Histograms above, cumulative shares below."""
    counted, summed = {}, {}
    for key, name in PER_IMAGE.items():
        axis, near = name.partition(" of ")[0], key == "cos_adv_awp"
        counted[name] = histogram(found, legend, key, axis)
        axis = f"1 − {axis.lower()}" if near else axis
        summed[f"{axis}, cumulative"] = cumulative(found, legend, key, axis, near)
    return [{n: fig for n, fig in row.items() if fig is not None} for row in (counted, summed)]
