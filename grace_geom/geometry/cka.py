"""Centred kernel alignment (Kornblith et al. 2019) from the unbiased HSIC_1 (Song et al. 2012), in float64.

Rows of X ``(n, d1)`` and Y ``(n, d2)`` are the same images. The biased estimate is 0.5 for two independent
Gaussians at n = d = 512; the one here has mean 0 there. Undefined values (n < 4, a constant or non-finite
layer) are NaN; :func:`grace_geom.geometry.rows.examine` says why.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.rows import CONSTANT, centred, check_paired

GRAM_BYTES = 2**30
"""Most memory that all n x n Gram matrices of one call may take; above it products stay in feature space."""


def hsic(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"]) -> Float[Tensor, ""]:
    """Unbiased HSIC_1 of linear kernels, in feature space: O(n d1 d2) time, O(d1 d2) memory, no n x n matrix.

    ``[|Xc' Yc|_F^2 - n/(n-2) sum a_i b_i + (sum a)(sum b)/((n-1)(n-2))] / (n(n-3))`` with ``a_i = |Xc_i|^2``,
    ``b_i = |Yc_i|^2``: the U-centred inner product of the Gram matrices. NaN for n < 4.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    check_paired(X, Y)
    return _hsic_centred(centred(X), centred(Y))


def cka(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"], debiased: bool = True) -> float:
    """``HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``: 1 for equal up to rotation and scale, 0 for independent.

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

    Works on Gram matrices or in feature space, whichever takes fewer operations; both give the same number.

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
    own = torch.where(torch.tensor([_spread_is_zero(X) for X in with_self], device=own.device), torch.nan, own)
    return ratio(cross, own[: len(Xs)], own[len(Xs) :])


def rbf_cka(X: Float[Tensor, " n d1"], Y: Float[Tensor, " n d2"], width: float = 1.0) -> float:
    """Debiased CKA with Gaussian kernels ``exp(-|x - x'|^2 / (2 (width m)^2))``, m the median distance of the rows.

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
    """Bias-free centring of a Gram matrix (Székely & Rizzo 2014): ``<K~, L~> / (n(n-3))`` is HSIC_1. The diagonal is 0.

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
    """Layer x layer CKA from minibatches: ``sum_b n_b(n_b - 3) HSIC_1`` before the ratio (Nguyen et al. 2021).

    Each batch counts by its number of pairs, so a ragged last batch is harmless. Unbiased numerator and denominators;
    the result scatters around the full-batch value. Products in the features' own precision after float64 centring,
    sums in float64. Batches of fewer than 4 images are left out and counted.

    Attributes:
        left_out: Images in batches too small to use.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._cross: Tensor | None = None
        self._own: list[Tensor] = []

    def update(self, Xs: Sequence[Float[Tensor, " n _"]], Ys: Sequence[Float[Tensor, " n _"]]) -> None:
        """Add one batch: the same layers, in the same order, each time.

        Raises:
            ValueError: If two layers differ in their number of rows.
        """
        n = len(Xs[0])
        for Z in [*Xs, *Ys]:
            check_paired(Z, Xs[0])
        if n < 4:
            self.left_out += n
            return
        K, L = (torch.stack([_fast_gram(Z).flatten() for Z in side]) for side in (Xs, Ys))
        # n(n-3) HSIC_1 is the plain inner product of the U-centred Gram matrices
        cross, own = (K @ L.T).double(), [k.square().sum(dim=1, dtype=torch.float64) for k in (K, L)]
        if self._cross is None:
            self._cross, self._own = cross, own
        else:
            self._cross += cross
            self._own = [a + b for a, b in zip(self._own, own, strict=True)]

    def cka(self) -> Float[Tensor, " l1 l2"]:
        """The estimate from all batches so far.

        Raises:
            ValueError: Before the first batch of at least 4 images.
        """
        if self._cross is None:
            raise ValueError("no batch of at least 4 images was added: CKA is not defined")
        return ratio(self._cross, *self._own)


def _hsic_centred(X: Tensor, Y: Tensor) -> Tensor:
    n = len(X)
    if n < 4:
        return X.new_tensor(torch.nan)
    a, b = X.square().sum(dim=1), Y.square().sum(dim=1)
    total = (X.T @ Y).square().sum() - n / (n - 2) * (a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))
    return total / (n * (n - 3))


def _biased_centred(X: Tensor, Y: Tensor) -> Tensor:
    return (X.T @ Y).square().sum() if len(X) >= 4 else X.new_tensor(torch.nan)


def _centred_gram(X: Tensor, debiased: bool) -> Tensor:
    X = centred(X)
    K = X @ X.T
    return u_centred(K) if debiased or len(X) < 4 else K


def _fast_gram(X: Tensor) -> Tensor:
    # The mean is taken out in float64: products of float32 numbers with a common offset lose their digits.
    X = (X - X.mean(dim=0, dtype=torch.float64).to(X.dtype)).float() if X.dtype != torch.float64 else centred(X)
    return u_centred(X @ X.T)


def _rbf_gram(X: Tensor, width: float) -> Tensor:
    X = centred(X)
    squares = torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist").square()
    above = torch.triu_indices(len(X), len(X), offset=1, device=X.device)
    median = squares[above[0], above[1]].median()
    return torch.exp(squares / (-2 * width**2 * median)) if median > 0 else torch.full_like(squares, torch.nan)


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
