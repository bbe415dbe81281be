"""The weights' way from the pretrained ones as figures: plain functions of findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.panels import Curve, overlay
from grace_geom.plots.style import plain_html, short_weight
from grace_geom.records import Finding


def by_matrix(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Relative drift of each weight matrix in the network's order; biases and gains are left to the
    CSV.
    """
    matrices = list(dict.fromkeys(n for f in found for n in f.names("effective_rank")))
    lines = {}
    for f in found:
        known = [
            (i, m.value)
            for i, n in enumerate(matrices)
            if (m := f.value(f"relative/{n}")) is not None
        ]
        moved = [(i, v) for i, v in known if v > 0]
        if moved:
            lines[f.run] = Curve([i for i, _ in moved], [v for _, v in moved])
    if not lines:
        return None
    ticks = [plain_html(short_weight(n)) for n in matrices]
    x = {"tickvals": list(range(len(matrices))), "ticktext": ticks, "tickangle": -90, "title": ""}
    y = {"title": "‖W − W₀‖ / ‖W₀‖", "type": "log", "exponentformat": "power"}
    return overlay(lines, legend, x, y, height=400)


def matrices(found: Sequence[Finding]) -> list[str]:
    """Matrices whose change has singular values, first the one that moved most in any run."""
    moved: dict[str, float] = {}
    for f in found:
        for name in f.names("effective_rank"):
            m = f.value(f"norm/{name}")
            moved[name] = max(
                moved.get(name, 0.0), m.value if m is not None and np.isfinite(m.value) else 0.0
            )
    return sorted(moved, key=lambda name: -moved[name])


def singular(
    found: Sequence[Finding], legend: Legend, matrix: str
) -> tuple[go.Figure | None, list[dict[str, Any]]]:
    """Singular values of one matrix' change, a line a run, down to 1e-7 of the largest; and the
    same as rows.
    """
    lines, rows = {}, []
    for f in found:
        blocks, spectra = f.array("blocks"), f.array("singular_values")
        if blocks is None or spectra is None or matrix not in blocks.tolist():
            continue
        s = np.asarray(spectra[blocks.tolist().index(matrix)], float)
        s = s[s > 1e-7 * s.max()] if s.max() > 0 else s[:0]
        if len(s):
            lines[f.run] = Curve(range(1, len(s) + 1), s)
            rows += [
                {"run": f.run, "matrix": matrix, "i": i, "singular_value": float(v)}
                for i, v in enumerate(s, 1)
            ]
    if not lines:
        return None, rows
    x = {"title": "i", "rangemode": "tozero"}
    y = {"title": "σᵢ of W − W₀", "type": "log", "exponentformat": "power"}
    return overlay(lines, legend, x, y, height=340), rows
