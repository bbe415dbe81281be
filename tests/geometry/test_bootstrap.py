"""Half-sampling intervals: the textbook error of a mean, coverage, and why there are no duplicates
in them.
"""

import math

import numpy as np
import pytest
import torch

from grace_geom.geometry.bootstrap import half_sample
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
