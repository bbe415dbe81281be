"""Curvature by matrix, and sharpness."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import is_matrix, union
from grace_geom.plots.legend import Legend
from grace_geom.plots.maps import heat, log_ticks
from grace_geom.plots.panels import Curve, log_axis, overlay, point
from grace_geom.plots.style import plain_html
from grace_geom.plots.weight_names import MATRICES, Site, in_order, site, weight_name
from grace_geom.records import Finding


def by_block(found: Sequence[Finding], legend: Legend, group: str) -> dict[str, go.Figure]:
    """Blocks down in the network's order, kinds of matrices across, a panel a run, on one
    logarithmic colour scale; blank where not positive. A matrix of the stem or the head fills its
    row.
    """
    names = in_order(n for n in union(f.names(group) for f in found) if is_matrix(n))
    rows, kinds, places = table(names)
    grids = {f.run: _filled(f, group, places, (len(rows), len(kinds))) for f in found}
    every = np.concatenate([g[0].ravel() for g in grids.values()]) if grids else np.array([])
    every = every[np.isfinite(every)]
    if not every.size:
        return {}
    ends = float(np.log10(every.min())), float(np.log10(every.max()))
    words = np.full((len(rows), len(kinds)), "", dtype=object)
    for name, (row, columns) in places.items():
        words[row, columns] = plain_html(weight_name(name))
    drawn = {}
    for run, (grid, *interval) in grids.items():
        figure = heat(
            grid, kinds, rows, ends, "Curvature κ", legend.ground, square=False,
            height=130 + 24 * len(rows), bar=log_ticks(ends), shown=np.log10(grid),
            interval=np.stack(interval),
        )  # fmt: skip
        cells, axis = figure.data[0], figure.layout.yaxis
        hover = cells.hovertemplate.replace("%{y}, %{x}", "%{text}")
        cells.text, cells.hovertemplate = words, hover
        axis.autorange, axis.dtick = "reversed", 1
        drawn[legend.names[run]] = figure
    return drawn


def table(names: Sequence[str]) -> tuple[list[str], list[str], dict[str, tuple[int, slice]]]:
    """Matrices, in order, as a table: its rows, its columns, and the row and columns of each."""
    sites = {name: site(name) for name in names}
    rows = list(dict.fromkeys(_row(s) for s in sites.values()))
    inside = dict.fromkeys(s.kind for s in sites.values() if s.block is not None)
    kinds = [k for k in MATRICES if k in inside] + [k for k in inside if k not in MATRICES]
    places = {
        name: (rows.index(_row(s)), slice(None))
        if s.block is None
        else (rows.index(_row(s)), slice(kinds.index(s.kind), kinds.index(s.kind) + 1))
        for name, s in sites.items()
    }
    return rows, kinds or [""], places


def _row(s: Site) -> str:
    return s.name if s.block is None else s.group


def _filled(
    f: Finding, group: str, places: Mapping[str, tuple[int, slice]], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positive values of a run at their places, and both ends of their intervals."""
    value, low, high = (np.full(shape, np.nan) for _ in range(3))
    for name, at in places.items():
        p = point(f.value(f"{group}/{name}"))
        if p is not None and p.value > 0:
            value[at] = p.value
            low[at], high[at] = (np.nan if end is None else end for end in (p.low, p.high))
    return value, low, high


FORMS = {
    "ball": ("‖δ‖ ≤ ρ (SAM)", False),
    "adaptive": ("‖δ / |θ|‖ ≤ ρ (adaptive)", False),
    "relative": ("‖ΔW‖ ≤ ρ ‖W‖ (AWP)", False),
    "average": ("Gaussian, E‖δ‖² = ρ²", True),
}


def sharpness(found: Sequence[Finding], legend: Legend, loss: str) -> dict[str, go.Figure]:
    """Rise of a loss against the radius, a panel a form; logarithmic radii, and rises where all are
    positive.
    """
    drawn = {}
    for form, (title, _) in FORMS.items():
        arrays = {
            f.run: np.asarray(a, float)
            for f in found
            if (a := f.array(f"{loss}/{form}")) is not None and a.size
        }
        if not arrays:
            continue
        rises = np.concatenate([a[:, 1] for a in arrays.values()])
        lines = {
            run: Curve(
                a[:, 0],
                a[:, 1],
                *([a[:, 1] + s * 1.96 * a[:, 2] for s in (-1, 1)] if a.shape[1] > 2 else ()),
            )
            for run, a in arrays.items()
        }
        radii = sorted({float(r) for a in arrays.values() for r in a[:, 0]})
        x = {
            "title": "Radius ρ",
            "type": "log",
            "tickvals": radii,
            "ticktext": [f"{r:g}" for r in radii],
        }
        y = {"title": "Rise of the loss", "exponentformat": "power"}
        if (rises > 0).all() and form != "average":
            y |= log_axis([rises])
        drawn[title] = overlay(lines, legend, x, y)
    return drawn
