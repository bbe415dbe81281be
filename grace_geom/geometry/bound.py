"""The terms of the robust PAC-Bayes bound (GRACE, Theorem 3.1 and Lemma 3.2), each from its own
estimator.

For an isotropic Gaussian posterior of standard deviation ``sigma`` around the weights and a prior
around the pretrained ones, over domains S:

    R_Rob(theta) <= R_ID(theta) + |theta - theta0|^2 / (2 n sigma^2)       (A) proximity
                  + (sigma^2 / 2) Tr Hess R_Rob                            (B) sharpness
                  + max over s, t in S of d(D_s, D_t) + lambda*            (C) discrepancy

(A) falls and (B) rises with ``sigma^2``; their sum is least where they are equal. A loss that is
not bounded by 1 makes the right side a comparison of checkpoints, not a certificate.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.geometry.centroids import (
    ClassStatistics,
    Discrepancy,
    by_class,
    discrepancy,
    shared,
)
from grace_geom.geometry.trace import StochasticEstimate


@dataclass(frozen=True)
class Balance:
    """Where (A) and (B) are equal.

    Attributes:
        sigma: ``(D^2 / (n Tr H))^(1/4)``; ``nan`` where the trace is not positive, 0 where nothing
            moved.
        term: Their common value ``D sqrt(Tr H / n) / 2``; the sum, which is twice that, is least
            over sigma.
        error: Standard error of ``term``, from that of the trace.
    """

    sigma: float
    term: float
    error: float


def proximity(distance: float, n: int, sigma: float) -> float:
    """(A): ``|theta - theta0|^2 / (2 n sigma^2)``, the Kullback-Leibler divergence of two Gaussians
    over n.

    Args:
        distance: ``|theta - theta0|``.
        n: Training images.
        sigma: Standard deviation of every weight.

    Raises:
        ValueError: If n or sigma is not positive.
    """
    if n < 1 or sigma <= 0:
        raise ValueError(f"(A) needs n >= 1 and sigma > 0, not n = {n}, sigma = {sigma}")
    return distance**2 / (2 * n * sigma**2)


def sharpness_term(trace: StochasticEstimate, sigma: float) -> StochasticEstimate:
    """(B): ``(sigma^2 / 2) Tr H``; negative where the mean curvature is."""
    half = sigma**2 / 2
    return StochasticEstimate(
        half * trace.value, half * trace.error, trace.estimator, trace.products, trace.freedom
    )


def balance(distance: float, n: int, trace: StochasticEstimate) -> Balance:
    """The ``sigma`` at which (A) and (B) are equal, which makes their sum least, and their value
    there.
    """
    if not trace.value > 0:
        return Balance(math.nan, math.nan, math.nan)
    term = distance * math.sqrt(trace.value / n) / 2
    sigma = (distance**2 / (n * trace.value)) ** 0.25
    return Balance(sigma, term, term * trace.error / (2 * trace.value))


def head_lipschitz(head: Float[Tensor, " k d"]) -> float:
    """``L_f``: the largest ratio of a change of the logits to a change of the feature,
    ``|s T|_2`` of a linear head."""
    return torch.linalg.matrix_norm(head.double(), ord=2).item()


def every_pair(domains: Mapping[str, ClassStatistics]) -> dict[tuple[str, str], Discrepancy]:
    """The discrepancies whose largest is (C), without its factor ``2 L_f``, all over the same
    classes.

    These are the classes with two images in *every* domain: a maximum over pairs compares domains
    only if no pair counts a class that another leaves out. NaN where there is none.
    """
    common = shared(*domains.values(), at_least=2)
    return {
        (s, t): discrepancy(domains[s], domains[t], among=common)
        for s, t in combinations(domains, 2)
    }


def sampling_floor(
    X: Float[Tensor, " n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    splits: int = 10,
    seed: int = 0,
) -> float:
    """What two samples of n images of *one* distribution give for the plug-in total of Lemma 3.2.

    From ``splits`` random halves of the sample. Half as many images make the squared distance of
    means twice as noisy and the distance of covariances sqrt 2 times, which is taken back. NaN
    where no half has two images of a class.
    """
    generator = torch.Generator().manual_seed(seed)
    totals = []
    for _ in range(splits):
        order = torch.randperm(len(X), generator=generator)
        one, other = (by_class(X[rows], labels[rows], classes) for rows in order.tensor_split(2))
        d = discrepancy(one, other)
        totals.append(d.centroid / 2 + d.covariance / math.sqrt(2))
    return torch.tensor(totals, dtype=torch.float64).nanmean().item()
