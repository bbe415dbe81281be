"""Seeds that answer the same images, drawn from a known model many times at once, and what
``records/crossed.py`` must make of each draw: the textbook's mean squares, written for counts.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from grace_geom.records.crossed import Spread

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Draw:
    """A probit model: right where ``m + a_s + b_i + e_si`` is positive, with b and e of total
    variance 1 and a share ``alike`` of it in b, a of standard deviation ``sigma``.

    Columns are the seeds of one method, or those of two. What images do is drawn as counts of the
    2^C patterns of right and wrong over C columns.
    """

    shares: tuple[float, ...]
    S: int
    sigma: float
    alike: float

    @property
    def patterns(self) -> np.ndarray:
        """``(2^C, C)``, in the order of :meth:`counts`."""
        return np.array(list(itertools.product((0, 1), repeat=self.S * len(self.shares))))

    def counts(self, n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        """``(draws, 2^C)`` images of each pattern."""
        m = np.repeat(ndtri(self.shares), self.S) * math.sqrt(1 + self.sigma**2)
        z = m + self.sigma * rng.standard_normal((draws, len(m)))
        z = z[:, None, :] + math.sqrt(self.alike) * NODES[:, None]
        right = ndtr(z / math.sqrt(1 - self.alike))
        each = np.ones((draws, len(NODES), 1))
        for column in np.moveaxis(right, 2, 0)[..., None]:
            each = np.stack([each * (1 - column), each * column], axis=3)
            each = each.reshape(draws, len(NODES), -1)
        each = np.einsum("rqk,q->rk", each, WEIGHTS)
        return rng.multinomial(n, each / each.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Found:
    """Of each draw, ``(draws,)``: the value, and what :class:`Spread` holds."""

    value: np.ndarray
    centre: np.ndarray
    between: np.ndarray
    images: np.ndarray
    shared: np.ndarray
    S: int

    def each(self) -> Iterable[tuple[float, Spread]]:
        """Draw by draw."""
        rows = (self.value, self.centre, self.between, self.images, self.shared)
        for value, centre, between, images, shared in zip(*(r.tolist() for r in rows), strict=True):
            yield value, Spread(centre, self.S, between, images, shared)


@dataclass(frozen=True)
class Table:
    """Answers of C columns to n images, in each draw: how many are right in a column ``(draws, C)``
    and in two columns at once ``(draws, C, C)``.
    """

    n: int
    right: np.ndarray
    both: np.ndarray

    @classmethod
    def of_counts(cls, counts: np.ndarray, patterns: np.ndarray) -> "Table":
        """From how many images have each pattern."""
        pairs = (patterns[:, :, None] * patterns[:, None, :]).reshape(len(patterns), -1)
        C = patterns.shape[1]
        return cls(
            int(counts[0].sum()), counts @ patterns, (counts @ pairs).reshape(len(counts), C, C)
        )

    @classmethod
    def of_answers(cls, right: np.ndarray) -> "Table":
        """From ``(draws, n, C)`` bool."""
        x = right.astype(np.float32)  # exact: counts are small
        return cls(right.shape[1], right.sum(axis=1), (x.transpose(0, 2, 1) @ x).astype(float))

    def scatter(
        self, p: np.ndarray, slopes: np.ndarray, ends: np.ndarray, weight: float, S: int
    ) -> np.ndarray:
        """``sum_i d_i d_i'`` over images, ``(draws, S, S)``, where an image moves the number of
        seed s by ``d_is``, the sum of ``slope (right - p)`` over the seed's columns.

        Args:
            p: Shares, ``(draws, C)``; seed s has the columns s, s + S, ...
            slopes: ``(draws, C)``.
            ends: Answers to two imaginary images, ``(2, C)``.
            weight: Of each of these.
            S: Seeds.
        """
        cross = self.right[:, :, None] * p[:, None, :]
        found = self.both - cross - cross.transpose(0, 2, 1) + self.n * _outer(p)
        found = found + weight * (_outer(ends[0] - p) + _outer(ends[1] - p))
        seeds = np.tile(np.eye(S), (p.shape[1] // S, 1))
        return seeds.T @ (found * _outer(slopes)) @ seeds


def one_column(table: Table) -> Found:
    """A share on one set; half an image of either kind added."""
    n, S = table.n, table.right.shape[1]
    p = (table.right + 0.5) / (n + 1)
    slopes = np.full_like(p, 1 / math.sqrt(n * (n + 1)))
    cov = table.scatter(p, slopes, np.array([[1.0] * S, [0.0] * S]), 0.5, S)
    return _found(table.right / n, p, cov)


def gap(table: Table) -> Found:
    """The difference of two shares, the first half of the columns less the second; one image added
    on either side.
    """
    n, S = table.n, table.right.shape[1] // 2
    p = (table.right + 1) / (n + 2)
    side = np.repeat([1.0, -1.0], S)
    cov = table.scatter(p, side / (n + 2) + 0 * p, np.array([side > 0, side < 0]), 1.0, S)
    return _found(_less(table.right / n), _less(p), cov)


def _less(columns: np.ndarray) -> np.ndarray:
    S = columns.shape[1] // 2
    return columns[:, :S] - columns[:, S:]


def _outer(p: np.ndarray) -> np.ndarray:
    return p[:, :, None] * p[:, None, :]


def _found(means: np.ndarray, centres: np.ndarray, cov: np.ndarray) -> Found:
    """From each seed's numbers ``(draws, S)`` and their covariance over images."""
    S = means.shape[1]
    value, centre, images = means.mean(axis=1), centres.mean(axis=1), cov.mean(axis=(1, 2))
    if S == 1:
        return Found(value, centre, np.zeros_like(value), images, images, 1)
    own = np.trace(cov, axis1=1, axis2=2)
    shared = np.maximum(0.0, (cov.sum(axis=(1, 2)) - own) / (S * (S - 1)))
    return Found(value, centre, means.var(axis=1, ddof=1) / S, images, shared, S)


ADV = {"id": (0.8, 0.75), "ood": (0.6, 0.55), "adv": (0.01, 0.02)}
"""Two methods at 1 and 2 % robustness."""

TRUE_HM = tuple(3 / sum(1 / pair[k] for pair in ADV.values()) for k in (0, 1))

IMAGES = {"id": ("x", 1000), "ood": ("y", 500), "adv": ("x", 1000)}
"""ID and Adv share their images, OOD has others."""


def harmonic_answers(
    S: int, sigma: float, draws: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Suite -> ``(draws, n, 2 S)`` bool: who is right, seeds of the first method before those of
    the second; :class:`Draw`'s model with ``alike`` 0.6.
    """
    hard = {x: rng.standard_normal((draws, n, 1), dtype=np.float32) for x, n in IMAGES.values()}
    right = {}
    for suite, (x, n) in IMAGES.items():
        a = sigma * rng.standard_normal((draws, 1, 2 * S))
        m = np.repeat(ndtri(ADV[suite]), S) * math.sqrt(1 + sigma**2) + a
        e = rng.standard_normal((draws, n, 2 * S), dtype=np.float32)
        right[suite] = math.sqrt(0.6) * hard[x] + math.sqrt(0.4) * e < m.astype(np.float32)
    return right


def harmonic(right: dict[str, np.ndarray]) -> Found:
    """Of HM of the first method; half an image of either kind added."""
    S = right["id"].shape[2] // 2
    return _harmonic({suite: r[:, :, :S] for suite, r in right.items()}, 0.5, np.ones(S), S)


def harmonic_gap(right: dict[str, np.ndarray]) -> Found:
    """Of the difference of HM, first less second method; one image added on either side."""
    S = right["id"].shape[2] // 2
    return _harmonic(right, 1.0, np.repeat([1.0, -1.0], S), S)


def _harmonic(right: dict[str, np.ndarray], weight: float, side: np.ndarray, S: int) -> Found:
    """HM of the columns, or its difference where ``side`` has both signs: from
    ``dHM / dp = HM^2 / (3 p^2)``.
    """
    n = {suite: r.shape[1] for suite, r in right.items()}
    counts = {suite: r.sum(axis=1) for suite, r in right.items()}
    p = {suite: (k + weight) / (n[suite] + 2 * weight) for suite, k in counts.items()}
    hm = _mean3(p)
    root = {s: math.sqrt(n[s] * (n[s] + 1)) if weight < 1 else n[s] + 2 for s in n}
    slopes = {suite: side * hm**2 / (3 * p[suite] ** 2 * root[suite]) for suite in n}
    ends = np.array([side > 0, side < 0], dtype=float)
    cov = np.zeros((len(hm), S, S))
    for suites in (("id", "adv"), ("ood",)):  # ID and Adv share their images
        table = Table.of_answers(np.concatenate([right[s] for s in suites], axis=2))
        cov += table.scatter(
            np.hstack([p[s] for s in suites]),
            np.hstack([slopes[s] for s in suites]),
            np.tile(ends, len(suites)),
            weight,
            S,
        )
    means = _mean3({suite: k / n[suite] for suite, k in counts.items()})
    both = len(side) > S
    return _found(_less(means) if both else means, _less(hm) if both else hm, cov)


def _mean3(shares: dict[str, np.ndarray]) -> np.ndarray:
    stacked = np.stack(list(shares.values()))
    with np.errstate(divide="ignore"):
        return np.where((stacked > 0).all(axis=0), 3 / (1 / stacked).sum(axis=0), 0.0)
