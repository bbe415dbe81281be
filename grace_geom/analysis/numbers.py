"""Estimates as measures of a result, and measures as cells of a table."""

import math

from grace_geom.geometry.trace import Estimate
from grace_geom.records import Measure
from grace_geom.tables import Cell


def as_measure(estimate: Estimate, scale: float = 1.0) -> Measure:
    """An estimate, scaled, with its 95 % interval: Student's, as few probes tell their scatter
    poorly. One whose error cannot be told has none.
    """
    value, error = scale * estimate.value, scale * estimate.error
    if not math.isfinite(error):
        return Measure(value, estimator=estimate.estimator)
    half = scale * estimate.half_width()
    return Measure(value, error, value - half, value + half, 0.95, estimate.estimator)


def number(measure: Measure) -> Cell:
    """``12.3 ± 0.4``; ``~12.3`` where an eigenvalue has not converged."""
    text = f"{measure.value:.4g}"
    if "not converged" in measure.estimator:
        text = "~" + text
    if measure.error is not None and math.isfinite(measure.error):
        text += f" ± {measure.error:.2g}"
    return Cell(text, value=measure.value)
