"""Several sets of weights in one file (a model and its average, a student and its teacher): the one
that is meant, or a refusal that names them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from grace_geom.errors import UserError

SCALES = frozenset({"logit_scale", "logit_bias"})

AVERAGE = re.compile(r"(^|[._])(ema|swa|shadow|average[ds]?|avg)([._]|$)", re.IGNORECASE)
"""Places of weights that were averaged over a training."""


@dataclass
class WeightSet:
    """One complete image tower within a file."""

    label: str
    prefix: str
    names: dict[str, Tensor]
    stripped: bool
    raw: set[str]

    @property
    def place(self) -> str:
        """Where in the file it stands, in words."""
        return f"{self.label}.{self.prefix}".strip(".") or "the top level"


def one_of(
    copies: list[WeightSet], path: Path | str, which: str | None, advice: str
) -> tuple[WeightSet | None, list[WeightSet]]:
    """The copy that is meant, and the others; several that are equal are one.

    Raises:
        UserError: If two differ and ``which`` names none or several of them.
    """
    sets: list[list[WeightSet]] = []
    for copy in copies:
        twins = next((s for s in sets if equal(s[0], copy)), None)
        if twins is None:
            sets.append([copy])
        else:
            twins.append(copy)
    fits = sets if which is None else [s for s in sets if any(_named(c, which) for c in s)]
    if len(fits) == 1:
        (first,) = fits
        chosen = next((c for c in first if which and _named(c, which)), first[0])
        return chosen, [c for c in copies if c is not chosen]
    if not sets:
        return None, []
    places = [s[0].place for s in fits or sets]
    if which is not None and not fits:
        raise UserError(
            f"{path} has no weights called {which!r} (--weights): they are in {listed(places)}"
        )
    raise UserError(
        f"{path} holds different weights in {listed(places)} (an average, or a teacher?): {advice}"
    )


def listed(places: list[str]) -> str:
    """Places in a sentence: ``a and in b``."""
    return " and in ".join(places)


def _named(copy: WeightSet, which: str) -> bool:
    """Whether ``ema``, ``model`` or a place means this copy."""
    if which == copy.place:
        return True
    return which == ("ema" if AVERAGE.search(copy.place) else "model")


def equal(one: WeightSet, other: WeightSet) -> bool:
    """Whether two copies have the same tensors, by open_clip's names."""
    own, theirs = under(one), under(other)
    return own.keys() == theirs.keys() and all(same(own[n], theirs[n]) for n in own)


def under(copy: WeightSet) -> dict[str, Tensor]:
    """The tensors below a copy's prefix, under open_clip's names."""
    head = "visual." if copy.stripped else ""
    return {
        (head if name.removeprefix(copy.prefix) not in SCALES else "")
        + name.removeprefix(copy.prefix): w
        for name, w in copy.names.items()
        if name.startswith(copy.prefix)
    }


def same(a: Tensor, b: Tensor) -> bool:
    """Whether shape, dtype and every number agree."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
