import math

import numpy as np
import pytest
import torch

from grace_geom.geometry.drift import correlation, matrix_drift, relative_drift


def test_a_low_rank_change_has_its_norm_and_ranks():
    g = torch.Generator().manual_seed(0)
    W0 = torch.randn(12, 9, generator=g)
    U = torch.linalg.qr(torch.randn(12, 3, generator=g, dtype=torch.float64))[0]
    V = torch.linalg.qr(torch.randn(9, 3, generator=g, dtype=torch.float64))[0]
    s = torch.tensor([2.0, 1.0, 1.0]).double()
    drift = matrix_drift(W0.double() + U @ s.diag() @ V.T, W0)
    assert drift.norm == pytest.approx(6**0.5)
    assert drift.relative == pytest.approx(6**0.5 / W0.norm().item(), rel=1e-6)
    assert drift.singular_values[:3].tolist() == pytest.approx([2, 1, 1])
    assert drift.effective_rank == pytest.approx(2 * 2**0.5, rel=1e-6)  # entropy of (1/2, 1/4, 1/4)
    assert drift.stable_rank == pytest.approx(1.5)


def test_nothing_moved():
    drift = matrix_drift(torch.ones(3, 2), torch.ones(3, 2))
    assert (drift.relative, drift.effective_rank, drift.stable_rank) == (0, 0, 0)
    assert math.isnan(matrix_drift(torch.ones(2), torch.zeros(2)).relative)


def test_whole_drift_is_that_of_the_concatenation():
    a = {"u": torch.tensor([3.0, 4.0]), "v": torch.zeros(2, 2)}
    b = {"u": torch.tensor([3.0, 5.0]), "v": torch.full((2, 2), 1.0), "head": torch.ones(3)}
    assert relative_drift(b, a) == pytest.approx(5**0.5 / 5)
    with pytest.raises(ValueError, match="missing"):
        relative_drift(a, b)


def test_correlation_is_numpy_s_and_its_interval_fisher_s():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    y = -x + rng.normal(size=20)
    found = correlation(x.tolist(), y.tolist())
    r = np.corrcoef(x, y)[0, 1]
    assert found.r == pytest.approx(r)
    assert found.low == pytest.approx(np.tanh(np.arctanh(r) - 1.959964 / 17**0.5))
    assert math.isnan(correlation([1, 2], [1, 2]).r)
    assert math.isnan(correlation([1, 1, 1], [1, 2, 3]).r)
