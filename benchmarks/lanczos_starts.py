"""How soon Lanczos may stop, and how often its stop is wrong:
``OMP_NUM_THREADS=1 python benchmarks/lanczos_starts.py``

First table: on the nets of ``benchmarks/curvature.py``, the products after which the five largest
eigenvalues are right to ``rtol`` (an oracle tells), and after which three bounds can say so, from a
random start and from one that leans on the gradient. With the Schur complement of the Krylov space
Q, whose rest C = (I - QQ')A(I - QQ') is unknown, every eigenvalue lam is one of
``T + beta^2 g(lam) e e'`` with ``g(lam) = q'(lam - C)^-1 q``; as the spectrum of C lies between nu
and mu, g lies between ``1 / (lam - nu)`` and ``1 / (lam - mu)``: an upper bound (Lehmann's), or
both.

Second table: the share of starts whose result is wrong though its error bound is within ``rtol``,
on diagonal matrices with the outliers of those nets and their bulk. ``lacks one`` takes one of the
five out of the gradient.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # called by its path, only this folder is there

from benchmarks.curvature_net import M, in_double, ours, sample
from grace_geom.geometry.krylov import Krylov, leaning_start, random_start
from grace_geom.geometry.lanczos import eigenpairs
from grace_geom.tables import Cell, Table

TOP, STEPS, BULK = 5, 26, 500
Step = tuple[np.ndarray, float]
"""T and beta after so many products."""


def history(matvec: Callable[[Tensor], Tensor], start: Tensor) -> list[Step]:
    """T and beta after each of ``STEPS`` products."""
    krylov, steps = Krylov(start), []
    for _ in range(STEPS):
        krylov.extend(matvec)
        steps.append((krylov.T.copy(), krylov.beta))
    return steps


def ours_now(T: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values, largest first, and the bound that :func:`eigenpairs` stops on."""
    theta, S = np.linalg.eigh(T)
    r = np.abs(beta * S[-1])
    gaps = np.abs(theta[:, None] - theta)
    np.fill_diagonal(gaps, np.inf)
    return theta[::-1][:TOP], np.minimum(r, r**2 / gaps.min(axis=1))[::-1][:TOP]


def enclosed(T: np.ndarray, beta: float, both: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors by the upper bound alone, or the middle of upper and lower bound."""
    theta, S = np.linalg.eigh(T)
    r, m = np.abs(beta * S[-1]), len(theta)
    mu, nu = theta[m - TOP - 1] + r[m - TOP - 1], theta[0] - r[0]
    corner = np.zeros((m, m))
    corner[-1, -1] = beta**2
    values, errors = [], []
    for i in range(m - 1, m - 1 - TOP, -1):
        low = high = theta[i]
        if theta[i] > mu:
            high = np.linalg.eigvalsh(T + corner / (theta[i] - mu))[i]
            low = np.linalg.eigvalsh(T + corner / (high - nu))[i] if both else low
        values.append((low + high) / 2 if both else theta[i])
        errors.append((high - low) / (1 + both) if theta[i] > mu else r[i])
    return np.array(values), np.array(errors)


def stops(steps: list[Step], truth: np.ndarray, rtol: float) -> dict[str, int]:
    """Products after which each rule stops."""
    found: dict[str, int] = {}
    for m, (T, beta) in enumerate(steps[TOP + 1 :], TOP + 2):
        rules = {
            "ours": ours_now(T, beta),
            "upper": enclosed(T, beta, False),
            "both": enclosed(T, beta, True),
        }
        holds = {
            name: bool((errors <= rtol * np.abs(values)).all())
            for name, (values, errors) in rules.items()
        }
        holds["oracle"] = bool((np.abs(rules["ours"][0] / truth - 1) <= rtol).all())
        found = {name: m for name, yes in holds.items() if yes and name not in found} | found
    return found


@dataclass(frozen=True)
class Model:
    """A diagonal matrix like one net's Hessian: its outliers, ``BULK`` cells of the rest, and the
    gradient's share.
    """

    lams: np.ndarray
    outliers: int
    cells: np.ndarray
    gradient: np.ndarray
    dim: int

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """A unit Gaussian vector of ``dim`` entries, gathered into the cells."""
        entries = np.maximum(self.cells * self.dim, 1)
        bulk = np.sqrt(self.cells * rng.chisquare(entries) / entries) * rng.choice([-1, 1], BULK)
        return np.concatenate([rng.standard_normal(self.outliers) / np.sqrt(self.dim), bulk])

    def leaning(self, rng: np.random.Generator, lacks: int | None, share: float) -> np.ndarray:
        """As :func:`leaning_start`; the ``lacks``-th largest eigenvector is taken out of the
        gradient.
        """
        lean = self.gradient.copy()
        if lacks is not None:
            lean[np.argsort(self.lams)[::-1][lacks]] = 0
        lean[self.outliers :] *= rng.choice([-1, 1], BULK)
        return share * np.sqrt(self.dim) * self.random(rng) + lean / np.linalg.norm(lean)


def model_of(gradient: list[Step], random: list[Step], dim: int) -> Model:
    """From what Lanczos saw from the gradient (outliers, their overlaps) and from a random vector
    (the bulk).
    """
    T, beta = gradient[-1]
    theta, S = np.linalg.eigh(T)
    sharp = (np.abs(beta * S[-1]) < 0.02 * np.abs(theta)) & (np.abs(theta) > 0.1 * theta[-1])
    outliers, overlaps = theta[sharp], S[0][sharp]
    nodes, R = np.linalg.eigh(random[-1][0])
    rest = np.array([np.abs(outliers - x).min() > 0.01 * theta[-1] for x in nodes])
    inside = rest & (nodes < outliers[outliers > 0].min())
    weights = R[0][inside] ** 2
    middle = np.cumsum(weights / weights.sum()) - weights / weights.sum() / 2
    at = 1 / (1 + np.exp(-np.linspace(-11, 11, BULK)))  # more cells in the tails
    cells = np.gradient(at) / np.gradient(at).sum()
    bulk = np.sqrt(max(1 - (overlaps**2).sum(), 0) * cells)
    lams = np.concatenate([outliers, np.interp(at, middle, nodes[inside])])
    return Model(lams, len(outliers), cells, np.concatenate([overlaps, bulk]), dim)


def wrong(
    model: Model, start: Callable[[int], np.ndarray], rtol: float, starts: int
) -> tuple[float, float]:
    """Mean products, and the share of runs whose values are off by more than ``rtol`` though all
    have converged.
    """
    lams, truth = torch.from_numpy(model.lams), np.sort(model.lams)[::-1][:TOP]
    products, lies = [], 0
    for i in range(starts):
        pairs = eigenpairs(
            lambda v: lams * v, Krylov(torch.from_numpy(start(i))), top=TOP, rtol=rtol
        )
        products.append(pairs.products)
        lies += bool(pairs.converged.all()) and bool(
            (np.abs(pairs.values.numpy() / truth - 1) > rtol).any()
        )
    return float(np.mean(products)), lies / starts


def simulated(model: Model, starts: int) -> list[list[Cell | str]]:
    """Rows of the second table for one net: rtol, start, mean products, share that is wrong in
    percent.
    """
    rng = np.random.default_rng(0)
    rows: list[list[Cell | str]] = []
    for rtol in (1e-4, 1e-3):
        kinds: dict[str, Callable[[int], np.ndarray]] = {"random": lambda i: model.random(rng)}
        for n in (64, 32, 16):
            kinds[f"leaning, 1/{n}"] = lambda i, n=n: model.leaning(rng, None, 1 / n)  # type: ignore[misc]
            kinds[f"lacks one, 1/{n}"] = lambda i, n=n: model.leaning(rng, i % TOP, 1 / n)  # type: ignore[misc]
        for name, start in kinds.items():
            products, lies = wrong(model, start, rtol, starts)
            rows.append([f"{rtol:g}", name, f"{products:.1f}", f"{100 * lies:.1f}"])
    return rows


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--starts", type=int, default=300, help="simulated starts a cell of the second table"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    first: list[list[Cell | str]] = []
    second: list[list[Cell | str]] = []
    for seed in range(3):
        net = M(seed=seed)
        A, exact = ours(net, sample()), ours(*in_double(net))
        truth = eigenpairs(
            exact.matvec, Krylov(leaning_start(exact.gradient(), 1)), TOP, rtol=1e-9
        ).values.numpy()
        gradient = A.gradient()
        runs = {
            "random": history(A.matvec, random_start(A.dim, 0, A.like)),
            "gradient alone": history(A.matvec, gradient),
            "leaning": history(A.matvec, leaning_start(gradient, 0)),
        }
        for name, steps in runs.items():
            found = stops(steps, truth, 1e-4)
            first.append(
                [
                    str(seed),
                    name,
                    *(str(found.get(r, "-")) for r in ("oracle", "ours", "upper", "both")),
                ]
            )
        model = model_of(runs["gradient alone"], runs["random"], A.dim)
        second += [[str(seed), *row] for row in simulated(model, options.starts)]
    heads = ["net", "start", "oracle", "ours", "upper bound", "both bounds"]
    print(
        Table(
            heads, first, 2, "Products until five eigenvalues are right to 1e-4, by each rule"
        ).text()
        + "\n"
    )
    print(
        Table(
            ["net", "rtol", "start", "products", "wrong, %"], second, 3, "Simulated starts"
        ).text()
    )


if __name__ == "__main__":
    main()
