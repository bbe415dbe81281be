"""The number that papers report for a data set, in means, harmonic means and paired differences:
against closed forms, and intervals against simulated coverage.
"""

import dataclasses

import numpy as np
import pytest

from grace_geom.records import (
    Accuracy,
    convention_notes,
    image_difference,
    mean_accuracy,
    mean_per_class,
    over_seeds,
    pack,
    seeds_difference,
    set_difference,
    shown,
    summarise,
    uneven,
    wilson,
)
from grace_geom.records.accuracy import pack_numbers
from grace_geom.records.answers import Answers
from grace_geom.records.classes import class_counts
from grace_geom.records.crossed import gap_spread, spread
from grace_geom.records.uneven import MARK

LABELS = np.repeat(np.arange(4), [8, 4, 2, 1])
NAMES = tuple("abcd")


def of(
    right: np.ndarray, suite: str = "zeroshot", labels: np.ndarray = LABELS, by_class: bool = True
) -> Accuracy:
    n, k = len(right), int(right.sum())
    return Accuracy(
        suite, "flowers" if by_class else "plain", "tv:flowers102" if by_class else "plain",
        n, k, k / n, *wilson(k, n), 0.0, attack={"name": "pgd", "eps": 0.1} if suite == "adv" else None,
        outcomes=pack(right), class_names=tuple(map(str, range(labels.max() + 1))),
        labels=pack_numbers(labels), metric="mean-per-class" if by_class else "",
        subset={"of": n, "seed": 0, "ids_sha256": "i", "content": "c"},
    )  # fmt: skip


def answered(*correct: int) -> np.ndarray:
    """So many of each class of ``LABELS`` are right, the first ones."""
    found = [np.arange(n) < k for n, k in zip((8, 4, 2, 1), correct, strict=True)]
    return np.concatenate(found)


FLOWERS = answered(8, 2, 1, 0)  # per class 1, 1/2, 1/2, 0: mean 1/2, top-1 11/15
PLAIN = np.arange(15) < 6


def test_every_column_counts_the_mean_over_classes():
    every = [
        of(PLAIN, "id", by_class=False), of(PLAIN, "ood", by_class=False), of(FLOWERS),
        dataclasses.replace(of(PLAIN, by_class=False)), of(answered(4, 1, 0, 0), "adv"),
    ]  # fmt: skip
    found = {name: e.value for name, e in summarise(every).items() if e}
    assert found["ID"] == found["OOD"] == 6 / 15
    assert found["ZS"] == pytest.approx((1 / 2 + 6 / 15) / 2)
    adv = (1 / 2 + 1 / 4) / 4
    assert found["Adv"] == pytest.approx(adv)
    assert found["HM"] == pytest.approx(3 / (15 / 6 + 15 / 6 + 1 / adv))
    assert found["OOD'"] == pytest.approx((6 / 15 + found["ZS"]) / 2)
    assert mean_accuracy([of(FLOWERS)] * 2).value == 1 / 2
    own = dataclasses.replace(of(FLOWERS), suite="id")
    assert summarise([own])["ID"] == mean_per_class(class_counts(own))


def test_the_variance_of_a_single_set_is_that_of_its_classes():
    a = of(FLOWERS)
    found = spread(((Answers.of_accuracy(a),),), "ZS")
    assert found.images == pytest.approx(mean_per_class(class_counts(a)).error ** 2, rel=1e-6)
    alone, both = (over_seeds([[a]] * m, "ZS") for m in (1, 2))
    assert alone == shown(a)
    assert (both.value, both.low, both.high) == pytest.approx(
        (alone.value, alone.low, alone.high), abs=1e-6
    )


def test_clean_and_attacked_answers_of_one_set_go_together():
    """HM of a set whose attack changes nothing moves as far as its accuracy does."""
    clean = dataclasses.replace(of(FLOWERS), suite="id")
    attacked = dataclasses.replace(clean, suite="adv", attack={"name": "pgd", "eps": 0.1})
    shifted = dataclasses.replace(clean, suite="ood")
    estimate = summarise([clean, attacked, shifted])["HM"]
    assert estimate.value == pytest.approx(0.5)
    assert estimate.error == pytest.approx(shown(clean).error, rel=1e-5)


def test_an_image_weighs_one_over_classes_times_images_of_its_class():
    a, b = of(answered(8, 3, 1, 1)), of(FLOWERS)
    weights = 1 / (4 * np.array([8, 4, 2, 1])[LABELS])
    d = a.right().astype(float) - b.right()
    found = image_difference([a], [b], "ZS")
    assert found.value == pytest.approx(weights @ d)
    back = image_difference([b], [a], "ZS")
    assert (back.value, back.low, back.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    assert found.p == back.p >= 2.0 ** (1 - abs(d).sum())
    assert found.how == "paired over images, one seed"  # McNemar's test counts images
    assert set_difference(a, b) == found
    images = gap_spread(((Answers.of_accuracy(a),),), ((Answers.of_accuracy(b),),), "ZS").images
    assert images == pytest.approx(variance_by_hand(d), rel=1e-5)


def variance_by_hand(d: np.ndarray) -> float:
    """Class by class, as a mean of samples, with n - 1 for n and a quarter of an imaginary image of
    +1 and of one of -1 in each of the four classes.
    """
    each, total, means = 1 / 4, 0.0, []
    for c, n in enumerate((8, 4, 2, 1)):
        means.append(d[np.equal(LABELS, c)].sum() / (n + 2 * each))
    for c, n in enumerate((8, 4, 2, 1)):
        own = d[np.equal(LABELS, c)]
        centre, factor = (means[c], n / (n - 1)) if n > 1 else (np.mean(means), 1.0)
        squares = factor * ((own - centre) ** 2).sum()
        squares += each * ((1 - means[c]) ** 2 + (-1 - means[c]) ** 2)
        total += squares / (4 * (n + 2 * each)) ** 2
    return total


@pytest.mark.parametrize("n", [(40, 30, 20, 10), (25,) * 4 + (3,) * 10 + (1,) * 5], ids=str)
@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_differences_cover_the_truth(n, seeds):
    rng, draws, inside = np.random.default_rng(len(n) + seeds), 400, 0
    labels = np.repeat(np.arange(len(n)), n)
    easy, gain = np.linspace(0.3, 0.9, len(n))[labels], np.linspace(0.1, -0.05, len(n))[labels]
    truth = np.linspace(0.1, -0.05, len(n)).mean()
    for _ in range(draws):
        sides: tuple[list, list] = ([], [])
        hard = rng.random(len(labels))
        for _ in range(seeds):
            noise = 0.5 * (rng.random(len(labels)) - 0.5)
            u = np.where(rng.random(len(labels)) < 0.6, hard, (hard + noise) % 1)
            v = np.where(rng.random(len(labels)) < 0.7, u, rng.random(len(labels)))
            sides[0].append([of(u < easy + gain, labels=labels)])
            sides[1].append([of(v < easy, labels=labels)])
        found = seeds_difference(*sides, "ZS")
        inside += found.low <= truth <= found.high
    assert inside / draws > 0.95 - 4 * np.sqrt(0.05 * 0.95 / draws)
    if seeds == 1:  # three seeds that agree cannot be told from three that agree by chance
        assert inside / draws < 0.995


def test_a_record_without_classes_keeps_top_1_and_says_so():
    new = of(FLOWERS)
    old = dataclasses.replace(new, class_names=(), labels="", metric="")
    assert summarise([old])["ZS"].value == 11 / 15
    (note,) = convention_notes([old])
    assert note.startswith("flowers: top-1 accuracy, where papers report mean per-class")
    (note,) = convention_notes([new], "§")
    assert note.startswith("§ flowers: mean per-class accuracy, as papers report it")
    assert not convention_notes([of(PLAIN, by_class=False)])
    found = image_difference([new], [old], "ZS")
    assert np.isnan(found.low) and "flowers is mean per-class accuracy of one" in found.how
    assert set_difference(new, old) is None
    apart = uneven([("new", [[new]]), ("new too", [[new]]), ("old", [[old]])])
    assert apart.mark(2, "ZS") and not apart.mark(0, "ZS")
    assert "not 15 images (c), mean per class" in apart.note_of(2)


def test_seeds_of_two_measures_are_not_taken_image_by_image_and_are_marked():
    top_1 = dataclasses.replace(of(FLOWERS), metric="")
    alike, mixed = [[of(FLOWERS)], [of(FLOWERS)]], [[of(FLOWERS)], [top_1]]
    assert over_seeds(alike, "ZS").how == "by images" and over_seeds(mixed, "ZS").how == "by totals"
    assert not uneven([("ft", alike)]).cells
    for others in ([], [("lora", mixed)]):  # also where every row is so
        found = uneven([("ft", mixed), *others])
        assert found.mark(0, "ZS") == MARK and "top-1 of others" in found.note_of(0)
