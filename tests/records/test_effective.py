"""The line against scipy's regression, its band against simulated coverage."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import linregress

from grace_geom.records import Accuracy, RecordError, wilson
from grace_geom.records.effective import effective_robustness, fit_line, share_of

N = 10**6


def accuracy(share: float, suite: str = "id", n: int = N) -> Accuracy:
    k = round(share * n)
    return Accuracy(suite, "d", "npz:d", n, k, k / n, *wilson(k, n), 0.0)


def models(count: int, seed: int, noise: float = 0.05) -> list[tuple[Accuracy, Accuracy]]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.2, 1.4, count)
    y = -0.6 + 0.8 * x + noise * rng.normal(size=count)
    return [(accuracy(ndtr(a)), accuracy(ndtr(b), "ood")) for a, b in zip(x, y, strict=True)]


def test_the_line_is_scipys_on_probit_axes():
    pairs = models(7, 0)
    line = fit_line(pairs)
    expected = linregress(*([ndtri(share_of(p[i])) for p in pairs] for i in (0, 1)))
    assert (line.slope, line.intercept) == pytest.approx((expected.slope, expected.intercept))
    assert line.r2 == pytest.approx(expected.rvalue**2)
    x0 = float(ndtri(0.8))
    foretold, low, high = line.at(0.8)
    assert foretold == pytest.approx(ndtr(expected.intercept + x0 * expected.slope))
    t = 2.570581835636314  # Student's for 5 degrees of freedom
    xs = np.array([ndtri(share_of(a)) for a, _ in pairs])
    spread = np.hypot(expected.intercept_stderr, x0 * expected.stderr)  # and their covariance
    spread = np.sqrt(spread**2 - 2 * x0 * xs.mean() * expected.stderr**2)
    assert (ndtri(low), ndtri(high)) == pytest.approx(
        (ndtri(foretold) - t * spread, ndtri(foretold) + t * spread), rel=1e-6
    )


def test_models_on_the_line_have_none_and_those_above_have_their_distance():
    line = fit_line(models(6, 1, noise=1e-9))
    on, above = float(ndtr(-0.6 + 0.8 * ndtri(0.75))), 0.9
    assert effective_robustness(line, accuracy(0.75), accuracy(on)).value == pytest.approx(
        0, abs=1e-5
    )
    found = effective_robustness(line, accuracy(0.75), accuracy(above))
    assert found.value == pytest.approx(above - on, abs=1e-5) and found.low > 0


def test_the_band_covers_the_true_line():
    truth, draws = float(ndtr(-0.6 + 0.8 * ndtri(0.85))), 400
    inside = 0
    for seed in range(draws):
        _, low, high = fit_line(models(5, seed + 10)).at(0.85)
        inside += low <= truth <= high
    assert abs(inside / draws - 0.95) < 4 * np.sqrt(0.05 * 0.95 / draws)


def test_all_wrong_and_all_right_have_a_place_on_the_axes():
    pairs = [(accuracy(s, n=50), accuracy(s / 2, "ood", 50)) for s in (0.0, 0.5, 1.0)]
    found = effective_robustness(fit_line(pairs), *pairs[2])
    assert np.isfinite([found.value, found.low, found.high]).all()


def test_lines_that_do_not_exist_are_refused():
    with pytest.raises(RecordError, match="at least 3 models trained without attack, here are 2"):
        fit_line(models(2, 0))
    with pytest.raises(RecordError, match="all have the same"):
        fit_line([(accuracy(0.5), accuracy(0.4 + i / 10)) for i in range(3)])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_without_a_probit_are_refused(share):
    with pytest.raises(ValueError, match="share_of"):
        fit_line(models(4, 0)).at(share)
