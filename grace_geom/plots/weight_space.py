"""The analyses of curvature as whole figures: spectrum, sharpness, anisotropy."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots import curvature, features, layers, spectra
from grace_geom.plots.cells import NARROW, WIDTH
from grace_geom.plots.columns import columns, is_matrix, matrix_axis, shade_blocks, union
from grace_geom.plots.compose import pages
from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, log_axis, measures, overlay, point
from grace_geom.plots.sample import attack, said
from grace_geom.plots.weight_names import in_order, weight_name
from grace_geom.records import Finding

Figures = dict[str, go.Figure]
DECADES = 4
"""Powers of ten of mean curvature that an axis shows at most: below them stands noise."""
SPREAD = 0.8
"""Share of a matrix's column over which runs stand: hollow marks have one height."""
MOST_PANELS = 8
"""Spectral densities that have a panel each."""
OPERATORS = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix"}
LOSSES = {"ce": "Clean loss", "adv-ce": "Adversarial loss"}
FEATURES = {
    "effective_rank_centred": ("Effective rank, centred", "Effective rank"),
    "mean_cosine": ("Mean cosine", "Mean cosine"),
}  # fmt: skip


def spectrum(found: Sequence[Finding], legend: Legend) -> Figures:
    """Largest eigenvalues and density above, mean curvature of each matrix below. Of two to
    ``MOST_PANELS`` runs each has a panel for its density; of more, and on a telephone, all share
    one.
    """
    settings, width = found[0].result.settings, spectra.kernel(found)
    smoothed, probes = "", int(settings.get("density_probes", 0))
    if width is not None:
        smoothed = f"density: Gaussian kernel, σ = {width:.3g}, " + (
            f"band: spread of {probes} probes" if probes > 1 else "one probe"
        )
        smoothed += "; markers below it: eigenvalues found one by one"
    above = {"Largest eigenvalues": eigenvalues(found, legend)}
    each = spectra.densities(found, legend)
    if 1 < len(each) <= MOST_PANELS and not legend.narrow:
        smoothed += "; grey: the other runs"
        above |= each
    elif each:
        smoothed += f"{', a row a run' * (len(each) > 1)}; dotted: λ₁"
        above["Spectral density"] = spectra.density(found, legend, 310)
    matrices = by_matrix(found, legend)
    below = {"Mean curvature of each matrix, κ = trace / entries": matrices}
    name = OPERATORS.get(str(settings.get("operator")), str(settings.get("operator")))
    bars, hollow = "bars: residuals of eigenvalues, 95 % intervals of traces", ""
    if matrices and any(str(t.marker.symbol).endswith("-open") for t in matrices.data):
        hollow = "hollow: κ below the axis, or not above 0; bars to its foot go on below"
    note = said(found, smoothed, bars, hollow)
    return pages({"": (f"Spectrum of the {name}", [above, below], note)}, legend)


def eigenvalues(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """The largest eigenvalues, each within its residual bound; on a logarithmic axis where all are
    positive.
    """
    points = {
        f.run: {
            name.removeprefix("lambda_"): p
            for i in range(int(f.result.settings.get("top", 0)))
            if (p := point(f.value(name := f"lambda_{i + 1}"))) is not None
        }
        for f in found
    }
    heads = union(points.values())
    ends = [
        e for known in points.values() for p in known.values() for e in (p.value, p.low, p.high)
    ]
    values = np.array([e for e in ends if e is not None])
    y = {"title": "λ<sub>i</sub>"}
    y |= log_axis([values]) if (values > 0).all() else {"rangemode": "tozero"}
    return columns(points, heads, legend, y, x={"title": "Index i"})


def by_matrix(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Mean curvature of each weight matrix of any run, with 95 % intervals, on a logarithmic axis;
    what lies below it stands hollow at its lower end.
    """
    names = matrices(found)
    points = {
        f.run: {weight_name(n): p for n in names if (p := point(f.value(f"kappa/{n}"))) is not None}
        for f in found
    }
    heads, ground = [weight_name(n) for n in names], legend.ground
    y = {"title": "Mean curvature κ", "exponentformat": "power"}
    figure = columns(points, heads, legend, y, 320, matrix_axis(names), SPREAD)
    if figure is None:
        return None
    values = np.array([p.value for known in points.values() for p in known.values()])
    if (values > 0).any():
        apart = SPREAD * (NARROW if legend.narrow else WIDTH) / (len(names) * len(points))
        least = max(values[values > 0].min(), values.max() / 10**DECADES)
        _logarithmic(figure, least, min(7.0, max(3.0, apart - 1.5)))
    else:
        figure.add_hline(y=0, line={"color": ground.muted, "width": 1}, layer="below")
    return shade_blocks(figure, names, ground)


def _logarithmic(figure: go.Figure, least: float, size: float) -> None:
    """Make the vertical axis logarithmic. Points below ``least`` become hollow ones of a size in
    pixels at its lower end, where they stand side by side, and whose numbers the pointer tells; so
    far bars that leave it go.
    """
    edge, tops = least / 1.6, [least]
    for trace in list(figure.data):
        y, bars = np.asarray(trace.y, float), trace.error_y
        high, low = y + np.asarray(bars.array, float), y - np.asarray(bars.arrayminus, float)
        shown = y >= least
        every = {
            "x": np.asarray(trace.x, float),
            "y": y,
            "customdata": np.array(trace.customdata, object),
        }
        tops.append(float(high[shown].max(initial=least)))
        if not shown.all():
            hidden = {key: values[~shown] for key, values in every.items()}
            figure.add_scatter(
                x=hidden["x"], y=np.full(len(hidden["y"]), edge), mode="markers", name=trace.name,
                legendgroup=trace.legendgroup, showlegend=False,
                marker=trace.marker.to_plotly_json()
                | {"symbol": f"{trace.marker.symbol}-open", "size": size},
                customdata=[[*row, value] for row, value in zip(hidden["customdata"], hidden["y"], strict=True)],
                hovertemplate=(trace.hovertemplate or "").replace("%{y:", "%{customdata[3]:"),
            )  # fmt: skip
        trace.update({key: values[shown] for key, values in every.items()})
        bars.array, bars.arrayminus = (high - y)[shown], (y - np.maximum(low, edge))[shown]
    figure.update_yaxes(log_axis([np.array([edge, *tops])]))


def matrices(found: Sequence[Finding]) -> list[str]:
    """Names of the matrices of all runs in the network's order."""
    return in_order(n for n in union(f.names("kappa") for f in found) if is_matrix(n))


def sharpness(found: Sequence[Finding], legend: Legend) -> Figures:
    """A row of panels for each loss, one for each form of sharpness."""
    rows = [
        {
            f"{title}: {form}": figure.update_layout(height=260)
            for form, figure in curvature.sharpness(found, legend, loss).items()
        }
        for loss, title in LOSSES.items()
    ]
    s = found[0].result.settings
    attacked = any(f.array_names("adv-ce") for f in found)
    note = said(
        found,
        f"adversarial: {attack(found)}, found at the unperturbed weights" if attacked else "",
        f"maxima by projected ascent, {s.get('ascent_steps')} gradients: lower bounds",
        f"Gaussian: mean of {s.get('samples')} pairs, band: 95 %",
        curvature.scales(figure for row in rows for figure in row.values()),
    )
    return pages({"": ("Sharpness", rows, note)}, legend)


def anisotropy(found: Sequence[Finding], legend: Legend) -> Figures:
    """How unevenly curvature fills directions and matrices, and features their space."""
    count = max(len(_traces(f)) for f in found)
    curved = {
        "Largest eigenvalues over the first": relative_eigenvalues(found, legend),
        "Trace over matrices; grey: evenly": trace_share(found, legend),
        f"Effective number of matrices, of {count}": measures(
            found, legend, "curvature/effective_matrices", "By the trace of each"
        ),
    }
    sets = [s for s in ("id", "adv") if any(f.names(f"features/{s}") for f in found)]
    of_features = {"Embedding's spectrum": features.decay(found, legend, sets, "embedding")} | {
        title: features.by_layer(found, legend, key, sets, axis)
        for key, (title, axis) in FEATURES.items()
    }
    featured = [
        {f"{title}: {name[0].lower()}{name[1:]}": by_set.get(name)
         for title, by_set in of_features.items()}
        for name in map(layers.title, sets)
    ]  # fmt: skip
    note = said(found, "bars and bands: 95 % intervals" if sets else "bars: 95 % intervals")
    return pages({"": ("Anisotropy", [curved, *featured], note)}, legend)


def relative_eigenvalues(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """The positive ones among the largest eigenvalues, as shares of the first."""
    lines = {}
    for f in found:
        array = f.array("curvature/eigenvalues")
        lams = np.zeros(0) if array is None else np.asarray(array, float)
        lams = lams[lams > 0]
        if len(lams):
            lines[f.run] = Curve(range(1, len(lams) + 1), lams / lams.max())
    x, y = (
        {"title": "Index i", "dtick": 1},
        {"title": "λ<sub>i</sub> / λ<sub>1</sub>", "rangemode": "tozero"},
    )
    return overlay(lines, legend, x, y) if lines else None


def trace_share(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Share of the trace that the k matrices with the largest traces hold; negative ones count as
    0.
    """
    lines = {}
    for f in found:
        traces = _traces(f)
        order = np.argsort(traces)[::-1]
        kept = np.clip(traces[order], 0, None)
        if kept.sum() > 0:
            names = [weight_name(str(name)) for name in f.array("curvature/matrices")[order]]
            k = np.arange(1, len(kept) + 1)
            lines[f.run] = Curve(k, np.cumsum(kept) / kept.sum(), names=names)
    if not lines:
        return None
    x = {"title": "Matrices, by trace"}
    y = {"title": "Share of the trace", "range": [0, 1.02]}
    figure = overlay(lines, legend, x, y, markers=False)
    count = max(len(_traces(f)) for f in found)
    return figure.add_shape(type="line", x0=0, y0=0, x1=count, y1=1, layer="below",
                            line={"color": legend.ground.muted, "width": 1})  # fmt: skip


def _traces(f: Finding) -> np.ndarray:
    """Trace of each matrix; empty where there is no curvature."""
    found = f.array("curvature/traces")
    return np.zeros(0) if found is None else np.asarray(found, float)
