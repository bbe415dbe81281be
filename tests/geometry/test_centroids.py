"""Class centroids, scatter and Lemma 3.2's terms against numpy class by class."""

import math

import numpy as np
import pytest
import torch

from grace_geom.geometry.centroids import by_class, centroid_cosines, discrepancy, scatter, shared
from tests.geometry.test_cka import gaussian


def labelled(n: int, d: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % classes
    return gaussian(n, d, seed) + gaussian(classes, d, 99)[labels] * 3, labels


def test_centroid_cosines_of_the_shared_classes():
    X, x = labelled(30, 4, 3)
    Y, y = labelled(20, 4, 2, seed=1)  # class 2 is absent
    a, b = by_class(X, x, 3), by_class(Y, y, 3)
    assert shared(a, b).tolist() == [0, 1]
    expected = [
        np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
        for u, v in ((X[x == c].numpy().mean(0), Y[y == c].numpy().mean(0)) for c in (0, 1))
    ]
    assert centroid_cosines(a, b).tolist() == pytest.approx(expected)


def test_cosine_of_a_set_with_itself_is_one():
    a = by_class(*labelled(30, 4, 3), 3)
    assert centroid_cosines(a, a).tolist() == pytest.approx([1.0] * 3)


def test_scatter_adds_up_to_the_total_variance():
    X, labels = labelled(31, 4, 3)
    s = scatter(by_class(X, labels, 3))
    assert s.within + s.between == pytest.approx((X - X.mean(0)).square().sum(1).mean().item())
    assert s.separation == pytest.approx(s.between / s.within)
    points = scatter(by_class(torch.eye(2), torch.tensor([0, 1]), 2))
    assert (
        points.within == 0
        and points.between == pytest.approx(0.5)
        and math.isnan(points.separation)
    )


def test_lemma_terms_are_those_of_numpy():
    X, x = labelled(37, 3, 3)
    Y, y = labelled(26, 3, 3, seed=1)
    found = discrepancy(by_class(X, x, 3), by_class(Y + 1.0, y, 3))
    centroid = covariance = 0.0
    for c in range(3):
        A, B = X[x == c].numpy(), Y[y == c].numpy() + 1.0
        difference = np.cov(A.T) - np.cov(B.T)
        centroid += len(A) / 37 * np.sum((A.mean(0) - B.mean(0)) ** 2)
        covariance += len(A) / 37 * np.sqrt(np.trace(difference @ difference))
    assert found.centroid == pytest.approx(centroid) and found.covariance == pytest.approx(
        covariance
    )
    assert found.total == pytest.approx(centroid + covariance) and found.classes == 3


def test_the_unbiased_centroid_term_is_zero_for_one_distribution():
    n, d, draws = 40, 5, 200
    found = []
    for seed in range(draws):
        a, b = (
            by_class(gaussian(n, d, 2 * seed + s), torch.zeros(n, dtype=torch.long), 1)
            for s in (0, 1)
        )
        found.append(discrepancy(a, b))
    unbiased = np.array([f.centroid_unbiased for f in found])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / math.sqrt(draws)
    assert np.mean([f.centroid for f in found]) == pytest.approx(
        2 * d / n, rel=0.2
    )  # what sampling alone adds


def test_paired_sets_give_the_square_of_their_shift():
    X, x = labelled(30, 4, 3)
    a = by_class(X, x, 3)
    assert discrepancy(a, by_class(X + 0.3, x, 3), paired=True).centroid_unbiased == pytest.approx(
        4 * 0.3**2
    )
    assert discrepancy(a, a, paired=True).centroid_unbiased == 0
    with pytest.raises(ValueError, match="same labels"):
        discrepancy(a, by_class(X, x.flip(0), 3), paired=True)


def test_the_paired_term_is_unbiased_where_every_image_moves_differently():
    n, d, draws = 20, 5, 200
    y, found = torch.zeros(n, dtype=torch.long), []
    for seed in range(draws):
        X = gaussian(n, d, 2 * seed)
        moved = X + 0.2 + 0.5 * gaussian(n, d, 2 * seed + 1)
        found.append(
            discrepancy(by_class(X, y, 1), by_class(moved, y, 1), paired=True).centroid_unbiased
        )
    assert abs(np.mean(found) - d * 0.2**2) < 4 * np.std(found) / math.sqrt(draws)


def test_a_class_with_one_image_does_not_count():
    X, x = labelled(10, 3, 2)
    lone = by_class(X[:1], x[:1], 2)
    found = discrepancy(by_class(X, x, 2), lone)
    assert found.classes == 0 and math.isnan(found.total)
    assert lone.variance().isnan().all() and lone.covariance(0).isnan().all()
