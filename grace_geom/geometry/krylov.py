"""The orthonormal basis that Lanczos grows, with full reorthogonalisation, and where it starts.

The basis satisfies ``A Q' = Q' T + beta q e_m'`` (rows of Q orthonormal), so a Ritz pair
``(theta, Q' s)`` has the residual ``|A v - theta v| = beta |s_m|`` without another product.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.operators import Matvec

_ROWS = 8  # the basis grows by so many vectors at a time
_CHUNK = 2**18  # partial sums of so many products are added in float64


class Krylov:
    """A growing orthonormal basis of the space that ``start, A start, A A start, ...`` span.

    Args:
        start: Vector ``(p,)``, not zero; gives dtype and device of the products.
        device: Where the basis lies; the host saves accelerator memory, at the price of copies.
        basis_dtype: What the basis is kept in; float16 halves its memory and leaves eigenvalues
            right to 1e-4 (bfloat16 does not). A direction is rounded *before* its product is taken,
            so that T is made of true products, and what rounding adds to
            ``A Q' = Q' T + beta q e_m'`` is known column by column and counted into residuals. A
            restart rounds all rows again, and the bounds add up: after a few, right values are no
            longer said to have converged. Give such a basis room instead: it has twice as much.
    """

    def __init__(
        self,
        start: Tensor,
        device: torch.device | str | None = None,
        basis_dtype: torch.dtype | None = None,
    ) -> None:
        self.dim = start.numel()
        self.home, self.device = start.device, torch.device(device or start.device)
        self.dtype, self.basis_dtype = start.dtype, basis_dtype or start.dtype
        self.T = np.zeros((0, 0))
        self.beta = 0.0
        self.next: Tensor | None = self._rounded(start / start.norm())
        self._scales: list[float] = []  # a vector of the basis is its row times this
        self._lost = np.zeros(
            0
        )  # |beta_j (q - rounded q)| of each column, plus what a restart rounds
        self.products = 0
        self._blocks: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.T)

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole space: its Ritz values are the eigenvalues."""
        return self.next is None

    def vectors(self) -> Float[Tensor, " m p"]:
        """The basis, one vector a row."""
        rows = torch.cat(self._blocks)[: len(self)]
        return rows.to(self.dtype) * self._scale(len(self)).to(rows.device, self.dtype)[:, None]

    def extend(self, matvec: Matvec) -> None:
        """One more vector, one product.

        Raises:
            ValueError: If the product is not finite, or the basis is complete.
        """
        if self.next is None:
            raise ValueError(f"the basis already spans all {self.dim} dimensions")
        w = matvec(self.next)
        length = _norm(w)
        if not math.isfinite(length):
            raise ValueError(
                "a product is not finite: look at the loss and its scale, or use --dtype float64"
            )
        m = len(self)
        self._append(self.next)
        h, self.beta = self._orthogonalise(w, m + 1, length, last=2)
        T = np.zeros((m + 1, m + 1))
        T[:m, :m] = self.T
        T[:, m] = T[m, :] = h.numpy()
        self.T, self.products = T, self.products + 1
        self._lost = np.append(self._lost, 0.0)
        self._advance(w)

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values in ascending order ``(m,)``, their coordinates ``(m, m)`` as columns,
        residual norms ``(m,)``.

        A residual is never said to be smaller than the rounding of a product.
        """
        theta, S = np.linalg.eigh(self.T)
        rounding = torch.finfo(self.dtype).eps * np.abs(theta).max() + self._lost @ np.abs(S)
        return theta, S, np.hypot(self.beta * S[-1], rounding)

    @property
    def blur(self) -> float:
        """What rows that are only nearly orthogonal do to a Ritz value, relative to the largest:
        measured, not derived.

        On a few hundred to half a million dimensions it was below 1 % of the rounding of one entry.
        """
        return torch.finfo(self.basis_dtype).eps / 100 if self.basis_dtype != self.dtype else 0.0

    def combine(self, coordinates: np.ndarray) -> Float[Tensor, " k p"]:
        """Rows ``coordinates' Q`` for coordinates ``(m, k)``."""
        C = torch.from_numpy(np.ascontiguousarray(coordinates.T)) * self._scale(len(self))
        rows = C.new_zeros(C.shape[0], self.dim, dtype=self.dtype, device=self.device)
        done = 0
        for b in self._filled(len(self)):
            share = C[:, done : done + len(b)].to(rows)
            for begin in range(0, self.dim, _CHUNK):
                rows[:, begin : begin + _CHUNK].addmm_(
                    share, b[:, begin : begin + _CHUNK].to(self.dtype)
                )
            done += len(b)
        return rows

    def remove(self, w: Tensor) -> Tensor:
        """Take the basis out of ``w`` in place; returns the coefficients ``(m,)``, float64 on the
        CPU.
        """
        return self._orthogonalise(w, len(self), _norm(w))[0]

    def restart(self, keep: np.ndarray, S: np.ndarray, theta: np.ndarray) -> None:
        """Shrink the basis to the Ritz vectors of the indices ``keep``; the next direction
        stays."""
        rows = self.combine(S[:, keep])
        stored, self._scales = self._stored(rows)
        off = (
            (rows - stored.to(self.dtype) * torch.tensor(self._scales).to(rows)[:, None])
            .double()
            .norm(dim=1)
        )
        self._blocks, off = [stored], off.cpu().numpy()
        self._lost = self._lost @ np.abs(S[:, keep]) + 2 * np.abs(theta).max() * off
        self.T = np.diag(theta[keep])

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, as numbers and tensors on the CPU: a second basis may not
        fit beside the first one on its device.
        """
        return {
            "basis": torch.cat([b.cpu() for b in self._blocks])[: len(self)] if len(self) else None,
            "scales": self._scales,
            "T": torch.from_numpy(self.T),
            "beta": self.beta,
            "next": None if self.next is None else self.next.cpu(),
            "products": self.products,
            "lost": torch.from_numpy(self._lost),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: If it belongs to a matrix of another size.
        """
        vector = state["next"] if state["next"] is not None else state["basis"][0]
        if vector.numel() != self.dim:
            raise ValueError(
                f"the saved Lanczos basis has {vector.numel()} dimensions, this matrix {self.dim}"
            )
        self._blocks = (
            [] if state["basis"] is None else [state["basis"].to(self.device, self.basis_dtype)]
        )
        self.T, self.beta = state["T"].cpu().numpy(), state["beta"]
        self.products = state["products"]
        self.next = None if state["next"] is None else state["next"].to(self.home)
        self._lost, self._scales = state["lost"].cpu().numpy(), list(state["scales"])

    def _append(self, q: Tensor) -> None:
        m, room = len(self), sum(len(block) for block in self._blocks)
        if m == room:
            self._blocks.append(
                torch.empty(_ROWS, self.dim, dtype=self.basis_dtype, device=self.device)
            )
            room += _ROWS
        rows, scales = self._stored(q[None])
        self._blocks[-1][m - room] = rows[0]
        self._scales += scales

    def _orthogonalise(
        self, w: Tensor, rows: int, length: float, last: int = 0
    ) -> tuple[Tensor, float]:
        """Take the first ``rows`` vectors out of ``w`` in place: their coefficients, and the norm
        of what is left.

        ``length`` is the norm of ``w`` as it comes.
        A pass that takes away less than half leaves nothing of the basis but rounding, else one
        more follows (twice is enough: Parlett, Kahan). The recurrence's own two vectors go first,
        the ``last``: they are most of what there is to take, so the pass over all that follows them
        seldom needs a second.
        """
        total = torch.zeros(rows, dtype=torch.float64)
        if rows > 2 * last > 0:
            total[-last:] = self._take_out(w, rows - last, rows)
            length = _norm(w)
        for _ in range(2 if rows else 0):
            total += self._take_out(w, 0, rows)
            before, length = length, _norm(w)
            if length > before / 2 and self.basis_dtype == self.dtype:
                break
        return total, length

    def _take_out(self, w: Tensor, begin: int, end: int) -> Tensor:
        """One pass over the vectors from ``begin`` to ``end``, in place; returns their
        coefficients.
        """
        h, scale = torch.zeros(end - begin, dtype=torch.float64), self._scale(end)[begin:]
        filled = self._filled(end, begin)
        for at in range(0, self.dim, _CHUNK):
            part = w[at : at + _CHUNK].to(self.device)
            h += (
                torch.cat([b[:, at : at + len(part)].to(part) @ part for b in filled])
                .double()
                .cpu()
            )
        h *= scale
        for at in range(0, self.dim, _CHUNK):
            part, done = w[at : at + _CHUNK], 0
            for b in filled:
                piece = b[:, at : at + len(part)].to(self.dtype)
                share = (h * scale)[done : done + len(b)].to(piece) @ piece
                part -= share.to(part.device)
                done += len(b)
        return h

    def _filled(self, end: int, begin: int = 0) -> list[Tensor]:
        """The vectors from ``begin`` to ``end``, block by block, without a copy."""
        pieces, first = [], 0
        for block in self._blocks:
            piece = block[max(0, begin - first) : max(0, end - first)]
            pieces += [piece] if len(piece) else []
            first += len(block)
        return pieces

    def _advance(self, w: Tensor) -> None:
        """The next direction: ``w / beta``, or a fresh one where the space is invariant."""
        if len(self) == self.dim:
            self.next, self.beta = None, 0.0
            return
        if self.beta > 10 * torch.finfo(w.dtype).eps * np.abs(self.T).max():
            exact = w / self.beta
            self.next = self._rounded(exact)
            if self.next is not exact:
                self._lost[-1] += self.beta * (self.next - exact).double().norm().item()
            return
        self.beta = 0.0
        fresh = random_start(self.dim, self.products, w)
        self.remove(fresh)
        self.next = self._rounded(fresh / fresh.norm())

    def _rounded(self, q: Tensor) -> Tensor:
        """The unit vector that the basis will hold for ``q``, in the products' dtype."""
        if self.basis_dtype == self.dtype:
            return q
        rows, (scale,) = self._stored(q[None])
        return rows[0].to(self.dtype) * scale

    def _stored(self, rows: Tensor) -> tuple[Tensor, list[float]]:
        """Rows as they are kept, and what makes each a unit vector again.

        Entries are near 1, far from where float16 underflows; rounding changes a length by more
        than it turns a row.
        """
        if self.basis_dtype == self.dtype:
            return rows, [1.0] * len(rows)
        kept = (rows * self.dim**0.5).to(self.basis_dtype)
        return kept, (1 / kept.double().norm(dim=1)).tolist()

    def _scale(self, rows: int) -> Tensor:
        return torch.tensor(self._scales[:rows], dtype=torch.float64)


def _norm(w: Tensor) -> float:
    """In float64, without a copy; not finite where an entry is not, which is cheaper than asking
    each.
    """
    return torch.linalg.vector_norm(w, dtype=torch.float64).item()


def random_start(dim: int, seed: int, like: Tensor) -> Tensor:
    """A Gaussian vector ``(dim,)``, the same on every device and of every dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(dim, generator=generator, dtype=torch.float32).to(like)


def leaning_start(lean: Tensor, seed: int, share: float = 1 / 32) -> Tensor:
    """A start ``(p,)`` for the ends of a spectrum: the unit vector along ``lean`` and a random
    part.

    A gradient lies mostly among the eigenvectors of the largest eigenvalues of its Hessian
    (Gur-Ari, Roberts, Dyer 2018), so a start that leans on it is nearer to them than a random one.
    The random part has about the component ``share`` along every eigenvector, whatever p: none is
    missed because the gradient is orthogonal to it.

    Args:
        lean: Usually the gradient; of its length nothing is used. A zero leaves the random part
            alone.
        seed: Of the random part.
        share: Less saves products where ``lean`` is good, and finds later what it lacks.
    """
    random, length = random_start(lean.numel(), seed, lean), lean.norm()
    return random if length == 0 else share * random + lean / length
