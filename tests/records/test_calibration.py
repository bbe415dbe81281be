"""ECE against a loop over bins, its interval and that of the means against known truths."""

import numpy as np
import pytest

from grace_geom.records.calibration import ece, scores


def by_hand(confidence, right, bins) -> float:
    total = 0.0
    for m in range(bins):
        here = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if here.any():
            total += here.mean() * abs(right[here].mean() - confidence[here].mean())
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_is_the_sum_over_bins(bins):
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.uniform(0.05, 1, 500), [0.2, 0.4, 0.6, 1.0]])  # edges too
    right = rng.random(504) < confidence**2
    assert ece(confidence, right, bins) == pytest.approx(
        by_hand(confidence, right, bins), abs=1e-12
    )


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    confidence, right = np.array([0.5, 0.6]), np.array([True, False])
    assert ece(confidence, right, bins=2) == pytest.approx((0.5 + 0.6) / 2)  # above: 0.05


def test_the_interval_of_ece_is_the_basic_bootstrap_over_images():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.3, 1, 60)
    right = rng.random(60) < confidence
    value = by_hand(confidence, right, 15)
    draws = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        some = draws.integers(0, 60, 60)
        drawn.append(by_hand(confidence[some], right[some], 15))
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = scores(confidence, confidence, confidence, right)["ece"]
    expected = (value, min(value, max(0.0, 2 * value - high)), max(value, 2 * value - low))
    assert (found["value"], found["ci_low"], found["ci_high"]) == pytest.approx(expected, abs=1e-12)


def test_intervals_cover_the_truth():
    rng, draws, inside = np.random.default_rng(1), 200, np.zeros(2)
    gap, p = 0.15, 0.775  # confidence exceeds accuracy by 0.15 everywhere
    for _ in range(draws):
        confidence = rng.uniform(0.6, 0.95, 400)
        right = rng.random(400) < confidence - gap
        nll = rng.exponential(p, 400)
        found = scores(nll, nll, confidence, right)
        inside += [
            found["nll"]["ci_low"] <= p <= found["nll"]["ci_high"],
            found["ece"]["ci_low"] <= gap <= found["ece"]["ci_high"],
        ]
        assert found["ece"]["ci_low"] <= found["ece"]["value"] <= found["ece"]["ci_high"]
    assert (inside / draws > 0.95 - 4 * np.sqrt(0.05 * 0.95 / draws)).all()
    assert (found["nll"]["value"], found["brier"]["value"]) == (nll.mean(), nll.mean())
