"""Intervals and tests against scipy's own, enumeration, and what they promise: coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from grace_geom.records.statistics import (
    correlations,
    half_width,
    rank_correlation,
    rankdata_of_rows,
    wilson,
)


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


@pytest.mark.parametrize("n", [2, 24, 200])
def test_no_share_is_known_worse_than_half_a_width_says(n: int):
    widths = [high - low for low, high in (wilson(k, n) for k in range(n + 1))]
    assert half_width(n) == pytest.approx(max(widths) / 2)


@pytest.mark.parametrize(("correct", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(correct: int, n: int):
    with pytest.raises(ValueError, match="proportion"):
        wilson(correct, n)


def test_rank_correlation_is_scipys_with_all_orders_counted():
    rng = np.random.default_rng(0)
    for n in (4, 5):
        x, y = rng.random(n), rng.integers(0, 4, n)
        peer = stats.permutation_test(
            (x,), lambda x, y=y: stats.spearmanr(x, y).statistic, permutation_type="pairings"
        )
        found = rank_correlation(x, y)
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.p == pytest.approx(peer.pvalue)


def test_four_runs_in_one_order_are_no_evidence_and_many_use_students_approximation():
    found = rank_correlation([1, 2, 3, 4], [4, 3, 2, 1])
    assert (found.rho, found.p, found.least) == pytest.approx((-1, 2 / 24, 2 / 24))
    x = np.random.default_rng(1).random((2, 20))
    assert rank_correlation(*x).p == pytest.approx(stats.spearmanr(*x).pvalue)
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None


def test_a_coverage_is_a_fraction():
    with pytest.raises(ValueError, match=r"0\.95"):
        wilson(1, 2, level=95)


def test_ranks_and_correlations_of_many_rows_are_scipys():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 7))
    rows[::3] = rows[::3].round()  # equals among them
    ranks = rankdata_of_rows(rows)
    assert (ranks == stats.rankdata(rows, axis=1)).all()
    assert len(np.unique(ranks[0])) < 7 == len(np.unique(ranks[1]))
    a = rng.normal(size=7)
    peers = [stats.pearsonr(a, row).statistic for row in rows]
    assert correlations(a, rows) == pytest.approx(peers, abs=1e-12)
