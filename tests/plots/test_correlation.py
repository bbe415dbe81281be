"""Rank correlations over runs, and what their noise allows."""

import itertools

import numpy as np
import pytest

from grace_geom.plots import correlation
from grace_geom.plots.legend import Identity, Legend
from grace_geom.records import Estimate, rank_correlation, rank_range


def test_rank_correlation_is_scipy_s():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, 12), rng.integers(0, 6, 12)  # with ties
    assert rank_correlation(x, y).rho == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None


def test_a_rank_correlation_comes_with_what_its_noise_allows():
    from scipy.stats import spearmanr

    x, sure = (
        [1.0, 2.0, 3.0, 4.0, 5.0],
        [Estimate(v, 0, v - 1e-6, v + 1e-6) for v in (0.5, 0.4, 0.3, 0.2, 0.1)],
    )
    assert rank_range(x, sure) == pytest.approx((-1, -1))
    # three that noise alone tells apart: all six orders are equally likely, those of the clear two
    # are fixed
    same = [Estimate(v, 0, 0.1 - 0.01, 0.1 + 0.01) for v in (0.101, 0.1, 0.099)]
    orders = [spearmanr(x, [9, 8, *order]).statistic for order in itertools.permutations((1, 2, 3))]
    low, high = rank_range(x, [*sure[:2], *same])
    assert (low, high) == pytest.approx((min(orders), max(orders)))
    said = correlation.together(x, [*sure[:2], *same])
    # 2 of the 120 orders of five runs correlate as strongly
    assert said == (
        f"r_s = -1.00, p = 0.017 of 5 runs; -1.00 to {max(orders):+.2f} if each accuracy moves within "
        "its own interval, which says nothing of other runs"
    ).replace("-", "−")
    four = correlation.together(x[:4], sure[:4])
    assert "4 runs in one order have p = 0.083: too few for a test" in four
    assert correlation.together(x[:3], sure[:3]) == ""


def test_the_sentence_says_where_the_best_run_stands():
    y = {run: Estimate(v, 0, v, v) for run, v in (("a", 0.1), ("b", 0.7), ("c", 0.3))}
    names = {"a": "a", "b": "b", "c": "c"}
    said = correlation.sentence(correlation.LINKS[0], y, {"a": 0.2, "b": 0.5, "c": 0.9}, names, "a")
    assert (
        "**b**, best at 70.0 % Adv, has the second highest class-centroid cosine ID→Adv of 3: 0.5 "
        "(baseline 0.2)" in said
    )
    legend = Legend.of({run: Identity("ft", run) for run in y}, names)
    axes = correlation.relation(correlation.LINKS[0], y, dict.fromkeys(y, 0.5), legend).layout
    assert axes.xaxis.title.text == "Class-centroid cosine ID→Adv"
    assert axes.yaxis.title.text == "Accuracy under attack, Adv (%)"
