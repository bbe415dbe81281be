"""The terms of the robust PAC-Bayes bound as figures: plain functions of findings."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import columns
from grace_geom.plots.compose import pages
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, Point, log_axis, overlay, point
from grace_geom.plots.sample import said
from grace_geom.plots.style import from_zero, plain_html
from grace_geom.records import Finding

DOMAINS = {"id": "ID", "ood": "worst OOD", "adv": "Adv"}
PAIRED = "ID, Adv"
"""The pair whose two samples are the same images; no sampling floor is drawn for it."""
SIGMAS = np.geomspace(1e-3, 1.0, 121)


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """(A) + (B) over sigma, traces by domain, discrepancies of ID, OOD and Adv."""
    panels = {
        "Proximity + sharpness; marks: minimum": total(found, legend),
        "Trace by domain": traces(found, legend),
        "Discrepancy; lines: sampling floor": discrepancies(found, legend),
    }
    sigma = found[0].result.settings.get("sigma")
    note = said(
        found,
        "bars: 95 % intervals",
        f"dotted: σ = {sigma:g}",
        "the terms compare checkpoints, their sum certifies nothing",
    )
    return pages({"": ("The bound's terms", [panels], note)}, legend)


def total(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """(A) + (B) over sigma, where it is positive, and its minimum, where (A) = (B)."""
    lines = {f.run: line for f in found if len((line := _sum(f)).x)}
    if not lines:
        return None
    x = {"title": "σ", "type": "log", "dtick": 1, "exponentformat": "power"}
    y = {"title": "(A) + (B)", "type": "log", "dtick": 1, "exponentformat": "power"}
    figure = overlay(lines, legend, x, y, markers=False)
    for f in found:
        where, term = f.value("sigma_balanced"), f.value("balanced")
        if where is None or term is None or not (math.isfinite(where.value) and where.value > 0):
            continue
        style, name = legend.looks[f.run], plain_html(legend.names[f.run])
        figure.add_scatter(
            x=[where.value], y=[2 * term.value], mode="markers", name=name, legendgroup=f.run,
            marker={"color": style.color, "symbol": style.marker, "size": 8},
            hovertemplate="least at σ = %{x:.4g}: %{y:.4g}",
        )  # fmt: skip
    sigma = found[0].result.settings.get("sigma")
    if sigma:
        figure.add_vline(x=sigma, line={"color": legend.ground.muted, "width": 1, "dash": "dot"})
    return figure


def _sum(f: Finding) -> Curve:
    """(A) + (B) at those of :data:`SIGMAS` where it is positive."""
    distance, n, trace = (_number(f, key) for key in ("distance", "n_train", "trace"))
    y = distance**2 / (2 * n * SIGMAS**2) + SIGMAS**2 / 2 * trace
    return Curve(SIGMAS[y > 0], y[y > 0])


def _number(f: Finding, key: str) -> float:
    m = f.value(key)
    return math.nan if m is None else float(m.value)


def kinds(found: Sequence[Finding]) -> list[str]:
    """Domains whose trace was measured on any run."""
    return [k for k in DOMAINS if any(f.value(f"trace/{k}") is not None for f in found)]


def traces(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Traces of the Hessian on ID, the OOD set of the highest loss, and Adv; a logarithmic axis
    where all intervals are positive, since traces of attacked images are often ten times as large.
    """
    points = {
        f.run: {
            DOMAINS[k]: p for k in kinds(found) if (p := point(f.value(f"trace/{k}"))) is not None
        }
        for f in found
    }
    every = [v for known in points.values() for p in known.values() for v in _ends(p)]
    y: dict[str, object] = {"title": "Tr H"}
    y |= log_axis([every]) if all(v > 0 for v in every) else {"exponentformat": "power"}
    figure = columns(points, [DOMAINS[k] for k in kinds(found)], legend, y)
    if figure is not None and "type" not in y:
        figure.add_hline(y=0, line={"color": legend.ground.muted, "width": 1}, layer="below")
    return figure


def _ends(p: Point) -> list[float]:
    return [p.value if end is None else end for end in (p.low, p.value, p.high)]


def pairs(found: Sequence[Finding]) -> dict[str, list[str]]:
    """Pairs of ID, OOD and Adv -> the keys of their discrepancies on any run."""
    every = dict.fromkeys(name for f in found for name in f.names("loss"))
    oods = [name for name in every if name not in ("id", "adv")]
    groups = {
        "ID, OOD": [f"discrepancy/id-{name}" for name in oods],
        PAIRED: ["discrepancy/id-adv"],
        "OOD, Adv": [f"discrepancy/{name}-adv" for name in oods],
    }
    there = {f"discrepancy/{name}" for f in found for name in f.names("discrepancy")}
    return {group: keys for group, keys in groups.items() if there.intersection(keys)}


def discrepancies(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """The largest discrepancy of each pair, and what two samples of one distribution would give."""
    groups = pairs(found)
    points: dict[str, dict[str, Point]] = {}
    for f in found:
        largest = {group: _largest(f, keys) for group, keys in groups.items()}
        points[f.run] = {group: p for group, p in largest.items() if p is not None}
    ends = from_zero(v for known in points.values() for p in known.values() for v in _ends(p))
    y = {"title": "(C) / 2 L<sub>f</sub>", "range": ends}
    figure = columns(points, list(groups), legend, y)
    if figure is None:
        return None
    for f in found:
        floor, style = _number(f, "floor"), legend.looks[f.run]
        for j, group in enumerate(groups):
            if group != PAIRED and math.isfinite(floor):
                figure.add_scatter(
                    x=[j - 0.4, j + 0.4], y=[floor, floor], mode="lines", legendgroup=f.run,
                    name=plain_html(legend.names[f.run]), opacity=0.6,
                    line={"color": style.color, "dash": style.dash, "width": 1.2},
                    hovertemplate="floor: %{y:.4g}",
                )  # fmt: skip
    return figure


def _largest(f: Finding, keys: Sequence[str]) -> Point | None:
    known = [p for key in keys if (p := point(f.value(key))) is not None]
    return max(known, key=lambda p: p.value, default=None)
