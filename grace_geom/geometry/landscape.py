"""Slices of a loss: filter-normalised random directions (Li et al. 2018), lines, and planes through
three points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from grace_geom.weights import Weights, flatten, norm, unflatten

Value = Callable[[Weights], float]


def filter_normalised(weights: Weights, seed: int) -> Weights:
    """A Gaussian direction whose every filter has the norm of the weights' filter; vectors (biases,
    gains) stay 0.

    A filter is what feeds one output: a row of a matrix, or of a convolution flattened to one. The
    Gaussian numbers depend on the seed and the names alone, so two checkpoints get the same
    direction, each scaled by its own filters.
    """
    direction = {}
    for i, (name, w) in enumerate(sorted(weights.items())):
        if w.ndim < 2:
            direction[name] = torch.zeros_like(w)
            continue
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        d = torch.randn(w.shape, generator=generator).to(w).reshape(len(w), -1)
        scale = w.reshape(len(w), -1).norm(dim=1, keepdim=True) / d.norm(dim=1, keepdim=True)
        direction[name] = (scale * d).reshape(w.shape)
    return {name: direction[name] for name in weights}


def same_shapes(points: Sequence[Weights]) -> None:
    """Refuse points whose slices would not be comparable.

    Raises:
        ValueError: If names or shapes differ: the same seed then means other directions.
    """
    first = {name: tuple(w.shape) for name, w in points[0].items()}
    for other in points[1:]:
        found = {name: tuple(w.shape) for name, w in other.items()}
        if found != first:
            odd = sorted(set(found.items()) ^ set(first.items()))[0][0]
            raise ValueError(
                f"these checkpoints have other weights or shapes ({odd}, ...), so the same seed "
                "gives other directions and their slices cannot be compared"
            )


def line(
    value: Value,
    centre: Weights,
    direction: Weights,
    ts: Sequence[float],
    after: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, " t"]:
    """``value(centre + t direction)`` for each t."""
    found = []
    for t in ts:
        found.append(value({name: w + t * direction[name] for name, w in centre.items()}))
        after()
    return np.array(found)


def grid(
    value: Value,
    centre: Weights,
    d1: Weights,
    d2: Weights,
    xs: Sequence[float],
    ys: Sequence[float],
    after: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, " y x"]:
    """``value(centre + x d1 + y d2)``, one row a y."""
    rows = []
    for y in ys:
        shifted = {name: w + y * d2[name] for name, w in centre.items()}
        rows.append(line(value, shifted, d1, xs, after))
    return np.stack(rows)


@dataclass(frozen=True)
class Plane:
    """The plane through three points.

    Attributes:
        centre: The first point.
        d1, d2: Orthonormal directions; d1 goes from the first to the second point.
        corners: Coordinates of the three points.
    """

    centre: Weights
    d1: Weights
    d2: Weights
    corners: Float[np.ndarray, " 3 2"]


def plane(a: Weights, b: Weights, c: Weights) -> Plane:
    """The plane through three sets of weights (Garipov et al. 2018), by Gram-Schmidt in float64.

    Raises:
        ValueError: If names or shapes differ, or the three lie on one line.
    """
    same_shapes([a, b, c])
    u, v = (flatten({n: p[n].double() - a[n].double() for n in a}) for p in (b, c))
    width = u.norm().item()
    if width == 0:
        raise ValueError("the first two points of the plane are equal")
    e1 = u / width
    along = (v @ e1).item()
    rest = v - along * e1
    rest -= (rest @ e1) * e1
    height = rest.norm().item()
    if height <= 1e-6 * v.norm().item() or height == 0:
        raise ValueError("the three points lie on one line: use the line through two of them")
    like = {n: w.double() for n, w in a.items()}
    d1, d2 = ({n: x.to(a[n]) for n, x in unflatten(e, like).items()} for e in (e1, rest / height))
    return Plane(a, d1, d2, np.array([[0.0, 0.0], [width, 0.0], [along, height]]))


def length(direction: Weights) -> float:
    """Euclidean norm of a direction, to translate a coordinate into a distance."""
    return norm(direction).item()
