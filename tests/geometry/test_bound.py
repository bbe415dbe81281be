"""The bound's terms against closed forms, a scan over sigma, scipy's norm and pairs by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from grace_geom.geometry.bound import (
    balance,
    every_pair,
    head_lipschitz,
    proximity,
    sampling_floor,
    sharpness_term,
)
from grace_geom.geometry.centroids import by_class, discrepancy
from grace_geom.geometry.sharpness import average_case
from grace_geom.geometry.trace import StochasticEstimate
from tests.geometry.test_cka import gaussian
from tests.geometry.test_sharpness import DIM, quadratic


def test_proximity_is_the_divergence_of_two_gaussians_over_n():
    rng = np.random.default_rng(0)
    delta, sigma = rng.normal(size=4), 0.7
    posterior, prior = (
        multivariate_normal(mean, sigma**2 * np.eye(4)) for mean in (delta, np.zeros(4))
    )
    draws = posterior.rvs(200_000, random_state=1)
    gaps = posterior.logpdf(draws) - prior.logpdf(draws)
    error = gaps.std() / len(gaps) ** 0.5 / 50
    assert abs(proximity(float(np.linalg.norm(delta)), 50, sigma) - gaps.mean() / 50) < 4 * error


def test_sharpness_term_of_a_quadratic_is_its_expected_rise():
    objective, weights, _, H = quadratic(torch.linspace(-1, 5, DIM))
    sigma = 0.2
    B = sharpness_term(StochasticEstimate(float(H.trace()), 0.1, "exact", 0), sigma)
    rise = average_case(objective, weights, sigma * DIM**0.5, samples=400)
    assert abs(B.value - rise.value) < 4 * rise.error
    assert B.error == pytest.approx(0.02 * 0.1)


def test_balance_is_where_the_sum_is_least():
    trace = StochasticEstimate(30.0, 3.0, "", 0)
    found = balance(2.0, 100, trace)
    sums = {
        s: proximity(2.0, 100, s) + sharpness_term(trace, s).value
        for s in np.geomspace(1e-3, 10, 4001)
    }
    best = min(sums, key=sums.__getitem__)
    assert found.sigma == pytest.approx(best, rel=3e-3)
    assert 2 * found.term == pytest.approx(sums[best], rel=1e-5)
    up = balance(2.0, 100, StochasticEstimate(30.03, 0, "", 0)).term
    assert found.error == pytest.approx((up - found.term) / 0.03 * 3, rel=1e-3)


def test_without_positive_curvature_nothing_balances():
    assert math.isnan(balance(2.0, 100, StochasticEstimate(-1.0, 0.1, "", 0)).sigma)
    assert balance(0.0, 100, StochasticEstimate(3.0, 0.1, "", 0)).term == 0


def test_lipschitz_constant_is_reached_and_never_passed():
    T = gaussian(5, 8)
    slope = head_lipschitz(T)
    steps = gaussian(2000, 8, seed=1)
    assert ((steps @ T.T).norm(dim=1) <= slope * steps.norm(dim=1) * (1 + 1e-12)).all()
    top = torch.linalg.eigh(T.T @ T)[1][:, -1]
    assert (T @ top).norm().item() == pytest.approx(slope)


def test_a_shift_is_its_square_between_every_two_domains():
    X, y = gaussian(60, 3), torch.arange(60) % 2
    domains = {
        name: by_class(X + shift, y, 2)
        for name, shift in (("id", 0.0), ("near", 0.1), ("far", -1.0))
    }
    every = every_pair(domains)
    gaps = {("id", "near"): 0.1, ("id", "far"): 1.0, ("near", "far"): 1.1}
    assert {pair: d.total for pair, d in every.items()} == pytest.approx(
        {k: 3 * v**2 for k, v in gaps.items()}
    )
    alone = by_class(X[:1], y[:1], 2)
    assert all(math.isnan(d.total) for d in every_pair(domains | {"other": alone}).values())


def test_every_pair_counts_the_same_classes():
    """A class that one domain lacks, and that lies far apart in the two others, belongs to none of
    the pairs.
    """
    X, y = gaussian(60, 3), torch.arange(60) % 3
    moved = X + 10.0 * (y == 2)[:, None]
    domains = {
        "id": by_class(X, y, 3),
        "far": by_class(moved, y, 3),
        "few": by_class(X[y < 2], y[y < 2], 3),
    }
    every = every_pair(domains)
    assert {d.classes for d in every.values()} == {2}
    assert {pair: d.total for pair, d in every.items()} == pytest.approx(dict.fromkeys(every, 0.0))


def test_floor_is_what_two_samples_of_one_distribution_give():
    X, y = gaussian(400, 6), torch.arange(400) % 4
    found = [
        discrepancy(by_class(gaussian(400, 6, seed=s), y, 4), by_class(X, y, 4)).total
        for s in range(1, 9)
    ]
    floor = sampling_floor(X, y, 4, splits=20)
    assert floor == pytest.approx(np.mean(found), rel=0.15)


def test_a_half_without_two_images_of_a_class_is_left_out_of_the_floor():
    X = gaussian(8, 3)
    assert (
        sampling_floor(X, torch.arange(8) // 4, 2) > 0
    )  # some of ten halves share no class with two images
    assert math.isnan(sampling_floor(X, torch.arange(8), 8))


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="sigma > 0"):
        proximity(1.0, 10, 0.0)
