"""Batches: what they hold, and that order and pixels are functions of (seed, epoch, position)
only."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from grace_geom.batch import Batch
from grace_geom.data import ImageSet, from_arrays, loader, resolve
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, pictures, turns, write_folder


@pytest.fixture
def image_set() -> ImageSet:
    return from_arrays("noise", pictures(50, side=12), turns(50), CLASSES)


def joined(batches) -> Batch:
    parts = list(batches)
    return Batch(
        *(torch.cat([getattr(b, name) for b in parts]) for name in ("images", "labels", "index"))
    )


def test_evaluation_batches_are_the_images_over_255_in_order(image_set: ImageSet):
    batches = list(loader(image_set, 16, 12, train=False))
    assert [len(b) for b in batches] == [16, 16, 16, 2]
    whole = joined(batches)
    assert whole.images.dtype == torch.float32 and whole.labels.dtype == torch.int64
    assert_close(
        whole.images,
        torch.from_numpy(pictures(50, side=12)).permute(0, 3, 1, 2) / 255,
        rtol=0,
        atol=0,
    )
    assert whole.index.tolist() == list(range(50))
    assert whole.labels.tolist() == turns(50).tolist()


def test_a_training_epoch_shows_every_image_once_in_another_order_each_epoch(image_set: ImageSet):
    orders = [
        joined(loader(image_set, 7, 12, train=True, epoch=e)).index.tolist() for e in range(3)
    ]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert joined(loader(image_set, 7, 12, train=True, seed=1)).index.tolist() != orders[0]


def test_crops_do_not_depend_on_the_batch_but_change_with_the_epoch(image_set: ImageSet):
    def by_index(**options) -> torch.Tensor:
        whole = joined(loader(image_set, image_size=12, train=True, **options))
        return whole.images[whole.index.argsort()]

    views = by_index(batch_size=7)
    assert_close(by_index(batch_size=50), views, rtol=0, atol=0)
    assert_close(by_index(batch_size=7), views, rtol=0, atol=0)
    changed = (by_index(batch_size=7, epoch=1) != views).flatten(1).any(1)
    assert changed.float().mean() > 0.5


@pytest.mark.parametrize("workers, context", [(1, "fork"), (2, "fork"), (1, "spawn")])
def test_workers_give_the_same_batches(tmp_path, workers: int, context: str):
    write_folder(tmp_path / "set", pictures(30, side=20), turns(30))
    image_set = resolve(f"folder:{tmp_path / 'set'}", "eval")
    here = list(loader(image_set, 8, 12, train=True, seed=3, epoch=2))
    there = list(
        loader(image_set, 8, 12, train=True, seed=3, epoch=2, workers=workers, context=context)
    )
    assert len(here) == len(there) == 4
    for a, b in zip(here, there, strict=True):
        assert (
            torch.equal(a.images, b.images)
            and torch.equal(a.labels, b.labels)
            and torch.equal(a.index, b.index)
        )


def test_a_resumed_epoch_continues_without_reading_what_it_skips(image_set: ImageSet):
    full = list(loader(image_set, 8, 12, train=True, epoch=4))
    read: list[int] = []

    def watched(i: int) -> np.ndarray:
        read.append(i)
        return image_set.fetch(i)

    kept = ImageSet("x", "x", "train", image_set.labels, CLASSES, ("a {}.",), watched)
    rest = loader(kept, 8, 12, train=True, epoch=4, skip_batches=5)
    assert len(rest) == 2
    for a, b in zip(full[5:], rest, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.index, b.index)
    assert sorted(read) == sorted(torch.cat([b.index for b in full[5:]]).tolist())
    assert len(loader(image_set, 8, 12, train=True, skip_batches=99)) == 0


def test_drop_last_leaves_out_what_is_not_full(image_set: ImageSet):
    batches = loader(image_set, 16, 12, train=True, drop_last=True)
    assert len(batches) == 3
    assert [len(b) for b in batches] == [16, 16, 16]


def test_grey_images_become_three_equal_channels():
    grey = pictures(4, side=12, channels=1)
    whole = joined(loader(from_arrays("grey", grey[..., 0], turns(4), CLASSES), 4, 12, train=False))
    assert_close(
        whole.images,
        torch.from_numpy(grey).permute(0, 3, 1, 2).expand(4, 3, 12, 12) / 255,
        rtol=0,
        atol=0,
    )


def test_iterating_leaves_the_global_random_state_alone(image_set: ImageSet):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(image_set, 8, 12, train=True))
    assert torch.equal(before, torch.get_rng_state())


def test_index_maps_to_positions_in_the_source(image_set: ImageSet):
    part = image_set.subset(20, seed=1).take(np.arange(19, -1, -1))
    whole = joined(loader(part, 6, 12, train=False))
    assert whole.index.tolist() == list(range(20))
    assert_close(
        whole.images,
        joined(loader(image_set, 50, 12, train=False)).images[part.index],
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(
    "options, says",
    [
        ({"batch_size": 0, "image_size": 12}, "batch size is 0"),
        ({"batch_size": 4, "image_size": 0}, "image size is 0"),
        ({"batch_size": 4, "image_size": 12, "workers": -1}, "workers is -1"),
        ({"batch_size": 4, "image_size": 12, "seed": -1}, "seed is -1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(image_set: ImageSet, options: dict, says: str):
    with pytest.raises(UserError, match=says):
        loader(image_set, train=False, **options)
