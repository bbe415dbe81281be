"""Concentration of curvature against definitions by pairs, entropies by scipy, and a dense
matrix."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from grace_geom.geometry.concentration import (
    entropy_rank,
    gini,
    jackknife,
    over_directions,
    over_matrices,
)
from grace_geom.geometry.krylov import Krylov
from grace_geom.geometry.lanczos import eigenpairs
from grace_geom.geometry.trace import hutchinson
from tests.geometry import nets
from tests.geometry.test_cka import gaussian
from tests.geometry.test_lanczos import start

LIKE = torch.empty(0, dtype=torch.float64)


def test_gini_is_the_mean_absolute_difference_of_pairs():
    x = gaussian(9, 1)[:, 0].abs()
    pairs = (x[:, None] - x[None]).abs().mean() / (2 * x.mean())
    assert gini(x) == pytest.approx(pairs.item())
    assert gini(torch.ones(7)) == pytest.approx(0)
    assert gini(torch.tensor([0.0, 0, 0, 5])) == pytest.approx(3 / 4)


def test_entropy_rank_is_scipy_s_entropy_and_its_limits():
    x = gaussian(9, 1)[:, 0].abs()
    assert entropy_rank(x) == pytest.approx(math.exp(stats.entropy(x.numpy())))
    assert entropy_rank(torch.ones(7)) == pytest.approx(7)
    assert entropy_rank(torch.tensor([0.0, 3, 0])) == pytest.approx(1)


def test_negative_traces_count_as_nothing_and_all_negative_has_no_number():
    assert gini(torch.tensor([-4.0, 1, 3])) == gini(torch.tensor([0.0, 1, 3]))
    assert math.isnan(gini(-torch.ones(3))) and math.isnan(entropy_rank(-torch.ones(3)))
    found = over_matrices(torch.tensor([[1.0, -2, 3], [1.0, -3, 2]]))
    assert "1 of them negative" in found["gini"].estimator


def test_jackknife_of_a_mean_is_its_standard_error():
    X = gaussian(30, 2)
    found = jackknife(lambda m: m[0].item(), X, "first")
    assert found.value == pytest.approx(X[:, 0].mean().item())
    assert found.error == pytest.approx(X[:, 0].std().item() / 30**0.5)


def test_jackknife_error_is_the_scatter_over_repetitions():
    true = torch.tensor([8.0, 4, 2, 1, 1])
    found = [
        over_matrices(true + 0.5 * gaussian(20, 5, seed=s))["effective_matrices"]
        for s in range(200)
    ]
    scatter = np.std([e.value for e in found])
    assert np.mean([e.error for e in found]) == pytest.approx(scatter, rel=0.15)


def test_numbers_of_the_network_s_hessian_are_the_dense_ones():
    H = nets.dense_hessian()
    H = (H + H.T) / 2
    lams = torch.linalg.eigvalsh(H).flip(0)
    krylov = Krylov(start(len(H)))
    pairs = eigenpairs(lambda v: H @ v, krylov, top=5, rtol=1e-8)
    _, weights = nets.make()
    probed = hutchinson(
        lambda v: H @ v, LIKE, {n: w.numel() for n, w in weights.items()}, 200, 0, krylov
    )
    found = over_directions(pairs.values.tolist(), probed, len(H))
    truth = {
        "lambda_1/mean": lams[0] / lams.mean(), "lambda_1/lambda_5": lams[0] / lams[4],
        "top_share": lams[:5].square().sum() / lams.square().sum(),
    }  # fmt: skip
    for key, value in truth.items():
        error = 4 * found[key].error if math.isfinite(found[key].error) else 1e-5 * value.item()
        assert abs(found[key].value - value.item()) <= error + 1e-9
    assert "lambda_1/lambda_5" not in over_directions(pairs.values[:4].tolist(), probed, len(H))
    blocks = torch.stack([b.diagonal().sum() for b in diagonal_blocks(H, weights)])
    spread = over_matrices(probed.samples)
    assert abs(spread["gini"].value - gini(blocks)) < 4 * spread["gini"].error
    assert (
        abs(spread["effective_matrices"].value - entropy_rank(blocks))
        < 4 * spread["effective_matrices"].error
    )


def diagonal_blocks(H: torch.Tensor, weights) -> list[torch.Tensor]:
    ends = np.cumsum([0, *(w.numel() for w in weights.values())])
    return [H[a:b, a:b] for a, b in pairwise(ends)]
