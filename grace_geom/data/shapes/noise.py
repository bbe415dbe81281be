"""Smooth random fields of the size of a picture."""

import numpy as np

from grace_geom.data.shapes.draws import Draws, Floats

SIDE = 32  # pixels


def clouds(draws: Draws, field: str, cells: int = 4) -> Floats:
    """Smooth noise ``(n, 32, 32)`` in [-1, 1]: a random grid, blended between its knots."""
    knots = draws.uniforms(field, (cells + 1) ** 2, -1.0, 1.0).reshape(-1, cells + 1, cells + 1)
    t = (np.arange(SIDE) + 0.5) * (cells / SIDE)
    cell = np.floor(t).astype(int)
    w = t - cell
    w = w * w * (3.0 - 2.0 * w)
    rows = knots[:, cell] * (1 - w)[:, None] + knots[:, cell + 1] * w[:, None]
    return rows[:, :, cell] * (1 - w) + rows[:, :, cell + 1] * w
