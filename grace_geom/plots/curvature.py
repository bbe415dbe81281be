"""Spectra, curvature by matrix and sharpness."""

import re
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, heat, log_axis, log_ticks, overlay
from grace_geom.plots.style import dress, plain_html, see_through, short_weight
from grace_geom.records import Finding


def density(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Spectral densities over linear eigenvalues, logarithmic, nothing below a hundredth of one
    eigenvalue. Bands: the lowest and the highest density of single probes, where there are several.

    The Lanczos nodes of all probes are smoothed with one Gaussian kernel, see :func:`kernel`.
    """
    spectra = _spectra(found)
    width = kernel(found)
    if width is None:
        return None
    used = np.concatenate([nodes[weights > 0] for nodes, weights in spectra.values()])
    grid = np.linspace(used.min() - 6 * width, used.max() + 6 * width, 1000)
    dim = max(f.value("dim").value for f in found if f.run in spectra)
    floor = min(1e-2 / dim / width, 1.0) if dim > 0 else 0.0
    figure = go.Figure()
    for run, (nodes, weights) in spectra.items():
        kernels = np.exp(-0.5 * ((grid[:, None, None] - nodes) / width) ** 2)
        probes = (kernels * weights).sum(axis=2) / (width * np.sqrt(2 * np.pi))
        style, name = legend.looks[run], plain_html(legend.names[run])
        if probes.shape[1] > 1:
            low, high = (np.maximum(f(probes, axis=1), floor) for f in (np.min, np.max))
            figure.add_scatter(
                x=np.concatenate([grid, grid[::-1]]), y=np.concatenate([low, high[::-1]]),
                fill="toself", fillcolor=see_through(style.color, 0.15), line={"width": 0},
                mode="lines", hoverinfo="skip", showlegend=False, legendgroup=run,
                name=f"{name} probes",
            )  # fmt: skip
        curve = probes.mean(axis=1)
        figure.add_scatter(
            x=grid,
            y=np.where(curve > floor, curve, np.nan),
            mode="lines",
            name=name,
            legendgroup=run,
            line={"color": style.color, "dash": style.dash, "width": 1.6},
            hovertemplate="λ = %{x:.4g}: %{y:.2g}",
        )
    ends = float(grid[0]), float(grid[-1])
    _name_peaks(figure, [f for f in found if f.run in spectra], legend, ends)
    y = {"title": "Density per unit λ", "type": "log", "dtick": 1}
    return dress(
        figure, legend.ground, 420, xaxis={"title": "Eigenvalue λ", "range": list(ends)},
        yaxis=y | {"exponentformat": "power"}, showlegend=False,
    )  # fmt: skip


def kernel(found: Sequence[Finding]) -> float | None:
    """Standard deviation of the densities' Gaussian kernel: as it was asked for, else 1 % of the
    range of all runs; ``None`` where no run has a density.
    """
    spectra = _spectra(found)
    used = [nodes[weights > 0] for nodes, weights in spectra.values()]
    if not used or not np.concatenate(used).size:
        return None
    asked = found[0].result.settings.get("width")
    return float(asked) if asked else 0.01 * (float(np.ptp(np.concatenate(used))) or 1.0)


def _spectra(found: Sequence[Finding]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Run -> nodes and weights ``(probes, steps)``; what is not finite has no weight."""
    spectra = {}
    for f in found:
        nodes, weights = f.array("density_nodes"), f.array("density_weights")
        if nodes is None or weights is None or f.value("dim") is None:
            continue
        nodes, weights = (np.atleast_2d(np.asarray(a, float)) for a in (nodes, weights))
        known = np.isfinite(nodes) & np.isfinite(weights)
        spectra[f.run] = np.where(known, nodes, 0.0), np.where(known, weights, 0.0)
    return spectra


_LABEL = 0.022
"""Width of a letter as a share of a narrow plot, on a telephone."""


def _name_peaks(
    figure: go.Figure, found: Sequence[Finding], legend: Legend, ends: tuple[float, float]
) -> None:
    """A line at each run's largest eigenvalue, named; names that would collide stand on other
    levels.

    A name stands left of its line, or right of it where it would leave the plot.
    """
    tops = sorted(
        (m.value, f.run)
        for f in found
        if (m := f.value("lambda_1")) is not None and np.isfinite(m.value)
    )
    levels: list[list[tuple[float, float]]] = []  # what the names on each level cover
    for top, run in reversed(tops):
        at, need = (top - ends[0]) / (ends[1] - ends[0]), _LABEL * (len(legend.names[run]) + 6)
        left = at >= need
        begin, end = (at - need, at - 0.005) if left else (at + 0.005, at + need)
        free = (i for i, level in enumerate(levels) if all(end < a or b < begin for a, b in level))
        level = next(free, len(levels))
        levels[level:] = [*levels[level:]] or [[]]
        levels[level].append((begin, end))
        height = 0.98 - 0.065 * level
        color = legend.looks[run].color
        figure.add_shape(
            type="line",
            x0=top,
            x1=top,
            y0=0,
            y1=height,
            yref="paper",
            line={"color": color, "width": 1, "dash": "dot"},
        )
        figure.add_annotation(
            x=top,
            y=height,
            yref="paper",
            text=f"{plain_html(legend.names[run])} {top:.3g}",
            showarrow=False,
            xanchor="right" if left else "left",
            yanchor="middle",
            font={"color": color, "size": 12},
            xshift=-3 if left else 3,
            bgcolor=legend.ground.paper,
        )


def kinds(names: Sequence[str]) -> tuple[list[str], list[str], dict[str, tuple[int, int]]]:
    """Weight matrices by kind and block: kinds, blocks (``-``: outside of every block), name ->
    (kind, block).
    """
    split = {name: re.fullmatch(r"(\d+) (.+)", short_weight(name)) for name in names}
    inside = [int(found[1]) for found in split.values() if found]
    blocks = [str(i) for i in range(max(inside) + 1)] if inside else []
    outside = any(found is None for found in split.values())
    columns = [*blocks, *(["-"] if outside else [])]
    rows = list(
        dict.fromkeys(found[2] if found else short_weight(name) for name, found in split.items())
    )
    rows.sort(key=lambda kind: not any(found and found[2] == kind for found in split.values()))
    place = {
        name: (rows.index(found[2]), int(found[1]))
        if found
        else (rows.index(short_weight(name)), len(blocks))
        for name, found in split.items()
    }
    return rows, columns, place


def by_block(found: Sequence[Finding], legend: Legend, group: str) -> dict[str, go.Figure]:
    """Kind of matrix down, block across, a panel a run, on one logarithmic colour scale; blank
    where not positive.
    """
    matrices = list(
        dict.fromkeys(n for f in found for n in f.names(group) if n.endswith(("weight", "proj")))
    )
    rows, columns, place = kinds(matrices)
    grids = {}
    for f in found:
        grid = np.full((len(rows), len(columns)), np.nan)
        for name, at in place.items():
            if (m := f.value(f"{group}/{name}")) is not None and m.value > 0:
                grid[at] = m.value
        grids[f.run] = grid
    every = np.concatenate([g.ravel() for g in grids.values()]) if grids else np.array([])
    every = every[np.isfinite(every)]
    if not every.size:
        return {}
    ends = float(np.log10(every.min())), float(np.log10(every.max()))
    bar = log_ticks(ends)
    drawn = {}
    for run, grid in grids.items():
        figure = heat(
            grid,
            columns,
            rows,
            ends,
            "",
            legend.ground,
            ("Block (-: outside of the blocks)", ""),
            square=False,
            height=110 + 22 * len(rows),
            bar=bar,
            shown=np.log10(grid),
        )
        drawn[legend.names[run]] = figure.update_yaxes(autorange="reversed", dtick=1)
    return drawn


FORMS = {
    "ball": ("‖δ‖ ≤ ρ (SAM)", False),
    "adaptive": ("‖δ / |θ|‖ ≤ ρ (adaptive)", False),
    "relative": ("‖δ‖ ≤ ρ ‖W‖ in each matrix (AWP)", False),
    "average": ("Gaussian, E‖δ‖² = ρ²", True),
}


def sharpness(
    found: Sequence[Finding], legend: Legend, loss: str
) -> dict[str, go.Figure]:  # fmt: skip
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
        x = {"title": "ρ", "type": "log", "tickvals": radii, "ticktext": [f"{r:g}" for r in radii]}
        y = {"title": "Rise of the loss", "exponentformat": "power"}
        if (rises > 0).all() and form != "average":
            y |= log_axis([rises])
        drawn[title] = overlay(lines, legend, x, y)
    return drawn
