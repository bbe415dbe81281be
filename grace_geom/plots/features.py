"""Features as spectra, numbers by layer and by image: plain functions of findings."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.centroids import moved
from grace_geom.plots.clouds import clouds, over_id, pooled, sets_of
from grace_geom.plots.columns import union
from grace_geom.plots.compose import pages
from grace_geom.plots.layers import layer_axis, short, title
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, Point, below, log_axis, log_ticks, overlay, span
from grace_geom.plots.sample import attack, intervals, sample
from grace_geom.plots.style import dressed, plain_html, row_bands, see_through
from grace_geom.plots.variants import LONG, fitted
from grace_geom.records import Finding

PER_IMAGE = {
    "gram_volume": "Gram volume of clean, adversarial, AWP",
    "cos_id_adv": "Cosine of clean and adversarial",
    "cos_adv_awp": "Cosine of adversarial and AWP",
}
"""Numbers of each image that ``feature_stability`` leaves. All have logarithmic axes: most volumes
are near 0 and most cosines are near 1, orders of magnitude apart.
"""
ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}
FLOAT32 = 1e-7
"""Digits of what is stored: a cosine that is nearer to 1 is 1."""


def held_against(of: Mapping[str, Point], reference: str, legend: Legend, title: str) -> go.Figure:
    """One number of several runs, a row each with its interval, the highest on top, over the value
    and the interval of one of them.

    Args:
        of: Run -> number.
        reference: The run that the others are held against.
        legend: Name and look of each run. Over 30 rows have no names; the pointer tells them.
        title: Of the axis.
    """
    order, traces = sorted(of, key=lambda run: of[run].value), list[dict[str, Any]]()
    for i, run in enumerate(order):
        look, name, value = legend.looks[run], plain_html(legend.names[run]), of[run].value
        low, high = _ends(of[run])
        traces.append({
            "type": "scatter", "x": [value], "y": [i], "mode": "markers", "name": name,
            "showlegend": False, "cliponaxis": False,
            "marker": {"color": look.color, "symbol": look.marker, "size": 9},
            "error_x": {
                "type": "data", "symmetric": False, "array": [high - value],
                "arrayminus": [value - low], "color": look.color, "thickness": 1.4, "width": 0,
            },
            "hovertemplate": f"{name}: %{{x:.4g}} [{low:.4g}, {high:.4g}]<extra></extra>",
        })  # fmt: skip
    muted, (low, high) = legend.ground.muted, _ends(of[reference])
    upright = {"yref": "y domain", "y0": 0, "y1": 1, "layer": "below"}
    band = {"type": "rect", "x0": low, "x1": high, "fillcolor": see_through(muted, 0.2)}
    line = {"type": "line", "x0": of[reference].value, "x1": of[reference].value}
    shapes = [
        *row_bands(len(order), legend.ground),
        band | upright | {"line": {"width": 0}},
        line | upright | {"line": {"width": 1, "color": muted}},
    ]
    named = fitted({run: legend.names[run] for run in order}, LONG)
    y = {
        "tickvals": list(range(len(order))), "ticks": "", "showgrid": False,
        "ticktext": [
            f"<b>{plain_html(named[run])}</b>" if run == reference else plain_html(named[run])
            for run in order
        ],
        "showticklabels": len(order) <= 30, "range": [-0.5, len(order) - 0.5],
    }  # fmt: skip
    height = 60 + (20 if len(order) <= 30 else 9) * len(order)
    x = {"title": title[:1].upper() + title[1:]}
    return dressed(traces, legend.ground, height, shapes=shapes, xaxis=x, yaxis=y)


def _ends(p: Point) -> tuple[float, float]:
    """Of the interval; the value itself where there is none."""
    return p.value if p.low is None else p.low, p.value if p.high is None else p.high


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
    ticks = log_axis([a[a > 1e-6] for a in arrays.values()])
    drawn = {}
    for s in sets:
        lines = {
            f.run: Curve(range(1, int((a > 1e-6).sum()) + 1), a[a > 1e-6])
            for f in found if (a := arrays.get((f.run, s))) is not None
        }  # fmt: skip
        if lines:
            y = {"title": "Share of the variance"} | ticks
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


def _without_bands(found: Sequence[Finding]) -> str:
    """At which numbers of neighbours LID was estimated and has no interval anywhere, and why."""
    known: dict[int, bool] = {}
    for f in found:
        k = f.array("lid_k")
        for s in f.array_names("lid_sweep_interval"):
            lids, ends = f.array(f"lid_sweep/{s}"), f.array(f"lid_sweep_interval/{s}")
            for one, lid, held in zip(k, lids, np.isfinite(ends).all(axis=0), strict=True):
                if np.isfinite(lid):
                    known[int(one)] = known.get(int(one), False) or bool(held)
    missing = [str(one) for one in sorted(known) if not known[one]]
    if not missing or len(missing) == len(known):
        return ""
    return f"none at k = {', '.join(missing)}: a half-sample has too few images"


def cumulative(
    found: Sequence[Finding],
    legend: Legend,
    key: str,
    axis: str,
    from_one: bool = False,
    behind: Collection[str] = (),
    log: bool = False,
) -> go.Figure | None:
    """Per-image numbers as cumulative shares. Lines of runs ``behind`` are thin and grey, without a
    band.

    Args:
        found: Of ``feature_stability``.
        legend: Name and look of each run.
        key: Of the numbers.
        axis: Title.
        from_one: Show cosines near 1 by their distance to it, on a logarithmic axis.
        behind: Runs whose lines stand back.
        log: A logarithmic axis of the numbers as they are. On it, as on the one of ``from_one``,
            what is below :data:`FLOAT32` stands there.
    """
    arrays = {f.run: np.asarray(a, float) for f in found if (a := f.array(key)) is not None}
    x: dict[str, Any] = {"title": axis, "nticks": 5}
    if from_one or log:
        arrays = {
            run: np.clip(1 - a if from_one else a, FLOAT32, None) for run, a in arrays.items()
        }
        ends = span(list(arrays.values()), 0.03, log=True)
        x |= {"type": "log"} | (log_ticks(ends[0], ends[1]) if ends else {})
    return below(arrays, legend, x, behind=behind)


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Of ``feature_stability``: every distribution over that of ID on two principal axes, how far
    each moves the class centroids, all of them on three axes (Fig. 2a), numbers of single images,
    and LID against k.
    """
    sets = sets_of(found)
    bands = "; ".join(filter(None, (intervals(found, "lid_sweep"), _without_bands(found))))
    note = f"{sample(found)}; attacked: {attack(found)}, every image"
    axes = "unit features on the principal axes of each run's ID features, all on one scale"
    shares = "in brackets: share of the ID variance on PC 1, 2 and 3"
    shifted = [s for s in sets if s not in ("id", "adv")]
    if len(shifted) > 1:
        shares += (
            f"; under shift: every {ORDINALS.get(len(shifted), f'{len(shifted)}th')} image of "
        )
        shares += ", ".join(shifted)
    s = found[0].result.settings
    awp = f"AWP: rank {s.get('rank')}, |Δ| = {s.get('rho')} |W| in every attention and MLP matrix"
    away = sorted((s for s in sets if s != "id"), key=lambda s: s != "adv")
    made = intervals(found, "centroid_cosine")
    bars = f"; bars: {made}" if made else ""
    rows = {
        "centroids": ("How far class centroids moved from ID", [moved(found, legend, away)],
                      f"on top what moved least over all panels; {note}{bars}"),
        "fig2a": ("ID, shifted and attacked images",
                  [pooled(clouds(found, legend, sets, solid=True), legend.ground)],
                  f"{axes}; {shares}; {note}"),
        "images": ("Image by image", _images(found, legend),
                       f"{note}; {awp}; bands hold the whole line at 95 % (DKW)"),
        "lid": ("Intrinsic dimension against the number of neighbours",
                [sweeps(found, legend, sets_of(found, "lid_sweep"))],
                f"{note}; bands: {bands}"),
    }  # fmt: skip
    drawn = over_id(found, legend, sets, f"{axes}; {note}") | pages(rows, legend)
    for key, figure in drawn.items():
        if key == "fig2a":  # the points of clouds are too small for a key
            figure.update_layout(legend={"itemsizing": "constant"})
    return drawn


def _images(found: Sequence[Finding], legend: Legend) -> list[dict[str, go.Figure | None]]:
    """Cumulative shares of images: no bins to choose, and one value looks like one value."""
    return [dict(per_image(found, legend))]


def per_image(
    found: Sequence[Finding], legend: Legend, behind: Collection[str] = ()
) -> dict[str, go.Figure]:
    """Each number of single images as cumulative shares, with bands; see :func:`cumulative`."""
    drawn = {}
    for key, name in PER_IMAGE.items():
        axis, near = name.partition(" of ")[0], key.startswith("cos_")
        axis = f"1 − {axis.lower()}" if near else axis
        if (figure := cumulative(found, legend, key, axis, near, behind, not near)) is not None:
            drawn[name] = figure
    return drawn
