"""Intrinsic dimension: Gaussians of known dimension, a public library's values, duplicates."""

import math

import numpy as np
import pytest
import torch

from grace_geom.geometry import dimension
from grace_geom.geometry.dimension import inverse_lid, lid_mle, lid_sweep, neighbours, two_nn
from tests.geometry.test_cka import gaussian


def embedded(n: int, d: int, D: int, seed: int = 0) -> torch.Tensor:
    """A d-dimensional Gaussian in D dimensions, rotated and shifted."""
    return gaussian(n, d, seed) @ torch.linalg.qr(gaussian(D, d, seed + 1)).Q.T + 50.0


def test_neighbours_are_those_of_all_pairs(monkeypatch):
    X = gaussian(90, 5)
    expected = torch.cdist(X, X).sort(dim=1).values[:, 1:8]
    monkeypatch.setattr(dimension, "BLOCK", 32)  # 90 = 2 * 32 + 26
    found = neighbours(X, 7).distances
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_points_stay_in_the_order_of_the_input_where_some_are_equal():
    X = gaussian(40, 4)
    X[[7, 20, 33]] = X[3].clone()
    X[39] = X[11].clone()
    found = neighbours(X, 5)
    kept = [i for i in range(40) if i not in (7, 20, 33, 39)]
    assert found.rows.tolist() == kept and found.duplicates == 4
    expected = torch.cdist(X[kept], X[kept]).sort(dim=1).values[:, 1:6]
    torch.testing.assert_close(found.distances, expected, rtol=1e-9, atol=1e-12)


def test_distances_survive_an_offset_that_float32_products_do_not():
    X = gaussian(60, 3)
    far = (X + 2000.0).float()
    expected = torch.cdist(far.double(), far.double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = expected.sort(dim=1).values[:, 1]
    torch.testing.assert_close(neighbours(far, 1).distances[:, 0], expected)


def test_values_of_scikit_dimension():
    # scikit-dimension 0.5.0: skdim.id.MLE().fit(X, n_neighbors=20, comb="mle") and
    # skdim.id.TwoNN(discard_fraction=0.1).fit(X), with this X
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 20))
    found = neighbours(torch.from_numpy(X), 20)
    assert lid_mle(found, 20) == pytest.approx(4.691867435199722, rel=1e-9)
    assert two_nn(found) == pytest.approx(4.40489644175993, rel=1e-9)


@pytest.mark.parametrize("d", [2, 5])
def test_known_dimensions_in_a_larger_space(d: int):
    n = 2000
    found = neighbours(embedded(n, d, 30), 20)
    spread = inverse_lid(found).std().item() / inverse_lid(found).mean().item()
    # neighbours overlap: about n/20 of the points are independent; curvature of the density adds a
    # few per cent
    assert lid_mle(found) == pytest.approx(d, rel=4 * spread / math.sqrt(n / 20) + 0.05)
    assert two_nn(found) == pytest.approx(d, rel=4 / math.sqrt(n) + 0.05)


def test_maximum_likelihood_formula_by_hand():
    T = torch.tensor([[1.0, 2.0, 4.0], [1.0, 3.0, 9.0]], dtype=torch.float64)
    found = dimension.Neighbours(T, 0)
    m_inverse = [(math.log(4) + math.log(2)) / 2, (math.log(9) + math.log(3)) / 2]
    assert lid_mle(found, 3) == pytest.approx(2 / sum(m_inverse))
    assert lid_sweep(found, [2, 3, 4]) == pytest.approx(
        {2: 2 / (math.log(2) + math.log(3)), 3: 2 / sum(m_inverse), 4: math.nan}, nan_ok=True
    )


def test_duplicates_are_merged_and_counted():
    X = embedded(300, 3, 10)
    doubled = torch.cat([X, X[:40], X[:1]])
    found = neighbours(doubled, 20)
    assert found.duplicates == 41 and (found.distances > 0).all()
    assert lid_mle(found) == pytest.approx(lid_mle(neighbours(X, 20)))
    assert two_nn(found) == pytest.approx(two_nn(neighbours(X, 20)))


def test_rotation_scale_and_shift_change_no_dimension():
    X = embedded(200, 3, 10)
    Q = torch.linalg.qr(gaussian(10, 10, 5)).Q
    moved = neighbours(X @ Q * 9 - 3, 20)
    assert lid_mle(moved) == pytest.approx(lid_mle(neighbours(X, 20)), rel=1e-9)
    assert two_nn(moved) == pytest.approx(two_nn(neighbours(X, 20)), rel=1e-9)


@pytest.mark.parametrize("kind", ["table", "too many", "equal points"])
def test_neighbours_of_subsets_are_those_of_a_search_among_them(kind: str, monkeypatch):
    X = embedded(80, 3, 10)
    if kind == "too many":
        monkeypatch.setattr(dimension, "TABLE", 79)
    if kind == "equal points":
        X[5] = X[6]
    subsets = dimension.Subsets(X)
    assert (subsets._table is None) == (kind != "table")
    for rows in (torch.arange(80), torch.arange(1, 80, 2), torch.arange(12)):
        found, expected = subsets.neighbours(rows, 20), neighbours(X[rows], 20)
        assert found.duplicates == expected.duplicates
        torch.testing.assert_close(found.distances, expected.distances, rtol=1e-9, atol=1e-12)


def test_too_few_points_and_bad_features():
    few = neighbours(gaussian(6, 3), 20)
    assert few.distances.shape == (6, 5)
    assert math.isnan(lid_mle(few, 20)) and not math.isnan(lid_mle(few, 5))
    one_point = neighbours(torch.ones(30, 4), 20)
    assert (
        one_point.duplicates == 29
        and math.isnan(lid_mle(one_point))
        and math.isnan(two_nn(one_point))
    )
    with pytest.raises(ValueError, match="NaN"):
        neighbours(torch.tensor([[1.0], [math.nan]]), 1)
    with pytest.raises(ValueError, match="at least 2"):
        lid_mle(few, 1)


def test_a_lattice_whose_neighbours_tie_has_no_two_nn():
    square = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    assert math.isnan(two_nn(neighbours(square, 2)))
