"""Spectral densities: Lanczos nodes smoothed with a Gaussian kernel of a stated width, their weight
as the mass. Plain functions of findings.
"""

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.style import dressed, faint, plain_html, see_through
from grace_geom.quantities import uncertainty
from grace_geom.records import Finding, Measure, plus_minus

DECADES = 0.1
"""Standard deviation of the kernel over logarithms of eigenvalues, in decades."""
ROW = 9
"""Pixels of the height of a row of eigenvalues below the densities."""
NEAR_ZERO = 1e-6
"""Eigenvalues below this share of the largest magnitude are rounding in float32: they have no place
on a logarithmic axis.
"""
_ROOT = np.sqrt(2 * np.pi)

Spectra = Mapping[str, tuple[np.ndarray, np.ndarray]]


def density(found: Sequence[Finding], legend: Legend, height: int = 400) -> go.Figure | None:
    """Spectral densities over linear eigenvalues, logarithmic, nothing below a hundredth of one
    eigenvalue. Bands: the lowest and the highest density of single probes, where there are several.
    Markers below the densities: eigenvalues that were measured one by one, a row a run.

    Faint lines: the largest eigenvalues.

    The Lanczos nodes of all probes are smoothed with one Gaussian kernel, see :func:`kernel`.

    Args:
        found: Of ``hessian_spectrum``.
        legend: Name and look of each run.
        height: In pixels, without the rows of markers.
    """
    if (smoothed := _smoothed(found)) is None:
        return None
    tops = _tops(smoothed.found, legend)
    return _overlay(smoothed, smoothed.found, legend, height).update_layout(shapes=tops)


def densities(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """The same as a panel for each run, on one scale, with the other runs' lines in grey: all have
    most of their eigenvalues near zero, where the last line would cover the others. Titles say λ₁.
    """
    smoothed, names = _smoothed(found), with_tops(found, legend).names
    if smoothed is None:
        return {}
    return {names[f.run]: _overlay(smoothed, [f], legend, 260) for f in smoothed.found}


@dataclass(frozen=True)
class _Smoothed:
    """Densities of several runs on one grid.

    Attributes:
        found: Of the runs that have a density.
        probes: Run -> ``(len(grid), probes)``.
        grid: Eigenvalues.
        floor: Below it nothing is drawn.
    """

    found: list[Finding]
    probes: dict[str, np.ndarray]
    grid: np.ndarray
    floor: float


def _smoothed(found: Sequence[Finding]) -> _Smoothed | None:
    spectra, width = _spectra(found), kernel(found)
    if width is None:
        return None
    used = np.concatenate([nodes[weights > 0] for nodes, weights in spectra.values()])
    grid = np.linspace(used.min() - 6 * width, used.max() + 6 * width, 1000)
    probes = {run: _smooth(grid, *both, width) for run, both in spectra.items()}
    there = [f for f in found if f.run in spectra]
    return _Smoothed(there, probes, grid, _floor(found, spectra, width))


def _overlay(
    smoothed: _Smoothed, front: Sequence[Finding], legend: Legend, height: int
) -> go.Figure:
    """Lines, bands and measured eigenvalues of some runs; of the others thin grey lines."""
    grid, floor, own = smoothed.grid, smoothed.floor, {f.run for f in front}
    traces = [
        _line_behind(run, legend, grid, probes, floor)
        for run, probes in smoothed.probes.items() if run not in own
    ]  # fmt: skip
    for f in front:
        traces += _line(f.run, legend, grid, smoothed.probes[f.run], floor, _strength(front))
    top = max(float(probes.mean(axis=1).max()) for probes in smoothed.probes.values())
    low, high = np.log10(floor), np.log10(top) + 0.2
    row = ROW * (high - low) / (height - 90)  # in decades, of an axis without its labels
    for i, f in enumerate(front):
        traces += _measured_ones(f, legend, float(10 ** (low - (i + 1) * row)))
    powers = range(int(np.ceil(low)), int(np.floor(high)) + 1)
    powers = powers[:: -(-len(powers) // (height // 40))]
    y = {"title": "Density per unit λ", "type": "log", "tickvals": [10.0**p for p in powers],
         "ticktext": [f"10<sup>{p}</sup>" if p else "1" for p in powers],
         "range": [float(low - (len(front) + 0.8) * row), float(high)]}  # fmt: skip
    x = {"title": "Eigenvalue λ", "range": [float(grid[0]), float(grid[-1])]}
    height += ROW * len(front)
    return dressed(traces, legend.ground, height, xaxis=x, yaxis=y, showlegend=False)


def _line_behind(
    run: str, legend: Legend, x: np.ndarray, probes: np.ndarray, floor: float
) -> dict[str, Any]:
    """A thin grey line at every third place of the grid: the kernel is far wider."""
    curve = probes.mean(axis=1)[::3]
    return {
        "type": "scatter", "mode": "lines", "name": plain_html(legend.names[run]),
        "legendgroup": run, "x": x[::3], "y": np.where(curve > floor, curve, np.nan),
        "line": {"color": see_through(legend.ground.muted, 0.4), "width": 1}, "hoverinfo": "skip",
    }  # fmt: skip


def log_density(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """The same over the logarithm of the magnitude, a panel for negative eigenvalues, mirrored, and
    one for positive ones; both together hold all the mass but that near zero.

    The kernel is Gaussian in ``log10 |λ|`` with a standard deviation of :data:`DECADES`, so a peak
    has one width wherever it stands.
    """
    spectra = _spectra(found)
    largest = max((float(np.abs(n[w > 0]).max(initial=0)) for n, w in spectra.values()), default=0)
    if not largest:
        return {}
    ends = np.log10(NEAR_ZERO * largest) - 3 * DECADES, np.log10(largest) + 4 * DECADES
    grid = np.linspace(*ends, 600)
    floor, lines, tops = _floor(found, spectra, DECADES), dict[str, list[dict[str, Any]]](), [1e-12]
    for title, sign in (("Negative eigenvalues", -1), ("Positive eigenvalues", 1)):
        lines[title] = []
        for run, (nodes, weights) in spectra.items():
            there = sign * nodes > NEAR_ZERO * largest
            logs = np.log10(np.where(there, sign * nodes, 1.0))
            probes = _smooth(grid, logs, np.where(there, weights, 0.0), DECADES)
            tops.append(float(probes.max()))
            lines[title] += _line(run, legend, 10**grid, probes, floor, _strength(spectra))
    y = {"title": "Share of eigenvalues per decade", "type": "log", "exponentformat": "power",
         "range": [np.log10(max(floor, 1e-12)), np.log10(max(tops)) + 0.2]}  # fmt: skip
    x = {"type": "log", "dtick": 1, "exponentformat": "power"}
    drawn = {}
    for (title, traces), sign in zip(lines.items(), (-1, 1), strict=True):
        own = x | {"range": list(ends[::sign]), "title": "λ" if sign > 0 else "−λ"}
        drawn[title] = dressed(traces, legend.ground, 360, xaxis=own, yaxis=y, showlegend=False)
    return drawn


def near_zero(found: Sequence[Finding]) -> float:
    """The largest share of a run's eigenvalues that :func:`log_density` leaves out."""
    spectra = _spectra(found)
    largest = max((float(np.abs(n[w > 0]).max(initial=0)) for n, w in spectra.values()), default=0)
    return max(
        (float((w * (np.abs(n) <= NEAR_ZERO * largest)).sum(axis=1).mean())
         for n, w in spectra.values()),
        default=0.0,
    )  # fmt: skip


def resolved(found: Sequence[Finding], legend: Legend) -> str:
    """What of the spectrum is known and what is not: nodes of the density, residuals of λ₁, runs
    that ran out of products.
    """
    spectra = _spectra(found)
    words = []
    if spectra:
        probes, nodes = (max(n.shape[i] for n, _ in spectra.values()) for i in (0, 1))
        words.append(
            f"The density rests on {nodes} Lanczos nodes from "
            f"{f'each of {probes} random vectors' if probes > 1 else 'one random vector'}: bumps "
            "within the bulk are nodes, not eigenvalues"
        )
    tops = {f.run: m for f in found if (m := f.value("lambda_1")) is not None}
    errors = {run: (m.high - m.low) / 2 for run, m in tops.items()
              if m.low is not None and m.high is not None}  # fmt: skip
    spent = [int(m.value) for f in found if (m := f.value("products")) is not None]
    if errors:
        products = " to ".join(map(str, sorted({min(spent), max(spent)}))) if spent else ""
        cost = f" ({products} products a run)" if spent else ""
        words.append(f"λ₁ is known to ±{uncertainty(max(errors.values()))} or better{cost}")
    short = [legend.names[run] for run, m in tops.items() if "not converged" in m.estimator]
    if short:
        words.append(f"not converged within the products allowed: {', '.join(short)}")
    return "; ".join(words)


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


def _floor(found: Sequence[Finding], spectra: Spectra, width: float) -> float:
    """Density of a hundredth of one eigenvalue under a kernel of this width."""
    dim = max(f.value("dim").value for f in found if f.run in spectra)
    return min(1e-2 / dim / width, 1.0) if dim > 0 else 0.0


def _smooth(grid: np.ndarray, nodes: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    """``(grid, probes)``: a Gaussian around each node, whose mass is its weight."""
    kernels = np.exp(-0.5 * ((grid[:, None, None] - nodes) / width) ** 2)
    return np.asarray((kernels * weights).sum(axis=2) / (width * _ROOT))


def _strength(runs: Sized) -> float:
    """Of the colour of a band: many that lie over each other would be as dark as lines."""
    return min(0.15, 0.6 / max(len(runs), 1))


def _line(
    run: str, legend: Legend, x: np.ndarray, probes: np.ndarray, floor: float, strength: float
) -> list[dict[str, Any]]:
    """The mean over probes, above a band from the lowest to the highest of them."""
    style, name = legend.looks[run], plain_html(legend.names[run])
    traces: list[dict[str, Any]] = []
    if probes.shape[1] > 1:
        low, high = (np.maximum(f(probes, axis=1), floor) for f in (np.min, np.max))
        traces.append({
            "type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip",
            "x": np.concatenate([x, x[::-1]]), "y": np.concatenate([low, high[::-1]]),
            "fill": "toself", "fillcolor": see_through(style.color, strength), "showlegend": False,
            "legendgroup": run, "name": f"{name} probes",
        })  # fmt: skip
    curve = probes.mean(axis=1)
    traces.append({
        "type": "scatter", "mode": "lines", "name": name, "legendgroup": run,
        "x": x, "y": np.where(curve > floor, curve, np.nan),
        "line": {"color": style.color, "dash": style.dash, "width": 1.6},
        "hovertemplate": "λ = %{x:.4g}: %{y:.2g}",
    })  # fmt: skip
    return traces


def _measured_ones(f: Finding, legend: Legend, at: float) -> list[dict[str, Any]]:
    """A marker at each eigenvalue that Lanczos found by itself, in a row at the height ``at``."""
    known = [
        (name, m)
        for name, m in f.part.values.items()
        if re.fullmatch(r"lambda_(min_)?\d+", name) and np.isfinite(m.value)
    ]
    if not known:
        return []
    style = legend.looks[f.run]
    ends = [[m.value if e is None else e for e in (m.low, m.high)] for _, m in known]
    return [{
        "type": "scatter", "mode": "markers", "name": plain_html(legend.names[f.run]),
        "x": [m.value for _, m in known], "y": [at] * len(known),
        "legendgroup": f.run, "showlegend": False, "cliponaxis": False,
        "marker": {"color": style.color, "symbol": style.marker, "size": 7},
        "customdata": [[plain_html(_called(name)), *pair]
                       for (name, _), pair in zip(known, ends, strict=True)],
        "hovertemplate": "%{customdata[0]} = %{x:.4g} [%{customdata[1]:.4g}, %{customdata[2]:.4g}]",
    }]  # fmt: skip


def _called(name: str) -> str:
    """``lambda_2`` -> ``λ₂``; ``lambda_min_1`` -> ``λ₁ from below``."""
    number = name.rpartition("_")[2].translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return f"λ{number}{' from below' if '_min_' in name else ''}"


def _tops(found: Sequence[Finding], legend: Legend) -> list[dict[str, Any]]:
    """Shapes of a layout: a faint line at each run's largest eigenvalue. No words: over a density
    they would cover its peak, so :func:`with_tops` puts the numbers into the legend.
    """
    tops = [(m.value, f.run) for f in found if (m := _top(f)) is not None]
    return [
        {
            "type": "line", "x0": top, "x1": top, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
            "line": {"color": faint(legend.looks[run].color), "width": 1, "dash": "dot"},
        }
        for top, run in tops
    ]  # fmt: skip


def _top(f: Finding) -> Measure | None:
    m: Measure | None = f.value("lambda_1")
    return m if m is not None and np.isfinite(m.value) else None


def with_tops(found: Sequence[Finding], legend: Legend) -> Legend:
    """A legend that says the largest eigenvalue of each run: ``grace-s0, λ₁ = 53.7 ± 0.3``."""
    names = dict(legend.names)
    for f in found:
        if (m := _top(f)) is not None:
            half = None if m.low is None or m.high is None else (m.high - m.low) / 2
            known = half is not None and half >= 5e-4 * abs(m.value)
            number = plus_minus(m.value, half) if known else f"{m.value:#.4g}".rstrip(".")
            names[f.run] = f"{legend.names[f.run]}, λ₁ = {number}"
    return replace(legend, names=names)
