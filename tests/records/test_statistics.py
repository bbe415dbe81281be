"""Intervals and tests against scipy's own, enumeration, and what they promise: coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from grace_geom.records.statistics import bootstrap, harmonic_mean, mean_interval, paired_t, wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (1, 10), (37, 50), (10, 10), (4999, 5000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(correct: int, n: int, level: float):
    peer = stats.binomtest(correct, n).proportion_ci(level, method="wilson")
    assert wilson(correct, n, level) == pytest.approx((peer.low, peer.high), abs=1e-12)


def test_wilson_solves_the_score_equation():
    # The bounds are the p for which |p_hat - p| is exactly z standard errors *of p*.
    for p in wilson(7, 23):
        assert abs(7 / 23 - p) / math.sqrt(p * (1 - p) / 23) == pytest.approx(
            1.959963984540054, rel=1e-9
        )


@pytest.mark.parametrize(("correct", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(correct: int, n: int):
    with pytest.raises(ValueError, match="proportion"):
        wilson(correct, n)


def test_harmonic_mean_of_the_papers_rows():
    # Table 6 of the paper: the last column follows from the first three.
    assert harmonic_mean([63.35, 57.44, 8.82]) == pytest.approx(20.46, abs=0.05)
    assert harmonic_mean([74.21, 57.01, 22.44]) == pytest.approx(39.69, abs=0.05)
    assert harmonic_mean([0.7, 0.0, 0.3]) == 0.0
    with pytest.raises(ValueError, match="harmonic"):
        harmonic_mean([0.7, math.nan])


def test_mean_interval_is_scipys():
    values = [0.71, 0.74, 0.69, 0.73]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx((np.mean(values), low, high))


def test_one_seed_has_no_interval():
    mean, low, high = mean_interval([0.5])
    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)


def test_mean_interval_covers_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(3.0, 2.0, (2000, 3))
    inside = sum(low <= 3.0 <= high for _, low, high in map(mean_interval, samples.tolist()))
    assert abs(inside / 2000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_paired_t_is_scipys():
    a, b = [0.30, 0.28, 0.33], [0.25, 0.26, 0.27]
    peer = stats.ttest_rel(a, b)
    found = paired_t(a, b)
    interval = peer.confidence_interval(0.95)
    assert found.p == pytest.approx(peer.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_paired_t_of_equal_and_of_shifted_values():
    assert paired_t([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]).p == 1.0
    assert paired_t([2.0, 3.0], [1.0, 2.0]).p == 0.0  # always exactly one apart
    assert math.isnan(paired_t([1.0], [2.0]).p)
    with pytest.raises(ValueError, match="pairs"):
        paired_t([1.0, 2.0], [1.0])


def test_bootstrap_of_a_mean_has_the_textbook_width():
    values = np.random.default_rng(1).normal(size=400)
    mean, low, high = bootstrap(values, draws=4000)
    assert mean == values.mean()
    width = 2 * 1.96 * values.std() / math.sqrt(400)
    assert high - low == pytest.approx(
        width, rel=0.08
    )  # 4000 draws: a quantile's own error is about 2 %


def test_bootstrap_resamples_rows_whole_and_by_seed():
    pairs = np.stack([np.arange(50.0), np.arange(50.0) + 1], axis=1)
    assert bootstrap(pairs, lambda rows: float((rows[:, 1] - rows[:, 0]).mean())) == pytest.approx(
        (1.0, 1.0, 1.0)
    )
    assert bootstrap(pairs[:, 0], seed=3) == bootstrap(pairs[:, 0], seed=3)
    assert bootstrap(pairs[:, 0], seed=3) != bootstrap(pairs[:, 0], seed=4)


def test_a_coverage_is_a_fraction():
    with pytest.raises(ValueError, match=r"0\.95"):
        mean_interval([1.0, 2.0], level=95)
