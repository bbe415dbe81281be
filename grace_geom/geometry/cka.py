"""Centred kernel alignment (Kornblith et al. 2019) from the unbiased HSIC_1 (Song et al. 2012), in
float64.

Rows of X ``(n, d1)`` and Y ``(n, d2)`` are the same images. The biased estimate is 0.5 for two
independent Gaussians at n = d = 512; the one here has mean 0 there. Undefined values (n < 4, a
constant or non-finite layer) are NaN; :func:`grace_geom.geometry.rows.examine` says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.rows import CONSTANT, centred, check_paired

BLOCK = 128  # rows of a Gram matrix that are made at once
GRAM_BYTES = 2**30
"""Most memory that all n x n Gram matrices of one call may take; above it products stay in feature
space.
"""


def hsic(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"]) -> Float[Tensor, ""]:
    """Unbiased HSIC_1 of linear kernels, in feature space: O(n d1 d2) time, O(d1 d2) memory, no n x
    n matrix.

    ``[|Xc' Yc|_F^2 - n/(n-2) sum a_i b_i + (sum a)(sum b)/((n-1)(n-2))] / (n(n-3))`` with
    ``a_i = |Xc_i|^2``, ``b_i = |Yc_i|^2``: the U-centred inner product of the Gram matrices. NaN
    for n < 4.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    check_paired(X, Y)
    return _hsic_centred(centred(X), centred(Y))


def cka(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"], debiased: bool = True) -> float:
    """``HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``: 1 for equal up to rotation and scale, 0 for
    independent.

    Args:
        X, Y: Features of the same images.
        debiased: ``False`` gives the usual, biased ratio ``|Xc'Yc|^2 / (|Xc'Xc| |Yc'Yc|)``.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    return cka_matrix([X], [Y], debiased).item()


def cka_matrix(
    Xs: Sequence[Float[Tensor, " n _"]], Ys: Sequence[Float[Tensor, " n _"]], debiased: bool = True
) -> Float[Tensor, " l1 l2"]:
    """CKA of every layer of one model with every layer of another, on the same images; float64.

    Works on Gram matrices or in feature space, whichever takes fewer operations; both give the same
    number.

    Raises:
        ValueError: If two layers differ in their number of rows.
    """
    for X, Y in [(X, Xs[0]) for X in Xs] + [(Y, Xs[0]) for Y in Ys]:
        check_paired(X, Y)
    n = len(Xs[0])
    with_self = [*Xs, *Ys]
    if _grams_are_cheaper(n, [X.shape[1] for X in Xs], [Y.shape[1] for Y in Ys]):
        K, L = ([_centred_gram(X, debiased).flatten() for X in side] for side in (Xs, Ys))
        cross = torch.stack(K) @ torch.stack(L).T
        own = torch.stack([k.square().sum() for k in [*K, *L]])
    else:
        Xc, Yc = [centred(X) for X in Xs], [centred(Y) for Y in Ys]
        product = _hsic_centred if debiased else _biased_centred
        cross = torch.stack([torch.stack([product(X, Y) for Y in Yc]) for X in Xc])
        own = torch.stack([product(X, X) for X in [*Xc, *Yc]])
    own = torch.where(
        torch.tensor([_spread_is_zero(X) for X in with_self], device=own.device), torch.nan, own
    )
    return ratio(cross, own[: len(Xs)], own[len(Xs) :])


def rbf_cka(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"], width: float = 1.0) -> float:
    """Debiased CKA with Gaussian kernels ``exp(-|x - x'|^2 / (2 (width m)^2))``, m the median
    distance of the rows.

    O(n^2) memory. A layer whose median distance is 0 gives NaN.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    check_paired(X, Y)
    if len(X) < 4:
        return torch.nan
    K, L = (u_centred(_rbf_gram(Z, width)) for Z in (X, Y))
    return ((K * L).sum() / (K.square().sum() * L.square().sum()).sqrt()).item()


def u_centred(K: Float[Tensor, " n n"]) -> Float[Tensor, " n n"]:
    """Bias-free centring of a Gram matrix (Székely & Rizzo 2014): ``<K~, L~> / (n(n-3))`` is
    HSIC_1. The diagonal is 0.

    NaN for n < 4.
    """
    n = len(K)
    if n < 4:
        return torch.full_like(K, torch.nan)
    K = K - torch.diag(K.diagonal())
    rows = K.sum(dim=0)
    K = K - (rows[:, None] + rows[None, :]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return K.fill_diagonal_(0)


class MinibatchCka:
    """Layer x layer CKA from groups of rows: ``sum_g n_g(n_g - 3) HSIC_1`` before the ratio (Nguyen
    et al. 2021).

    Rows are regrouped as they come, so neither the size of the batches nor a ragged last one
    matters. Each group counts by its number of pairs. Numerators and denominators are unbiased; the
    result scatters around the full-batch value, because of all pairs of images only those within a
    group are seen: the error falls with the root of ``rows``, and time and memory grow with it.
    Products in the features' own precision after float64 centring, sums in float64.

    Args:
        rows: Images of a group, at least 4.
    """

    def __init__(self, rows: int = 512) -> None:
        if rows < 4:
            raise ValueError(
                f"rows = {rows}: an unbiased estimate needs groups of at least 4 images"
            )
        self.rows = rows
        self._held: list[list[Tensor]] = []
        self._layers = (0, 0)
        self._sums: _Sums | None = None

    @property
    def left_out(self) -> int:
        """Images of the last group, where they are too few to be used."""
        n = self._waiting()
        return n if n < 4 else 0

    def update(
        self, Xs: Sequence[Float[Tensor, " n _"]], Ys: Sequence[Float[Tensor, " n _"]]
    ) -> None:
        """Add one batch: the same layers, in the same order, each time; any number of rows.

        Raises:
            ValueError: If two layers differ in their number of rows.
        """
        for Z in [*Xs, *Ys]:
            check_paired(Z, Xs[0])
        self._layers = (len(Xs), len(Ys))
        self._held.append([*Xs, *Ys])
        while self._waiting() >= self.rows:
            Zs = self._joined()
            self._sums = _group_sums([Z[: self.rows] for Z in Zs], self._sums)
            self._held = [[Z[self.rows :].clone() for Z in Zs]] if len(Zs[0]) > self.rows else []

    def cka(self) -> Float[Tensor, " l1 l2"]:
        """The estimate from all rows so far.

        Raises:
            ValueError: Before the fourth row.
        """
        sums = _group_sums(self._joined(), self._sums) if self._waiting() >= 4 else self._sums
        if sums is None:
            raise ValueError("fewer than 4 images were added: CKA is not defined")
        own = torch.where(
            sums.spread > CONSTANT**2 * sums.length, sums.products.diagonal(), torch.nan
        )
        l1 = self._layers[0]
        return ratio(sums.products[:l1, l1:], own[:l1], own[l1:])

    def _waiting(self) -> int:
        return sum(len(Zs[0]) for Zs in self._held)

    def _joined(self) -> list[Tensor]:
        return (
            self._held[0]
            if len(self._held) == 1
            else [torch.cat(parts) for parts in zip(*self._held, strict=True)]
        )


@dataclass(frozen=True)
class _Sums:
    """Over groups: ``n(n-3) HSIC_1`` of every two layers ``(L, L)``; squared lengths, centred and
    not, ``(L,)``.
    """

    products: Tensor
    spread: Tensor
    length: Tensor


def _group_sums(Zs: Sequence[Float[Tensor, " n _"]], before: _Sums | None) -> _Sums:
    """One more group.

    For centred rows with ``a_i = |z_i|^2``, ``n(n-3) HSIC_1`` is
    ``sum_{i != j} K_ij L_ij - 2/(n-2) sum a_i b_i + (sum a)(sum b) / ((n-1)(n-2))``. The Gram
    matrices are made in blocks, each pair of blocks once.
    """
    n, dtype = (
        len(Zs[0]),
        torch.float64 if any(Z.dtype == torch.float64 for Z in Zs) else torch.float32,
    )
    # The mean is taken out before products: those of float32 numbers with a common offset lose
    # their digits. So would the mean itself; that of the differences to the first row does not, and
    # costs no copy in float64.
    firsts = [Z[0].to(dtype) for Z in Zs]
    Zs = [Z.to(dtype) - first for Z, first in zip(Zs, firsts, strict=True)]
    rest = [Z.mean(dim=0) for Z in Zs]
    Zs = [Z.sub_(mean) for Z, mean in zip(Zs, rest, strict=True)]
    means = [first.double() + mean for first, mean in zip(firsts, rest, strict=True)]
    a = torch.stack([torch.linalg.vector_norm(Z, dim=1).double().square() for Z in Zs])
    spread = a.sum(dim=1)
    length = spread + n * torch.stack([mean @ mean for mean in means])
    sums = spread.outer(spread) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a @ a.T)
    starts = range(0, n, BLOCK)
    for i in starts:
        for j in starts[i // BLOCK :]:
            grams = Zs[0].new_empty(len(Zs), len(Zs[0][i : i + BLOCK]), len(Zs[0][j : j + BLOCK]))
            for Z, gram in zip(Zs, grams, strict=True):
                torch.mm(Z[i : i + BLOCK], Z[j : j + BLOCK].T, out=gram)
            if i == j:
                grams.diagonal(dim1=1, dim2=2).zero_()
            sums += (1 if i == j else 2) * (grams.flatten(1) @ grams.flatten(1).T).double()
    if before is None:
        return _Sums(sums, spread, length)
    return _Sums(before.products + sums, before.spread + spread, before.length + length)


def _hsic_centred(X: Tensor, Y: Tensor) -> Tensor:
    n = len(X)
    if n < 4:
        return X.new_tensor(torch.nan)
    a, b = X.square().sum(dim=1), Y.square().sum(dim=1)
    total = (
        (X.T @ Y).square().sum() - n / (n - 2) * (a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))
    )
    return total / (n * (n - 3))


def _biased_centred(X: Tensor, Y: Tensor) -> Tensor:
    return (X.T @ Y).square().sum() if len(X) >= 4 else X.new_tensor(torch.nan)


def _centred_gram(X: Tensor, debiased: bool) -> Tensor:
    X = centred(X)
    K = X @ X.T
    return u_centred(K) if debiased or len(X) < 4 else K


def _rbf_gram(X: Tensor, width: float) -> Tensor:
    X = centred(X)
    squares = torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist").square()
    above = torch.triu_indices(len(X), len(X), offset=1, device=X.device)
    median = squares[above[0], above[1]].median()
    return (
        torch.exp(squares / (-2 * width**2 * median))
        if median > 0
        else torch.full_like(squares, torch.nan)
    )


def ratio(cross: Tensor, own_x: Tensor, own_y: Tensor) -> Tensor:
    """``cross_ij / sqrt(own_x_i own_y_j)``."""
    return cross / (own_x[:, None] * own_y[None, :]).sqrt()


def _spread_is_zero(X: Tensor) -> bool:
    X = X.double()
    return not (X - X.mean(dim=0)).norm() > CONSTANT * X.norm()


def _grams_are_cheaper(n: int, d1: Sequence[int], d2: Sequence[int]) -> bool:
    if (len(d1) + len(d2)) * n * n * 8 > GRAM_BYTES:
        return False
    own = sum(d * d for d in [*d1, *d2])
    return n * (sum(d1) + sum(d2) + len(d1) * len(d2)) < sum(d1) * sum(d2) + own
