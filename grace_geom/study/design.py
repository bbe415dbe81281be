"""Factorial designs: which combinations of levels a study trains, and how their effects are coded.

A design file names a method, its factors with their levels, and the interactions of interest. A
fraction of all combinations is chosen D-optimally for those effects (Fedorov 1972): it maximises
``det(X'X)`` of the model matrix.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grace_geom.errors import UserError, unknown
from grace_geom.methods import METHODS
from grace_geom.serialise import read_yaml

DESIGNS = Path(__file__).parents[1] / "recipes/designs"

Floats = NDArray[np.float64]
Pair = tuple[str, str]
Cell = tuple[int, ...]
"""One level a factor, by number."""


@dataclass(frozen=True)
class Design:
    """Factors, levels and the effects that are asked for.

    Attributes:
        method: Method that every row trains.
        factors: Factor -> level -> its options, as ``FIELD=VALUE`` joined by colons.
        interactions: Pairs of factors whose interaction is of interest.
    """

    method: str
    factors: Mapping[str, Mapping[str, str]]
    interactions: tuple[Pair, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of levels of each factor."""
        return tuple(len(levels) for levels in self.factors.values())

    @property
    def cells(self) -> list[Cell]:
        """Every combination."""
        return list(itertools.product(*map(range, self.sizes)))

    def label(self, cell: Cell) -> str:
        """The row of a study that trains a combination."""
        levels = [
            list(options.values())[i]
            for options, i in zip(self.factors.values(), cell, strict=True)
        ]
        return ":".join([self.method, *filter(None, levels)])

    def names(self, cell: Cell) -> dict[str, str]:
        """Factor -> name of the level."""
        return {
            factor: list(levels)[i]
            for (factor, levels), i in zip(self.factors.items(), cell, strict=True)
        }

    def terms(self) -> list[tuple[str, ...]]:
        """Main effects, then the interactions."""
        return [*((name,) for name in self.factors), *self.interactions]

    def columns(self, term: tuple[str, ...]) -> int:
        """Degrees of freedom of a term."""
        return int(np.prod([len(self.factors[name]) - 1 for name in term]))

    def matrix(self, cells: Sequence[Cell]) -> Floats:
        """Model matrix ``(n, p)``: an intercept, then the terms in effects coding, where the last
        level is minus the sum of the others.
        """
        places = {name: i for i, name in enumerate(self.factors)}
        coded = {
            name: _coding(len(levels))[[cell[places[name]] for cell in cells]]
            for name, levels in self.factors.items()
        }
        parts = [np.ones((len(cells), 1))]
        for term in self.terms():
            block = coded[term[0]]
            for name in term[1:]:
                block = np.einsum("ni,nj->nij", block, coded[name]).reshape(len(cells), -1)
            parts.append(block)
        return np.hstack(parts)


def _coding(levels: int) -> Floats:
    """``(levels, levels - 1)``, columns that sum to 0."""
    return np.vstack([np.eye(levels - 1), -np.ones(levels - 1)])


def read_design(source: str) -> Design:
    """A design by the name of a file that comes with the package, or by its path.

    Raises:
        UserError: If there is no such file, or it does not hold a design.
    """
    path = Path(source)
    if not path.suffix:
        path = DESIGNS / f"{source}.yaml"
        if not path.is_file():
            raise unknown("--design", source, sorted(p.stem for p in DESIGNS.glob("*.yaml")))
    if not path.is_file():
        raise UserError(f"--design {source}: no such file")
    content = read_yaml(path)
    method, factors = content.get("method"), content.get("factors")
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(f"{path}: method: {method!r} is no method")
    if (
        not isinstance(factors, Mapping)
        or not factors
        or not all(isinstance(levels, Mapping) and len(levels) > 1 for levels in factors.values())
    ):
        raise UserError(f"{path}: factors: expected NAME: {{LEVEL: OPTIONS, LEVEL: OPTIONS, ...}}")
    pairs = _pairs(path, content.get("interactions") or [], factors)
    plain = {
        str(name): {str(level): str(options or "") for level, options in levels.items()}
        for name, levels in factors.items()
    }
    found = Design(method, plain, pairs)
    if len({found.label(cell) for cell in found.cells}) < len(found.cells):
        raise UserError(f"{path}: two levels of a factor have the same options")
    return found


def _pairs(path: Path, value: object, factors: Mapping[str, object]) -> tuple[Pair, ...]:
    """Pairs of different factors."""
    found = []
    for entry in value if isinstance(value, list) else [value]:
        pair = list(map(str, entry)) if isinstance(entry, list) else []
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= factors.keys():
            raise UserError(f"{path}: interactions: {entry!r} is no pair of factors")
        found.append((pair[0], pair[1]))
    return tuple(found)


def fraction(
    design: Design, runs: int, seed: int, blocks: int = 1, starts: int = 20
) -> list[list[Cell]]:
    """The combinations whose ``det(X'X)`` is largest, by exchange from random starts.

    Args:
        design: All combinations.
        runs: How many to choose.
        seed: Random seed of the starts.
        blocks: Over how many parts they are shared out, of equal size to within one run. A part is
            trained with a seed of its own, so that X has a column for each part.
        starts: How many of them; the best result counts.

    Returns:
        The combinations of each part.

    Raises:
        UserError: If so few runs cannot tell the effects apart, or there are not so many.
    """
    cells = design.cells
    needed = sum(map(design.columns, design.terms())) + blocks
    if not needed <= runs <= len(cells):
        raise UserError(
            f"--runs {runs}: the effects have {needed} numbers and there are {len(cells)} "
            f"combinations; choose from {needed} to {len(cells)}"
        )
    X = design.matrix(cells)
    shared = np.eye(blocks)[np.arange(runs) % blocks, 1:]
    rng = np.random.default_rng(seed)
    found = [
        _exchanged(X, shared, rng.permutation(len(cells))[:runs].tolist()) for _ in range(starts)
    ]
    best = max(found, key=lambda rows: _log_det(X[rows], shared))
    if np.linalg.matrix_rank(np.hstack([X[best], shared])) < needed:
        raise UserError(f"--runs {runs}: no such fraction tells the effects apart; choose more")
    return [[cells[i] for i in sorted(best[part::blocks])] for part in range(blocks)]


def efficiency(design: Design, cells: Sequence[Cell]) -> float:
    """D-efficiency against all combinations: 1 if each run says as much as one of those does."""
    some, every = design.matrix(cells), design.matrix(design.cells)
    p = some.shape[1]
    gap = _log_det(some) - p * np.log(len(cells))
    full = _log_det(every) - p * np.log(len(every))
    return float(np.exp((gap - full) / p))


def _exchanged(X: Floats, shared: Floats, rows: list[int]) -> list[int]:
    """Swap chosen rows for others, and places in different parts, as long as one swap gains."""
    value, gained = _log_det(X[rows], shared), True
    while gained:
        gained = False
        for i in range(len(rows)):
            for other in range(len(X)):
                if (tried := _swapped(rows, i, other)) == rows:
                    continue
                if (better := _log_det(X[tried], shared)) > value + 1e-9:
                    rows, value, gained = tried, better, True
    return rows


def _swapped(rows: list[int], i: int, other: int) -> list[int]:
    """``other`` at place ``i``; where it was chosen already, the two change places."""
    found = [rows[i] if row == other else row for row in rows]
    found[i] = other
    return found


def _log_det(X: Floats, shared: Floats | None = None) -> float:
    """Of ``X'X`` with a little ridge, which singular starts climb out of."""
    if shared is not None:
        X = np.hstack([X, shared])
    sign, value = np.linalg.slogdet(X.T @ X + 1e-6 * np.eye(X.shape[1]))
    return float(value) if sign > 0 else -np.inf
