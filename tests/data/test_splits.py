"""Sets and splits: disjoint, complete, stratified, reproducible, on record."""

import numpy as np
import pytest

from grace_geom.data import ImageSet, align, from_arrays, hold_out, restrict_classes
from grace_geom.data.splits import choose
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, pictures, turns


@pytest.fixture
def image_set() -> ImageSet:
    return from_arrays("noise", pictures(60), turns(60), CLASSES)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("k", [1, 3, 60, 200])
def test_hold_out_is_a_stratified_partition(fraction: float, k: int):
    labels = np.random.default_rng(0).permutation(turns(200, k))
    kept, held = hold_out(labels, fraction, seed=5)
    assert sorted([*kept, *held]) == list(range(200))
    assert abs(len(held) - 200 * fraction) <= 1
    counts, of = np.bincount(labels[held], minlength=k), np.bincount(labels, minlength=k)
    assert (np.abs(counts - of * fraction) < 1 + 1e-9).all()
    again = hold_out(labels, fraction, seed=5)
    assert np.array_equal(kept, again[0]) and np.array_equal(held, again[1])
    if fraction:
        assert not np.array_equal(held, hold_out(labels, fraction, seed=6)[1])


def test_hold_out_takes_at_least_one_image():
    assert len(hold_out(np.zeros(5, dtype=int), 0.01, seed=0)[1]) == 1


def test_a_set_in_one_piece_gives_three_disjoint_splits_and_eval_is_all(image_set: ImageSet):
    parts = {"all": lambda: image_set}
    train, val, test, everything = (
        choose(parts, split, "x", 0, 0.25) for split in ("train", "val", "test", "eval")
    )
    assert sorted([*train.index, *val.index, *test.index]) == list(range(60))
    assert (len(test), len(val), len(train)) == (12, 12, 36)
    assert len(everything) == 60 and everything.note["how"] == "every image"
    assert train.note["how"] == "test: seeded 0.2 of all; val: seeded 0.25 of train"
    assert (
        train.note["split_seed"] == 0
        and train.note["n"] == 36
        and train.note["ids_sha256"] != val.note["ids_sha256"]
    )


@pytest.mark.parametrize("own", [("train", "test"), ("train", "val")])
def test_an_own_second_part_is_the_test_and_val_is_held_out_of_train(
    image_set: ImageSet, own: tuple[str, str]
):
    first, second = image_set.take(range(40)), image_set.take(range(40, 60))
    parts = {own[0]: lambda: first, own[1]: lambda: second}
    train, val, test, evaluation = (
        choose(parts, split, "x", 0, 0.1) for split in ("train", "val", "test", "eval")
    )
    assert sorted([*train.index, *val.index]) == list(range(40)) and len(val) == 4
    assert test.index.tolist() == evaluation.index.tolist() == list(range(40, 60))
    assert test.note["how"] == "the data set's own"


def test_three_own_parts_are_used_as_they_are(image_set: ImageSet):
    pieces = {"train": range(30), "val": range(30, 40), "test": range(40, 60)}
    parts = {name: (lambda ids=ids: image_set.take(ids)) for name, ids in pieces.items()}
    for name, ids in pieces.items():
        assert choose(parts, name, "x", 0, 0.1).index.tolist() == list(ids)


def test_splits_that_cannot_be_are_refused(image_set: ImageSet):
    parts = {"all": lambda: image_set}
    with pytest.raises(UserError, match="'train'"):
        choose(parts, "trian", "x", 0, 0.1)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"\[0, 1\)"):
        choose(parts, "train", "x", 0, 1.0)
    with pytest.raises(UserError, match="no image is left for the val split"):
        choose(parts, "val", "x", 0, 0.0)
    with pytest.raises(UserError, match="only a test split"):
        choose({"test": lambda: image_set}, "train", "x", 0, 0.1)


def test_subset_is_seeded_and_keeps_its_ids(image_set: ImageSet):
    part = image_set.subset(10, seed=1)
    assert (
        part.index.tolist()
        == image_set.subset(10, seed=1).index.tolist()
        != image_set.subset(10, seed=2).index.tolist()
    )
    assert part.note["subset"] == {"n": 10, "of": 60, "seed": 1, "ids": part.index.tolist()}
    assert len(set(part.index)) == 10 and image_set.subset(99, seed=0) is image_set
    inner = part.take([3, 1])
    assert inner.index.tolist() == [part.index[3], part.index[1]]
    assert np.array_equal(inner.fetch(0), image_set.fetch(int(part.index[3])))
    assert inner.labels[0] == image_set.labels[part.index[3]]
    with pytest.raises(UserError, match="at least 1"):
        image_set.subset(0, seed=0)


def test_restricted_classes_are_relabelled_and_know_their_place_in_the_head(image_set: ImageSet):
    part = restrict_classes(image_set, ["car", "apple"])
    assert part.class_names == ("car", "apple") and part.class_ids == (2, 0)
    assert (image_set.labels[part.index] == np.array(part.class_ids)[part.labels]).all()
    assert len(part) == 40
    once_more = restrict_classes(part, [1])
    assert once_more.class_names == ("apple",) and once_more.class_ids == (0,)
    with pytest.raises(UserError, match="'bear'"):
        restrict_classes(image_set, ["baer"])
    with pytest.raises(UserError, match="0 to 2"):
        restrict_classes(image_set, [3])


def test_align_finds_the_classes_in_a_larger_or_reordered_head(image_set: ImageSet):
    assert align(image_set, CLASSES) is image_set
    assert align(image_set, ("car", "dog", "bear", "apple")).class_ids == (3, 2, 0)
    with pytest.raises(UserError, match="no class 'bear'"):
        align(image_set, ("apple", "car", "beer"))
    with pytest.raises(UserError, match="share a name"):
        align(image_set, ("car", "bear", "apple", "car"))
