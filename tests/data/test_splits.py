"""Sets and splits: disjoint, complete, stratified, reproducible, on record."""

import numpy as np
import pytest
import scipy.stats

from grace_geom.data import ImageSet, from_arrays, hold_out, restrict_classes
from grace_geom.data.keys import uniforms_of
from grace_geom.data.splits import choose
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, pictures, turns


@pytest.fixture
def image_set() -> ImageSet:
    return from_arrays("noise", pictures(60), turns(60), CLASSES)


def keys(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_hold_out_is_a_partition_of_about_the_asked_share(fraction: float):
    row = keys(20_000)
    kept, held = hold_out(row, fraction, seed=5)
    assert sorted([*kept, *held]) == list(range(20_000))
    assert abs(len(held) - 20_000 * fraction) <= 4 * (20_000 * fraction * (1 - fraction)) ** 0.5
    for k in (2, 10):  # no class has another share than by chance: chi square at 1e-4
        labels = np.arange(20_000) % k
        counts, of = np.bincount(labels[held], minlength=k), np.bincount(labels)
        if fraction:
            chi = ((counts - of * fraction) ** 2 / (of * fraction * (1 - fraction))).sum()
            assert chi < scipy.stats.chi2.isf(1e-4, k)
    again = hold_out(row, fraction, seed=5)
    assert np.array_equal(kept, again[0]) and np.array_equal(held, again[1])
    if fraction:
        assert not np.array_equal(held, hold_out(row, fraction, seed=6)[1])


def test_seeds_and_streams_draw_independently():
    row = keys(40_000)
    draws = [
        np.isin(np.arange(40_000), hold_out(row, 0.3, seed, stream)[1])
        for seed, stream in [(0, "test"), (0, "val"), (1, "test"), (2, "test")]
    ]
    for i, first in enumerate(draws):
        for other in draws[:i]:
            assert abs((first & other).mean() - 0.09) < 4 * (0.09 * 0.91 / 40_000) ** 0.5


def test_a_draw_is_even_over_keys_that_are_not():
    u = uniforms_of(np.arange(20_000, dtype=np.uint64), 0, "test")
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_no_image_moves_when_others_come_go_or_change_rows(seed: int):
    row = keys(300, seed)
    side = dict(zip(row.tolist(), np.isin(np.arange(300), hold_out(row, 0.2, 3)[1]), strict=True))
    rng = np.random.default_rng(seed)
    for other in (
        np.append(row, keys(1, 99)),
        np.append(keys(500, 98), row),
        rng.permutation(row),
        rng.permutation(row)[:60],
        np.concatenate([row, row[:50]]),
    ):
        held = set(hold_out(other, 0.2, 3)[1].tolist())
        assert all(side.get(key, i in held) == (i in held) for i, key in enumerate(other.tolist()))


def test_hold_out_takes_at_least_one_image_and_leaves_one():
    for seed in range(50):
        row = keys(2 + seed % 4, seed)
        for fraction in (1e-9, 0.01, 0.99, 1 - 1e-9):
            kept, held = hold_out(row, fraction, seed)
            assert len(kept) and len(held)
    assert len(hold_out(keys(1), 0.5, 0)[0]) + len(hold_out(keys(1), 0.5, 0)[1]) == 1
    kept, held = hold_out(np.full(7, 5, dtype=np.uint64), 0.01, 0)  # copies are never parted
    assert len(held) == 0


def test_a_set_in_one_piece_gives_three_disjoint_splits_and_eval_is_all(image_set: ImageSet):
    parts = {"all": lambda: image_set}
    train, val, test, everything = (
        choose(parts, split, "x", 0, 0.25) for split in ("train", "val", "test", "eval")
    )
    assert sorted([*train.index, *val.index, *test.index]) == list(range(60))
    assert min(len(test), len(val), len(train)) >= 5
    assert len(everything) == 60 and everything.note["how"] == "every image"
    assert train.note["how"] == "test: seeded 0.2 of all; val: seeded 0.25 of train"
    assert (
        train.note["split_seed"] == 0
        and train.note["n"] == len(train)
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
    assert sorted([*train.index, *val.index]) == list(range(40)) and len(val) >= 1
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
