"""What must be known of a matrix of features before a number is made from it: rows are images,
columns features.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CONSTANT = 1e-6
"""A layer whose spread is below this share of its length is constant to the precision of float32.
"""


@dataclass(frozen=True)
class Rows:
    """State of a feature matrix.

    Attributes:
        n: Rows.
        d: Columns.
        bad: Rows that hold a NaN or an infinity.
        constant: Whether all (finite) rows are equal to float32 precision.
        duplicates: Rows that equal an earlier row.
    """

    n: int
    d: int
    bad: int
    constant: bool
    duplicates: int

    @property
    def problem(self) -> str:
        """Why no measure can be made from these rows; empty where it can."""
        if self.bad:
            return f"{self.bad} of {self.n} rows hold NaN or infinity"
        if self.n < 4:
            return f"{self.n} rows; unbiased estimates need 4"
        return "the features are the same for every image" if self.constant else ""

    @property
    def remark(self) -> str:
        """The problem, or what a reader should know although the measures exist (duplicates)."""
        return self.problem or (
            f"{self.duplicates} of {self.n} rows are duplicates" if self.duplicates else ""
        )


def examine(X: Float[Tensor, " n d"]) -> Rows:
    """Count what would spoil a measure of ``X``; nothing is changed or removed."""
    _check(X)
    good = X.isfinite().all(dim=1)
    finite = X[good]
    duplicates = len(finite) - len(finite.unique(dim=0)) if len(finite) > 1 else 0
    return Rows(
        len(X), X.shape[1], int((~good).sum()), len(finite) > 0 and is_constant(finite), duplicates
    )


def is_constant(X: Float[Tensor, " n d"]) -> bool:
    """Whether the spread of the rows is within rounding of their length."""
    spread, length = (
        centred(X).norm().item(),
        torch.linalg.vector_norm(X, dtype=torch.float64).item(),
    )
    return not spread > CONSTANT * length


def centred(X: Float[Tensor, " n d"]) -> Float[Tensor, " n d"]:
    """``X`` minus its mean row, in float64: before any product, where float32 would cancel."""
    X = X.double()
    return X - X.mean(dim=0)


def unit(X: Float[Tensor, " n d"]) -> Float[Tensor, " n d"]:
    """Rows of length 1, in float64. A row of zeros has no direction and becomes NaN."""
    X = X.double()
    return X / X.norm(dim=1, keepdim=True)


def check_paired(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"]) -> None:
    """Refuse matrices that cannot be of the same images.

    Raises:
        ValueError: If they are not 2-D or differ in their number of rows.
    """
    _check(X)
    _check(Y)
    if len(X) != len(Y):
        raise ValueError(
            f"{len(X)} and {len(Y)} rows are not paired: this measure compares the same images "
            "seen twice. For different images use class centroids as rows, or an unpaired measure."
        )


def _check(X: Tensor) -> None:
    if X.ndim != 2:
        raise ValueError(
            f"features must be (rows, columns); got shape {tuple(X.shape)}: pool tokens first"
        )
