"""Copies of one training say nothing new, however right they are; real seeds that agree do."""

from dataclasses import replace

import numpy as np
import pytest

from grace_geom.records import Accuracy, EvalRecord, distinct, over_seeds, pack
from grace_geom.records.statistics import wilson

MODEL = {"weights": "w", "network": "n", "preprocessing": "p", "head": "h", "precision": "f"}


def run(seed: int, right: np.ndarray, **model: str) -> EvalRecord:
    """A record of its own file and seed."""
    n, k = len(right), int(right.sum())
    accuracy = Accuracy(
        "id", "x", "x", n, k, k / n, *wilson(k, n), 0.1,
        subset={"of": n, "seed": 0, "ids_sha256": "a"}, outcomes=pack(right),
    )  # fmt: skip
    settings = {"model": MODEL | model} if model else {}
    return EvalRecord(f"file {seed}", f"at-s{seed}", "at", seed, settings, (accuracy,))


@pytest.mark.parametrize("correct", [0, 13, 40])
def test_three_copies_are_one_seed_whatever_their_accuracy(correct: int):
    right = np.arange(40) < correct
    copies = {s: run(s, right, weights="w0", precision=f"{s}") for s in range(3)}
    kept, said = distinct(copies)
    assert list(kept) == [0]
    assert said == "; ".join(f"seeds 0 and {s} are the same model: counted once" for s in (1, 2))


@pytest.mark.parametrize("part", ["weights", "head"])
def test_real_seeds_that_agree_on_every_image_count_each(part: str):
    right = np.arange(40) < 13
    seeds = {s: run(s, right, **{part: f"{part} of seed {s}"}) for s in range(3)}
    assert distinct(seeds) == (seeds, "")


def test_records_that_do_not_name_their_model_are_told_by_their_answers():
    right = np.arange(40) < 13
    kept, said = distinct({0: run(0, right), 1: run(1, right, weights="w1"), 2: run(2, ~right)})
    assert list(kept) == [0, 2] and "the same answer to every image" in said


def test_seeds_that_answered_other_images_of_a_set_are_not_paired_image_by_image():
    first, second = run(0, np.arange(40) < 20), run(1, np.arange(40) < 24)
    (there,) = second.accuracies
    rows = [first.accuracies, second.accuracies]
    assert over_seeds(rows, "ID").how == "by images"
    for other in ({"ids_sha256": "b"}, {"content": "of other pictures"}):
        mine = replace(first.accuracies[0], subset=first.accuracies[0].subset | {"content": "c"})
        moved = replace(there, subset=there.subset | {"content": "c"} | other)
        assert over_seeds([[mine], [moved]], "ID").how == "by totals", other
