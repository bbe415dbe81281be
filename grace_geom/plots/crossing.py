"""Whether straight lines cross each other, and whether they pass through points."""

import numpy as np

CLEAR = 9.0
"""Pixels from the middle of a point to what does not touch its marker."""


def crossed(lines: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """``(n, m)``: whether lines ``(n, 2, 2)`` cross ``others`` ``(m, 2, 2)``, default each other:
    the ends of either lie on both sides of the other. What is not finite crosses nothing.
    """
    others = lines if others is None else others
    a, b = lines[:, None, 0], lines[:, None, 1]
    c, d = others[None, :, 0], others[None, :, 1]
    apart = _side(a, b, c) * _side(a, b, d) < 0
    found: np.ndarray = apart & (_side(c, d, a) * _side(c, d, b) < 0)
    return found


def _side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """> 0 where a point lies left of the way from ``a`` to ``b``."""
    (x, y), (u, v) = np.moveaxis(b - a, -1, 0), np.moveaxis(p - a, -1, 0)
    found: np.ndarray = x * v - y * u
    return found


def through(paths: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``(n,)``: how many markers of other points each line touches, 0 without a line. Where another
    marker lies over the point's own, every line touches it: that counts a twelfth where the line
    leads to the other's middle, and less the more it leads away.

    Args:
        paths: ``(n, k, 2)`` points of each line, from its own point.
        others: ``(m, 2)``.
    """
    start, way = paths[:, None, 0], paths[:, None, -1] - paths[:, None, 0]
    to, length = others - start, np.linalg.norm(way, axis=-1)
    along = (to * way).sum(axis=-1) / length
    away = np.linalg.norm(to, axis=-1)
    foot = np.clip(along, 0.0, length)[..., None] * way / length[..., None]
    touched = np.where(
        away < CLEAR,
        np.clip(along, 0.0, None) / np.maximum(away, 1.0) / 12,
        np.linalg.norm(to - foot, axis=-1) < CLEAR,
    )
    counted: np.ndarray = np.where(np.isnan(length), 0.0, touched).sum(axis=1)
    return counted
