"""The line and both correlations against scipy's."""

import math

import numpy as np
import pytest
from scipy import stats

from grace_geom.records import RecordError
from grace_geom.records.fit import line_of, together

X = [0.1, 0.4, 0.5, 0.9, 1.3, 2.0]
Y = [5.0, 3.5, 4.1, 2.2, 2.4, 0.3]


def test_the_line_and_its_band_are_those_of_least_squares():
    line, known = line_of(X, Y), stats.linregress(X, Y)
    assert line.slope == pytest.approx(known.slope)
    assert line.intercept == pytest.approx(known.intercept)
    # At 0 the band is that of the intercept, whose standard error scipy knows.
    middle, low, high = line.at(0.0)
    half = stats.t.ppf(0.975, len(X) - 2) * known.intercept_stderr
    assert (middle, low, high) == pytest.approx(
        (known.intercept, known.intercept - half, known.intercept + half)
    )


def test_correlations_have_the_intervals_of_fisher_and_of_bonett_and_wright():
    found, known = together(X, Y), stats.pearsonr(X, Y)
    assert found.r == pytest.approx(known.statistic)
    ends = known.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.rank == pytest.approx(stats.spearmanr(X, Y).statistic)
    half = 1.959964 * math.sqrt((1 + found.rank**2 / 2) / 3)
    middle = math.atanh(found.rank)
    assert found.rank_low == pytest.approx(math.tanh(middle - half), rel=1e-6)
    assert found.rank_high == pytest.approx(math.tanh(middle + half), rel=1e-6)
    assert found.clear and found.n == 6
    assert not together([1, 2, 3, 4], [1, 3, 2, 2.5]).clear


def test_too_little_has_no_line_and_no_correlation():
    with pytest.raises(RecordError, match="at least 3 runs, here are 2"):
        line_of([1, 2], [1, 2])
    with pytest.raises(RecordError, match="differ in the number"):
        line_of([0.1, 0.1, 0.1], [1, 2, 3])
    assert together([1, 2, 3], [1, 2, 3]) is None
    assert together([1, 1, 1, 1], [1, 2, 3, 4]) is None
    whole = together(np.arange(5.0), np.arange(5.0))
    assert (whole.low, whole.high) == (1.0, 1.0)
