"""Paired differences: McNemar's test by counting, and the bound on p that few images set."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from grace_geom.records import Accuracy, image_difference, mcnemar, pack, paired_interval


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (3, 3), (1, 6), (8, 2), (0, 5)])
def test_mcnemar_by_counting_all_coin_throws(only_a: int, only_b: int):
    a = np.array([True] * 4 + [True] * only_a + [False] * only_b + [False] * 2)
    b = np.array([True] * 4 + [False] * only_a + [True] * only_b + [False] * 2)
    throws = [sum(throw) for throw in product((0, 1), repeat=only_a + only_b)]
    as_far = [abs(2 * t - only_a - only_b) >= abs(only_a - only_b) for t in throws]
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p == pytest.approx(sum(as_far) / len(throws))
    assert found.difference == pytest.approx(a.mean() - b.mean())


def test_mcnemar_needs_the_same_images():
    with pytest.raises(ValueError, match="same images"):
        mcnemar(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


def answered(suite: str, right: np.ndarray, **attack: object) -> Accuracy:
    n, k = len(right), int(right.sum())
    return Accuracy(
        suite, "x", "x", n, k, k / n, 0.0, 1.0, 0.1, attack=attack or None,
        subset={"of": n, "seed": 0, "ids_sha256": "same"}, outcomes=pack(right),
    )  # fmt: skip


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(0, 0, 5), (3, 9, 40), (12, 1, 12 + 1)])
def test_the_interval_of_paired_counts_is_that_of_the_answers(only_a: int, only_b: int, n: int):
    a, b = np.arange(n) < only_a, np.arange(n)[::-1] < only_b
    found = image_difference([answered("id", b)], [answered("id", a)], "ID")
    assert paired_interval(only_a, only_b, n) == pytest.approx((found.low, found.high), abs=1e-9)
    with pytest.raises(ValueError, match="no paired counts"):
        paired_interval(only_a, n, n + only_a - 1)


def test_other_attacks_and_answers_that_cannot_be_read_are_not_paired():
    right = np.arange(20) < 9
    mild, hard = (answered("adv", right, name="pgd", eps=eps) for eps in (1 / 255, 4 / 255))
    assert image_difference([hard], [hard], "Adv").p == 1
    other = image_difference([mild], [hard], "Adv")
    assert np.isnan(other.p) and "attacks are not the same" in other.how
    for outcomes in ("", "A"):
        torn = image_difference([hard], [replace(hard, outcomes=outcomes)], "Adv")
        assert np.isnan(torn.low) and "no outcome for each image" in torn.how
