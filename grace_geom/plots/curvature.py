"""Curvature by matrix, and sharpness."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import is_matrix, union
from grace_geom.plots.legend import Legend
from grace_geom.plots.matrix_map import matrix_map
from grace_geom.plots.panels import Curve, log_axis, overlay, point
from grace_geom.plots.weight_names import in_order
from grace_geom.records import Finding


def map_by_matrix(
    found: Sequence[Finding], legend: Legend, group: str, marked: str = ""
) -> go.Figure | None:
    """Numbers of every weight matrix as a map, a row a run in the order given; ``None`` where none
    is clearly above 0.

    Args:
        found: Of ``hessian_spectrum``, the run of the upper row first.
        legend: Name of each run.
        group: What the numbers are called, such as ``kappa``.
        marked: A run whose name is bold.
    """
    names = in_order(n for n in union(f.names(group) for f in found) if is_matrix(n))
    known = {
        f.run: {n: p for n in names if (p := point(f.value(f"{group}/{n}"))) is not None}
        for f in found
    }
    return matrix_map(known, names, legend, marked)


FORMS = {
    "ball": "‖δ‖ ≤ ρ (SAM)",
    "adaptive": "‖δ / |θ|‖ ≤ ρ (adaptive)",
    "relative": "‖ΔW‖ ≤ ρ ‖W‖ (AWP)",
    "average": "Gaussian, E‖δ‖² = ρ²",
}


def sharpness(found: Sequence[Finding], legend: Legend, loss: str) -> dict[str, go.Figure]:
    """Rise of a loss against the radius, a panel a form; logarithmic radii, and rises where all are
    positive with their bands.
    """
    drawn = {}
    for form, title in FORMS.items():
        arrays = {
            f.run: np.asarray(a, float)
            for f in found
            if (a := f.array(f"{loss}/{form}")) is not None and a.size
        }
        if not arrays:
            continue
        lines = {run: _rise(a) for run, a in arrays.items()}
        rises = [
            np.asarray(v) for c in lines.values() for v in (c.y, c.low, c.high) if v is not None
        ]
        radii = sorted({float(r) for a in arrays.values() for r in a[:, 0]})
        x = {
            "title": "Radius ρ",
            "type": "log",
            "tickvals": radii,
            "ticktext": [f"{r:g}" for r in radii],
        }
        y = {"title": "Rise of the loss", "exponentformat": "power"}
        if all((v > 0).all() for v in rises):
            y |= log_axis(rises)
        drawn[title] = overlay(lines, legend, x, y)
    return drawn


def _rise(rows: np.ndarray) -> Curve:
    """Of rows of radius, rise and, where it is a mean, its standard error."""
    radius, rise, *errors = rows.T
    low, high = (rise + side * 1.96 * errors[0] if errors else None for side in (-1, 1))
    return Curve(radius, rise, low, high)


def scales(drawn: Iterable[go.Figure]) -> str:
    """Why some of the panels of :func:`sharpness` have another axis than the others: the end of a
    caption; empty where all are logarithmic.
    """
    if all(figure.layout.yaxis.type == "log" for figure in drawn):
        return ""
    return "linear axis: a rise or its band is not above 0"
