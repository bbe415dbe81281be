"""Exact layer x layer CKA in one pass over any number of images: what is kept does not grow
with n."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.cka import ratio
from grace_geom.geometry.rows import CONSTANT, check_paired


class StreamingCka:
    """The full-batch debiased CKA of :func:`grace_geom.geometry.cka.cka_matrix`, to rounding, from
    batches of any size.

    Rows are shifted by the mean of the first batch, and for the shifted rows z, w of two layers the
    sums ``z' w, z, w, |z|^2 w, |w|^2 z, |z|^2 |w|^2`` are kept; the true means are put in at the
    end. Memory: ``8 (D1 D2 + sum d^2)`` bytes for layers of total width D1 and D2. One product of
    that size a batch, in float64.
    """

    def __init__(self) -> None:
        self.n = 0
        self._shift: list[list[Tensor]] = []
        self._pairs: dict[tuple[int, int], PairSums] = {}
        self._own: tuple[list[PairSums], list[PairSums]] = ([], [])

    def update(
        self, Xs: Sequence[Float[Tensor, " n _"]], Ys: Sequence[Float[Tensor, " n _"]]
    ) -> None:
        """Add one batch: the same layers, in the same order, each time; any number of rows, one
        included.

        Raises:
            ValueError: If two layers differ in their number of rows.
        """
        for Z in [*Xs, *Ys]:
            check_paired(Z, Xs[0])
        if not self._shift:
            self._shift = [[Z.double().mean(dim=0) for Z in side] for side in (Xs, Ys)]
            self._pairs = {(i, j): PairSums() for i in range(len(Xs)) for j in range(len(Ys))}
            self._own = ([PairSums() for _ in Xs], [PairSums() for _ in Ys])
        self.n += len(Xs[0])
        x, y = (
            [Shifted(Z.double() - s) for Z, s in zip(side, shifts, strict=True)]
            for side, shifts in zip((Xs, Ys), self._shift, strict=True)
        )
        for (i, j), sums in self._pairs.items():
            sums.add(x[i], y[j])
        for own, side in zip(self._own, (x, y), strict=True):
            for sums, z in zip(own, side, strict=True):
                sums.add(z, z)

    def cka(self) -> Float[Tensor, " l1 l2"]:
        """CKA of all rows so far; NaN for n < 4, and for a constant layer.

        Raises:
            ValueError: Before the first batch.
        """
        if not self._shift:
            raise ValueError("no batch was added: CKA is not defined")
        l1, l2 = len(self._own[0]), len(self._own[1])
        cross = torch.stack(
            [torch.stack([self._pairs[i, j].hsic(self.n) for j in range(l2)]) for i in range(l1)]
        )
        own = [
            torch.stack([sums.own(self.n, shift) for sums, shift in zip(*side, strict=True)])
            for side in zip(self._own, self._shift, strict=True)
        ]
        return ratio(cross, *own)


class Shifted:
    """Rows ``(n, d)`` minus the shift, and their squared lengths ``(n,)``."""

    def __init__(self, z: Tensor) -> None:
        self.z, self.p = z, z.square().sum(dim=1)


class PairSums:
    """Running sums over the rows (z, w) of two layers; p = |z|^2, q = |w|^2."""

    def __init__(self) -> None:
        zero = torch.zeros((), dtype=torch.float64)
        self.zw = self.z = self.w = self.pw = self.qz = self.pq = self.pp = self.qq = zero

    def add(self, x: Shifted, y: Shifted) -> None:
        """Some rows more, the same images in both layers."""
        self.zw = self.zw.to(x.z.device) + x.z.T @ y.z
        self.z = self.z.to(x.z.device) + x.z.sum(dim=0)
        self.w = self.w.to(x.z.device) + y.z.sum(dim=0)
        self.pw = self.pw.to(x.z.device) + x.p @ y.z
        self.qz = self.qz.to(x.z.device) + y.p @ x.z
        self.pq = self.pq.to(x.z.device) + x.p @ y.p
        self.pp = self.pp.to(x.z.device) + x.p.sum()
        self.qq = self.qq.to(x.z.device) + y.p.sum()

    def __add__(self, other: "PairSums") -> "PairSums":
        """Sums over the rows of both; they must have been shifted alike."""
        total = PairSums()
        for name in vars(self):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def centred(self, n: int) -> Float[Tensor, " d1 d2"]:
        """``Xc' Yc`` of n rows."""
        return self.zw - torch.outer(self.z, self.w) / n

    def hsic(self, n: int) -> Tensor:
        """HSIC_1 with the means put in: ``a_i = |z_i|^2 - 2 z_i.mu + |mu|^2`` and so for b."""
        if n < 4:
            return self.pq * torch.nan
        mu, nu = self.z / n, self.w / n
        m, k = mu @ mu, nu @ nu
        cross = (self.zw - n * torch.outer(mu, nu)).square().sum()
        ab = self.pq - 2 * (self.pw @ nu) - 2 * (self.qz @ mu) + 4 * (mu @ self.zw @ nu)
        ab = ab + k * self.pp + m * self.qq - 3 * n * m * k
        a, b = self.pp - n * m, self.qq - n * k
        return (cross - n / (n - 2) * ab + a * b / ((n - 1) * (n - 2))) / (n * (n - 3))

    def own(self, n: int, shift: Tensor) -> Tensor:
        """HSIC_1 of a layer with itself; NaN where the layer is constant."""
        mu = self.z / n
        spread, length = (
            self.pp - n * (mu @ mu),
            self.pp + 2 * (self.z @ shift) + n * (shift @ shift),
        )
        return torch.where(spread > CONSTANT**2 * length, self.hsic(n), torch.nan)
