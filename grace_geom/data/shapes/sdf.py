"""Twelve shapes as signed distances (negative inside), each about as large as the unit disc.

Corners are sharp because a polygon is a maximum of half-planes; away from its edges that is a bound
of the distance, which is all an anti-aliased edge and an outline need.
"""

from collections.abc import Callable

import numpy as np

from grace_geom.data.shapes.draws import Floats, Ints

# Unit vectors at multiples of a fifth of a turn, the first one up; written out, as libm's last bit
# differs.
_FIFTHS = (
    (0.0, 1.0),
    (-0.951056516295, 0.309016994375),
    (-0.587785252292, -0.809016994375),
    (0.587785252292, -0.809016994375),
    (0.951056516295, 0.309016994375),
)


def _length(x: Floats, y: Floats) -> Floats:
    return np.sqrt(x * x + y * y)


def _circle(x: Floats, y: Floats) -> Floats:
    return _length(x, y) - 0.92


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(abs(x), abs(y)) - 0.8


def _triangle(x: Floats, y: Floats) -> Floats:
    y = y + 0.25
    return np.maximum(-y - 0.6, 0.866025403784 * abs(x) + 0.5 * y - 0.62)


def _diamond(x: Floats, y: Floats) -> Floats:
    return 0.83205029434 * abs(x) + 0.55470019623 * abs(y) - 0.59


def _pentagon(x: Floats, y: Floats) -> Floats:
    # The flat side is down: normals point away from the corners.
    return np.maximum.reduce([-u * x - v * y for u, v in _FIFTHS]) - 0.8


def _hexagon(x: Floats, y: Floats) -> Floats:
    # Symmetric in both axes: one slanted side and the flat top stand for all six.
    return np.maximum(abs(y), 0.866025403784 * abs(x) + 0.5 * abs(y)) - 0.84


def _star(x: Floats, y: Floats) -> Floats:
    # A point is in the pentagram when it is outside at most one of its five lines: the second
    # largest of them counts.
    first = np.full_like(x, -9.0)
    second = first
    for u, v in _FIFTHS:
        d = -u * x - v * y
        second = np.maximum(second, np.minimum(first, d))
        first = np.maximum(first, d)
    return second - 0.37


def _cross(x: Floats, y: Floats) -> Floats:
    x, y = abs(x), abs(y)
    return np.minimum(np.maximum(x - 0.3, y - 0.95), np.maximum(x - 0.95, y - 0.3))


def _ring(x: Floats, y: Floats) -> Floats:
    return abs(_length(x, y) - 0.7) - 0.24


def _heart(x: Floats, y: Floats) -> Floats:
    x, y = abs(x), y + 0.1
    return np.minimum(
        0.707106781187 * (x + abs(y) - 0.8), _length(x - 0.4, y - 0.4) - 0.565685424949
    )


def _crescent(x: Floats, y: Floats) -> Floats:
    x = x + 0.1
    return np.maximum(_length(x, y) - 0.95, 0.78 - _length(x - 0.5, y))


def _arrow(x: Floats, y: Floats) -> Floats:
    x = abs(x)
    head = np.maximum(-y, 0.780868809443 * x + 0.624695047554 * y - 0.624695047554)
    return np.minimum(head, np.maximum(x - 0.28, abs(y + 0.45) - 0.5))


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "diamond": _diamond,
    "pentagon": _pentagon,
    "hexagon": _hexagon,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
}


def distance(shape: Ints, x: Floats, y: Floats) -> Floats:
    """Signed distance to each image's own shape.

    Args:
        shape: ``(n,)`` position in :data:`SHAPES`.
        x: ``(n, h, w)`` coordinates to the right, in units of the shape's radius.
        y: ``(n, h, w)`` coordinates upwards.

    Returns:
        ``(n, h, w)``, in units of the radius.
    """
    d = np.empty_like(x)
    for kind, f in enumerate(SHAPES.values()):
        (rows,) = np.nonzero(shape == kind)
        if len(rows):
            d[rows] = f(x[rows], y[rows])
    return d
