"""Discrepancies of domains against numpy, class by class, on unit features."""

import numpy as np
import pytest
import torch

from grace_geom.analysis.features.discrepancy import domain_discrepancies
from grace_geom.analysis.features.extract import EMBEDDING, Features
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
        "sketch": features(
            gaussian(60, 5, seed=1) + means[labels[:60]] + 1, labels[:60], "b", "sketch"
        ),
        "adv": features(X + 0.1 * gaussian(90, 5, seed=2), labels, "a", "adv"),
    }


def by_hand(a: Features, b: Features, classes: int = 3) -> float:
    def unit(f):
        X = f.embedding.double().numpy()
        return X / np.linalg.norm(X, axis=1, keepdims=True), f.labels.numpy()

    (X, x), (Y, y) = unit(a), unit(b)
    total = 0.0
    for c in range(classes):
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
    assert (
        values["id", "adv"] < found.floor < largest.value
    )  # the paired sets differ less than two samples do
    assert (found.classes, found.images_per_class) == (3, 20)


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


def test_all_pairs_are_of_one_set_of_classes():
    """``part`` has two of three classes, and the third is far apart elsewhere: (C) must not depend
    on who is asked.
    """
    sets = three()
    far = sets["sketch"].embedding + 50 * (sets["sketch"].labels == 2)[:, None]
    sets["sketch"] = features(far, sets["sketch"].labels, "b", "sketch")
    y = torch.arange(20) % 2
    sets["part"] = features(gaussian(20, 5, seed=3), y, "c", "part")
    found = domain_discrepancies(sets, 3, replicates=4)
    two = {
        name: features(f.embedding[f.labels < 2], f.labels[f.labels < 2], name, name)
        for name, f in sets.items()
    }
    for pair in (("id", "sketch"), ("id", "adv"), ("sketch", "adv"), ("id", "part")):
        assert found.numbers["discrepancy/" + "-".join(pair)].value == pytest.approx(
            by_hand(*map(two.get, pair), 2)
        )
    assert (found.classes, found.images_per_class) == (2, 10)


def test_a_set_without_any_class_of_id_takes_no_part():
    sets = three()
    sets["elsewhere"] = features(gaussian(8, 5), torch.full((8,), -1), "d", "elsewhere")
    found = domain_discrepancies(sets, 3, replicates=4)
    assert not [key for key in found.numbers if "elsewhere" in key] and found.classes == 3
    alone = {"id": sets["id"], "elsewhere": sets["elsewhere"]}
    with pytest.raises(UserError, match="elsewhere: no class of the ID data"):
        domain_discrepancies(alone, 3)


def test_a_half_without_two_images_of_a_class_leaves_no_interval():
    X, y = gaussian(4, 6), torch.arange(4) // 2
    few = {name: features(X + shift, y, name, name) for name, shift in (("id", 0.0), ("far", 1.0))}
    largest = domain_discrepancies(few, 2, replicates=8).numbers["largest"]
    assert largest.value > 0 and np.isnan(largest.error) and np.isnan(largest.low)


def test_too_few_images_for_a_class_in_common_are_answered_with_the_mend():
    X = gaussian(4, 6)
    labels = {"id": [0, 0, 1, 2], "far": [3, 3, 1, 2]}
    apart = {name: features(X, torch.tensor(y), name, name) for name, y in labels.items()}
    with pytest.raises(UserError, match=r"no class has two images in each of id, far.*--n"):
        domain_discrepancies(apart, 4, replicates=2)
