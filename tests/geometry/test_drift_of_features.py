"""Procrustes and Gram drift: closed forms, invariances, and the mean shift that CKA cannot see."""

import math

import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from grace_geom.geometry.cka import cka
from grace_geom.geometry.gram import gram_drift
from grace_geom.geometry.procrustes import procrustes
from tests.geometry.test_cka import gaussian


@pytest.mark.parametrize("n, d", [(40, 6), (6, 40)])
def test_procrustes_is_what_the_best_rotation_leaves(n: int, d: int):
    X, Y = gaussian(n, d, 0) + 5.0, gaussian(n, d, 1)
    A, B = ((Z - Z.mean(dim=0)) / (Z - Z.mean(dim=0)).norm() for Z in (X, Y))
    R, _ = orthogonal_procrustes(A.numpy(), B.numpy())
    assert procrustes(X, Y) == pytest.approx(
        (A @ torch.from_numpy(R) - B).square().sum().item(), rel=1e-9
    )


def test_procrustes_forgets_rotation_scale_shift_and_empty_columns():
    X = gaussian(30, 5)
    Q = torch.linalg.qr(gaussian(5, 5, 1)).Q
    wide = torch.cat([X @ Q * 7 + 2, torch.zeros(30, 3, dtype=torch.float64)], dim=1)
    assert procrustes(X, wide) == pytest.approx(0.0, abs=1e-12)


def test_orthogonal_signals_are_at_distance_two():
    X = torch.tensor([[1.0, 0], [-1, 0], [0, 0], [0, 0]])
    Y = torch.tensor([[0.0, 0], [0, 0], [0, 1], [0, -1]])
    assert procrustes(X, Y) == pytest.approx(2.0)
    drift = gram_drift(X, Y, centre=True)
    assert drift.chord == pytest.approx(math.sqrt(2)) and drift.angle == pytest.approx(math.pi / 2)


def test_gram_drift_is_that_of_the_gram_matrices():
    X, Y = gaussian(20, 4, 0) + 1.0, gaussian(20, 30, 1) - 0.5
    U, V = (Z / Z.norm(dim=1, keepdim=True) for Z in (X, Y))
    Ga, Gb = U @ U.T, V @ V.T
    drift = gram_drift(X, Y, centre=False)
    assert drift.chord == pytest.approx((Ga / Ga.norm() - Gb / Gb.norm()).norm().item(), rel=1e-9)
    assert drift.log_norm_ratio == pytest.approx((Gb.norm() / Ga.norm()).log().item(), rel=1e-9)


def test_centred_gram_cosine_is_the_biased_cka():
    X, Y = gaussian(20, 4, 0), gaussian(20, 5, 1)
    assert math.cos(gram_drift(X, Y, centre=True).angle) == pytest.approx(
        cka(X, Y, debiased=False), rel=1e-9
    )


def test_uncentred_gram_sees_a_mean_shift_that_cka_cannot():
    X = gaussian(50, 8)
    Y = X + 4.0
    assert cka(X, Y) == pytest.approx(1.0)
    assert gram_drift(X, Y, centre=True).chord < 1e-6
    assert gram_drift(X, Y, centre=False).chord > 0.5


def test_log_norm_ratio_of_doubled_features():
    X = gaussian(30, 4)
    assert gram_drift(X, 2 * X, centre=True).log_norm_ratio == pytest.approx(math.log(4))
    assert gram_drift(X, 2 * X, centre=False).log_norm_ratio == pytest.approx(0, abs=1e-12)


def test_constant_and_nan_features_are_nan():
    X, constant, bad = gaussian(10, 3), torch.ones(10, 3), gaussian(10, 3)
    bad[2, 1] = torch.nan
    for Z in (constant, bad):
        assert math.isnan(procrustes(X, Z)) and math.isnan(gram_drift(X, Z, centre=True).chord)
    with pytest.raises(ValueError, match="not paired"):
        procrustes(X, X[:9])
