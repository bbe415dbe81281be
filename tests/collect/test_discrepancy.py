"""Discrepancies of domains against numpy, class by class, on unit features."""

import numpy as np
import pytest
import torch

from grace_geom.collect.discrepancy import domain_discrepancies
from grace_geom.collect.features import EMBEDDING, Features
from grace_geom.errors import UserError
from tests.geometry.test_cka import gaussian


def features(X: torch.Tensor, labels: torch.Tensor, images: str, name: str) -> Features:
    return Features({EMBEDDING: X.float()}, labels, images, name)


def three() -> dict[str, Features]:
    labels = torch.arange(90) % 3
    means = 2 * gaussian(3, 5, seed=9)
    X = gaussian(90, 5) + means[labels]
    return {
        "id": features(X, labels, "a", "id"),
        "sketch": features(gaussian(60, 5, seed=1) + means[labels[:60]] + 1, labels[:60], "b", "sketch"),
        "adv": features(X + 0.1 * gaussian(90, 5, seed=2), labels, "a", "adv"),
    }


def by_hand(a: Features, b: Features) -> float:
    def unit(f):
        X = f.embedding.double().numpy()
        return X / np.linalg.norm(X, axis=1, keepdims=True), f.labels.numpy()

    (X, x), (Y, y) = unit(a), unit(b)
    total = 0.0
    for c in range(3):
        P, Q = X[x == c], Y[y == c]
        gap = np.sum((P.mean(0) - Q.mean(0)) ** 2)
        total += np.mean(x == c) * (gap + np.linalg.norm(np.cov(P.T) - np.cov(Q.T)))
    return total


def test_every_pair_is_lemma_3_2_by_hand_and_the_largest_is_known():
    sets = three()
    found = domain_discrepancies(sets, 3, replicates=20)
    pairs = {("id", "sketch"), ("id", "adv"), ("sketch", "adv")}
    values = {pair: float(found.numbers["discrepancy/" + "-".join(pair)].value) for pair in pairs}
    for (s, t), value in values.items():
        assert value == pytest.approx(by_hand(sets[s], sets[t]), rel=1e-6)
    assert found.worst == max(values, key=values.__getitem__)
    largest = found.numbers["largest"]
    assert largest.value == max(values.values()) and largest.low < largest.value < largest.high
    assert values["id", "adv"] < found.floor < largest.value  # the paired sets differ less than two samples do


def test_attacked_images_are_drawn_with_their_clean_ones():
    """Were they drawn on their own, the interval of a distance that is 0 would not be."""
    sets = three()
    sets["adv"] = features(sets["id"].embedding, sets["id"].labels, "a", "adv")
    same = domain_discrepancies(sets, 3, replicates=10).numbers["discrepancy/id-adv"]
    assert float(same.value) == float(same.error) == 0


def test_attacked_images_of_another_set_are_refused():
    sets = three()
    sets["adv"] = features(sets["id"].embedding, sets["id"].labels, "other", "adv")
    with pytest.raises(UserError, match="not paired"):
        domain_discrepancies(sets, 3)


def test_too_few_images_for_a_class_in_common_are_answered_with_the_mend():
    X = gaussian(4, 6)
    labels = {"id": [0, 0, 1, 2], "far": [3, 3, 1, 2]}
    apart = {name: features(X, torch.tensor(y), name, name) for name, y in labels.items()}
    with pytest.raises(UserError, match=r"share a class .*--n"):
        domain_discrepancies(apart, 4, replicates=2)
