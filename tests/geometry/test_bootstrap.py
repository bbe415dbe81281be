"""Half-sampling intervals: the textbook error of a mean, coverage, and why there are no duplicates
in them.
"""

import math

import numpy as np
import pytest
import torch

from grace_geom.geometry.bootstrap import Interval, half_sample, jackknife
from grace_geom.geometry.cka import cka
from grace_geom.geometry.procrustes import procrustes
from tests.geometry.test_cka import gaussian


@pytest.mark.parametrize("n", [200, 31])
def test_error_of_a_mean_is_the_textbook_one(n: int):
    x = gaussian(n, 1)[:, 0]
    found = half_sample(lambda rows: x[rows].mean(), [n], replicates=4000)
    assert found.value == pytest.approx(x.mean().item())
    assert found.error == pytest.approx(x.std().item() / math.sqrt(n), rel=0.06)
    assert found.low < found.value < found.high


def test_independent_samples_are_drawn_independently():
    x, y = gaussian(100, 1, 0)[:, 0], 3 * gaussian(150, 1, 1)[:, 0]
    found = half_sample(lambda i, j: x[i].mean() - y[j].mean(), [100, 150], replicates=4000)
    assert found.error == pytest.approx(
        math.sqrt(x.var().item() / 100 + y.var().item() / 150), rel=0.06
    )


def test_interval_covers_the_truth_as_often_as_it_says():
    covered = []
    for seed in range(120):
        x = gaussian(80, 1, seed)[:, 0]
        found = half_sample(lambda rows, x=x: x[rows].mean(), [80], replicates=200, seed=seed)
        covered.append(bool(found.low <= 0 <= found.high))
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 120) + 0.01)


def test_cka_of_independent_features_keeps_zero_inside_where_duplicates_would_not():
    X, Y = gaussian(100, 50, 0), gaussian(100, 50, 1)
    found = half_sample(lambda rows: cka(X[rows], Y[rows]), [100], replicates=100)
    assert found.low < 0 < found.high
    rng = np.random.default_rng(0)
    doubled = [torch.from_numpy(rng.integers(0, 100, 100)) for _ in range(20)]
    assert (
        min(cka(X[rows], Y[rows]) for rows in doubled) > found.high
    )  # what the usual bootstrap would report


def test_arrays_keep_their_shape_and_the_seed_decides():
    X = gaussian(20, 3)
    a, b, c = (half_sample(lambda rows: X[rows].mean(dim=0), [20], 30, seed) for seed in (0, 0, 1))
    assert a.value.shape == a.low.shape == (3,)
    assert np.array_equal(a.low, b.low) and not np.array_equal(a.low, c.low)


def test_undefined_half_samples_leave_no_interval():
    found = half_sample(lambda rows: math.nan if len(rows) < 10 else 1.0, [10], 20)
    assert found.value == 1.0 and math.isnan(found.low) and math.isnan(found.error)
    lone = half_sample(lambda rows: 1.0, [1], 20)
    assert lone.value == 1.0 and math.isnan(lone.high)


def test_halves_too_small_to_scatter_leave_no_interval():
    X, Y = gaussian(5, 8, 0), gaussian(5, 8, 1)  # two centred rows always match: d = 0 in any half
    found = half_sample(lambda rows: procrustes(X[rows], Y[rows]), [5], 20)
    assert found.value > 0.01 and math.isnan(found.error) and math.isnan(found.low)
    exact = half_sample(lambda rows: procrustes(X[rows], X[rows]), [5], 20)
    assert exact.low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n", [20, 23])
def test_the_jackknife_takes_the_bias_out_of_a_plugged_in_variance(n: int):
    """The mean square about the mean is too small by (n - 1) / n, and leaving groups out tells
    that: the corrected value is the unbiased variance on average, and its error the textbook's.
    """
    found = [
        jackknife(lambda rows, x=x: x[rows].var(correction=0), n, seed=seed)
        for seed in range(400)
        for x in [gaussian(n, 1, seed)[:, 0]]
    ]
    values = np.array([float(one.value) for one in found])
    assert values.mean() == pytest.approx(1, abs=3 * values.std() / 20)
    assert np.mean([float(one.error) for one in found]) == pytest.approx(values.std(), rel=0.15)


def noisy_pair(n: int, d: int, seed: int, noise: float = 0.3) -> Interval:
    """Procrustes of Gaussian features and the same with noise, whose d^2 is known for infinite n:
    ``2 - 2 / sqrt(1 + noise^2)``.
    """
    X = gaussian(n, d, seed)
    Y = X + noise * gaussian(n, d, seed + 10_000)
    return jackknife(lambda rows: procrustes(X[rows], Y[rows]), n, seed, (0, 2))


KNOWN = 2 - 2 / math.sqrt(1.09)


@pytest.mark.parametrize(("n", "d", "draws"), [(100, 8, 200), (300, 8, 200), (300, 64, 100)])
def test_intervals_of_procrustes_cover_the_population_value(n: int, d: int, draws: int):
    found = [noisy_pair(n, d, seed) for seed in range(draws)]
    values = np.array([float(one.value) for one in found])
    # without a correction 64 dimensions give 0.075 where 0.0843 is true, and no interval covers
    assert abs(values.mean() - KNOWN) < 3 * values.std() / math.sqrt(draws) + 0.003 * KNOWN
    covered = np.mean([bool(one.low <= KNOWN <= one.high) for one in found])
    assert abs(covered - 0.95) <= 0.02 + 3 * math.sqrt(0.95 * 0.05 / draws)


def test_too_few_images_for_a_correction_leave_no_interval():
    for n, d in ((5, 8), (30, 64)):
        found = noisy_pair(n, d, 0)
        assert 0 <= found.value <= 2 and math.isnan(found.low) and math.isnan(found.error)
    X = gaussian(40, 8)
    same = jackknife(lambda rows: procrustes(X[rows], X[rows]), 40, bounds=(0, 2))
    assert (same.low, same.high) == pytest.approx((0, 0), abs=1e-9)
    lone = jackknife(lambda rows: 1.0, 2)
    assert lone.value == 1.0 and math.isnan(lone.high)
    three = jackknife(lambda rows: X[rows].mean(), 3)
    assert three.low < three.value < three.high, "three groups are enough"
