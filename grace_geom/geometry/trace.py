"""Trace, block traces and Frobenius norm of a symmetric matrix from products with random vectors.

Every estimate carries a standard error. None stops early: on a trace of mixed sign a relative
change of the running mean says nothing about its error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.special import ndtri, stdtrit
from torch import Tensor

from grace_geom.geometry.krylov import Krylov
from grace_geom.geometry.operators import Matvec

JACKKNIFE = 60
"""Most test vectors that XTrace's jackknife leaves out; each costs a QR of the sketch."""


@dataclass(frozen=True)
class StochasticEstimate:
    """A number that was estimated.

    Attributes:
        value: The estimate.
        error: Its standard error; ``nan`` where one sample cannot tell.
        estimator: In words, with the number of probes.
        products: Products that were spent.
        freedom: Degrees of freedom of the error; ``None`` where they are many or not known.
    """

    value: float
    error: float
    estimator: str
    products: int
    freedom: int | None = None

    def half_width(self, level: float = 0.95) -> float:
        """Half of the interval: Student's quantile times the error, normal where degrees of freedom
        are not known.
        """
        q = 0.5 + level / 2
        return self.error * float(ndtri(q) if self.freedom is None else stdtrit(self.freedom, q))


@dataclass(frozen=True)
class Probed:
    """What one set of Hutchinson probes tells.

    Attributes:
        trace: ``tr A``.
        frobenius: ``|A|_F``; the error by the delta method.
        blocks: ``tr A_ll`` of each diagonal block, by name.
        samples: Each probe's block traces, from which the error of any function of them can be had.
    """

    trace: StochasticEstimate
    frobenius: StochasticEstimate
    blocks: dict[str, StochasticEstimate]
    samples: Float[Tensor, " probes l"]


def rademacher(dim: int, seed: int, i: int) -> Float[Tensor, " p"]:
    """Random signs, float32 on the CPU: the ``i``-th probe of a seed, whatever the device and the
    number of probes.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
    return 2.0 * torch.randint(0, 2, (dim,), generator=generator, dtype=torch.int8).float() - 1.0


def mean_of(samples: Sequence[float], name: str, products: int) -> StochasticEstimate:
    """The mean of independent samples and its standard error."""
    values = torch.tensor(samples, dtype=torch.float64)
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return StochasticEstimate(values.mean().item(), error, name, products, max(len(values) - 1, 1))


def bounded(
    forms: Float[Tensor, " probes"],
    squares: Float[Tensor, " probes"],
    dim: int,
    known: float,
    name: str,
    products: int,
) -> StochasticEstimate:
    """``known`` plus the mean of ``v'Bv`` over Rademacher probes, with a bound of its error.

    One probe has the variance ``2 (|B|_F^2 - sum B_ii^2) <= 2 (|B|_F^2 - (tr B)^2 / d)``, and
    ``E |Bv|^2 = |B|_F^2`` comes from the products at hand. The scatter of few samples will not do:
    where a few eigenvalues make all the variance they are as skewed as a chi-square of one degree,
    and Student's interval of 95 % covered 80 to 92 %. ``|Bv|^2`` has a degree of freedom a probe
    at rank one, where Student's quantile with as many covers 95 %, and more of them elsewhere.

    Args:
        forms: ``v'Bv`` of each probe.
        squares: ``|Bv|^2`` of each, or of a matrix with a larger Frobenius norm.
        dim: Rows d of B.
        known: The part of the trace that is known exactly.
        name: The estimator in words.
        products: Products that were spent on the whole.
    """
    n, mean = len(forms), forms.mean().item()
    above = max(squares.mean().item() - mean**2 / dim, 0.0)
    return StochasticEstimate(known + mean, math.sqrt(2 * above / n), name, products, n)


def hutchinson(
    matvec: Matvec,
    like: Tensor,
    sizes: Mapping[str, int],
    probes: int = 30,
    seed: int = 0,
    deflate: Krylov | None = None,
    kept: list[Tensor] | None = None,
) -> Probed:
    """Hutchinson (1990) with Rademacher probes, one product each, for the trace, its blocks and the
    Frobenius norm.

    ``E v'Av = tr A``, ``E v_l'(Av)_l = tr A_ll``, ``E |Av|^2 = |A|_F^2``. With the Lanczos basis Q
    of an eigenvalue run, ``A = AQQ' + A(I - QQ')`` whose first part is known exactly
    (``AQ = QT + beta q e_m'``) and only the second is sampled: the large eigenvalues, which cause
    the variance of ``|A|_F``, are gone from it at no further product.

    The trace's error is a bound, as :func:`hutchpp`'s is and for its reason, from
    ``E |A z|^2 = |A|_F^2`` of the vectors z that were multiplied. It is too wide where much of A
    lies on its diagonal, whose share of ``|A|_F^2`` costs Rademacher probes nothing, and by the
    rows of ``A (I - QQ')`` in the basis, which the bound counts too. Errors of the blocks and of
    ``|A|_F`` are scatter.

    Args:
        matvec: ``v -> A v``, symmetric.
        like: Gives dtype and device of the products' vectors.
        sizes: Name -> entries of each diagonal block, in the vector's order.
        probes: Products.
        seed: Of the probes.
        deflate: Lanczos basis of the same matrix, at most half the space or the whole of it.
        kept: What the first probes gave in an earlier call with the same arguments; later ones are
            appended.
    """
    dim, names = sum(sizes.values()), list(sizes)
    known = _known_part(deflate, list(sizes.values())) if deflate is not None else None
    kept = [] if kept is None else kept
    for i in range(len(kept), probes):
        v = rademacher(dim, seed, i).to(like)
        kept.append(_probe(matvec, v, list(sizes.values()), deflate))
    rows = torch.stack(kept[:probes])
    parts, trace, frobenius = known if known is not None else (torch.zeros(len(sizes)), 0.0, 0.0)
    name = f"Hutchinson, {probes} Rademacher probes" + (
        f", {len(deflate)} vectors deflated" if deflate else ""
    )
    squares, samples = rows[:, 1] + frobenius, rows[:, 2:] + parts
    square = mean_of(squares.tolist(), name, probes)
    norm = math.sqrt(max(square.value, 0.0))
    return Probed(
        bounded(rows[:, 0], rows[:, 1], dim, trace, name, probes),
        StochasticEstimate(
            norm, square.error / (2 * norm) if norm else square.error, name, probes, square.freedom
        ),
        {n: mean_of(samples[:, i].tolist(), name, probes) for i, n in enumerate(names)},
        samples,
    )


def _probe(
    matvec: Matvec, v: Tensor, sizes: Sequence[int], deflate: Krylov | None
) -> Float[Tensor, " row"]:
    """One product's share of the trace, of the squared Frobenius norm, and of each of l blocks'
    traces, ``(2 + l,)``; float64.
    """
    z = v.clone()
    if deflate is not None:
        deflate.remove(z)
    Az = matvec(z)
    blocks = _by_block(v, Az, sizes)
    # the symmetric form has no cross term between the basis and its complement
    total = (z.double() @ Az.double()).cpu() if deflate is not None else blocks.sum()
    return torch.cat([torch.stack([total, Az.double().square().sum().cpu()]), blocks])


def hutchpp(
    matvec: Matvec, like: Tensor, dim: int, products: int = 30, seed: int = 0
) -> StochasticEstimate:
    """Hutch++ (Meyer, Musco, Musco, Woodruff 2021): a third each for a sketch, its exact trace and
    the remainder.

    The error is a bound (:func:`bounded`): where the spectrum decays, the remainder
    ``(I - QQ') A (I - QQ')`` is nearly of rank one, and the scatter of so few samples says too
    little.
    """
    third = max(products // 3, 2)
    Q = _basis(torch.stack([matvec(rademacher(dim, seed, i).to(like)) for i in range(third)]))
    exact = sum((q.double() @ matvec(q).double()).item() for q in Q)
    forms, squares = [], []
    for i in range(third, 2 * third):
        v = rademacher(dim, seed, i).to(like)
        v -= (Q @ v) @ Q
        Bv = matvec(v)
        Bv = Bv - (Q @ Bv) @ Q
        forms.append((v.double() @ Bv.double()).cpu())
        squares.append(Bv.double().square().sum().cpu())
    name = f"Hutch++, {third} + {third} + {third} products"
    return bounded(torch.stack(forms), torch.stack(squares), dim, exact, name, 2 * third + len(Q))


def xtrace(
    matvec: Matvec,
    like: Tensor,
    dim: int,
    products: int = 30,
    seed: int = 0,
    deflate: Krylov | None = None,
) -> StochasticEstimate:
    """XTrace (Epperly, Tropp, Webber 2024): every test vector serves the sketch of all the others.

    With ``Y = A Om = Q R``, leave-one-out bases are ``Q (I - s_i s_i') Q'`` where s_i is the
    normalised i-th column of ``R^-T``, so all m estimates cost one sketch and one product with Q.
    These share their sketch, so their scatter says too little of the error of their mean: as
    ``s / sqrt(m)`` it covered 72 to 90 % where 95 was meant. The error is a jackknife over test
    vectors.

    Args:
        products: Half of them sketch. With ``deflate`` all of them act on the complement of that
            Lanczos basis.
    """
    m = min(max(products // 2, 2), dim)

    def project(w: Tensor) -> Tensor:
        if deflate is not None:
            deflate.remove(w)
        return w

    exact = 0.0 if deflate is None else float(deflate.T.trace())
    Om = torch.stack([rademacher(dim, seed, i).to(like) for i in range(m)])
    Y = torch.stack([project(matvec(project(w.clone()))) for w in Om])
    Q, R = torch.linalg.qr(Y.T.double())
    Z = torch.stack([project(matvec(project(q.to(like)))) for q in Q.T]).double()  # rows A q
    Om, Y = Om.double(), Y.double()
    B, X, AQ = Z @ Q, Om @ Q, Om @ Z.T  # Q'AQ; coordinates of the test vectors; om'AQ, rows
    own = (Om * Y).sum(dim=1)
    value = exact + _leave_one_out(B, X, AQ, R, own).item()
    name = f"XTrace, {2 * m} products" + (
        f", {len(deflate)} vectors deflated" if deflate is not None else ""
    )
    return StochasticEstimate(value, _jackknife(B, X, AQ, R, own), name, 2 * m, m - 1)


def _leave_one_out(B: Tensor, X: Tensor, AQ: Tensor, R: Tensor, own: Tensor) -> Tensor:
    """The mean of XTrace's estimates in coordinates of the sketch's basis."""
    S = torch.linalg.pinv(R)  # row i is the i-th column of R^-T
    S = S / S.norm(dim=1, keepdim=True).clamp_min(torch.finfo(S.dtype).tiny)
    x = X - S * (S * X).sum(dim=1, keepdim=True)
    remainder = own - 2 * (AQ * x).sum(dim=1) + ((x @ B) * x).sum(dim=1)
    return (B.trace() - ((S @ B) * S).sum(dim=1) + remainder).mean()


def _jackknife(
    B: Tensor, X: Tensor, AQ: Tensor, R: Tensor, own: Tensor, most: int = JACKKNIFE
) -> float:
    """Standard error from leaving out one test vector at a time, at no further product: the basis
    of the others lies in that of all. A pair of vectors is what XTrace averages over, and of such
    means (degenerate U-statistics) the jackknife's variance is twice the true one, so half of it
    is taken. At most ``most`` vectors are left out, evenly spaced.
    """
    m = len(R)
    found = []
    for j in range(0, m, -(-m // most)):
        rest = [i for i in range(m) if i != j]
        U, R_rest = torch.linalg.qr(R[:, rest])
        found.append(_leave_one_out(U.T @ B @ U, X[rest] @ U, AQ[rest] @ U, R_rest, own[rest]))
    return (m - 1) / math.sqrt(2 * m) * torch.stack(found).std().item()


def _basis(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.T.double())[0].T.contiguous().to(rows)


def _by_block(v: Tensor, w: Tensor, sizes: Sequence[int]) -> Float[Tensor, " l"]:
    pairs = zip(v.split(list(sizes)), w.split(list(sizes)), strict=True)
    return torch.stack([(a.double() @ b.double()).cpu() for a, b in pairs])


def _known_part(krylov: Krylov, sizes: Sequence[int]) -> tuple[Tensor, float, float]:
    """Of ``A Q Q'``: block traces ``(l,)``; ``tr Q'AQ``; ``|A Q|_F^2``."""
    T = torch.from_numpy(krylov.T)
    parts = torch.zeros(len(sizes), dtype=torch.float64)
    m = len(krylov)
    for j in range(m):
        unit = torch.zeros(m, 1, dtype=torch.float64)
        unit[j] = 1
        q, Aq = krylov.combine(unit.numpy())[0], krylov.combine(T[:, j : j + 1].numpy())[0]
        if j == m - 1 and krylov.next is not None:
            Aq = Aq + krylov.beta * krylov.next.to(Aq)
        parts += _by_block(q, Aq, sizes)
    return parts, T.trace().item(), T.square().sum().item() + krylov.beta**2
