"""Shards that stay in their store: the same pictures in the same order as from copies."""

import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from grace_geom.checkpoint import load_checkpoint
from grace_geom.data import far_shards, loader, resolve
from grace_geom.data.keys import keys_of
from grace_geom.errors import UserError
from grace_geom.evaluation.identity import of_images
from grace_geom.store import ObjectStore, away
from tests.data.makers import pictures, rgb, turns, write_shard
from tests.small_run import small_run

SIZES = (5, 9, 2, 8)
PATTERN = "{000..003}.tar"


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four ragged shards on a disk."""
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(away, "FIRST", 1e-3)
    folder, first = tmp_path / "near", 0
    folder.mkdir()
    for k, n in enumerate(SIZES):
        shard = folder / f"{k:03d}.tar"
        write_shard(shard, pictures(n, 16, seed=k), turns(first + n)[first:], first)
        first += n
    (folder / "classnames.txt").write_text("apple\nbear\ncar\n")
    return folder


@pytest.fixture
def far(near: Path) -> str:
    """The same in a store."""
    url = f"memory://{uuid.uuid4().hex[:8]}"
    for path in near.iterdir():
        fsspec.filesystem("memory").pipe_file(f"{url[8:]}/{path.name}", path.read_bytes())
    return url


def batches(image_set, **how):
    return list(loader(image_set, 6, 8, train=True, seed=3, buffer=7, **how))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_copies(far: str, tmp_path: Path, monkeypatch, workers: int) -> None:
    spec, parts = f"wds:{far}/{PATTERN}", {"val_fraction": 0.2}
    copied = {split: resolve(spec, split, **parts) for split in ("train", "val", "test")}
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "other"))
    for split, one in copied.items():
        there = resolve(spec, split, stream=True, **parts)
        assert there.content == one.content and there.index.tolist() == one.index.tolist()
        assert np.array_equal(keys_of(there), keys_of(one))
        assert of_images(there) == of_images(one)
        found = batches(there, workers=workers, context="fork")
        for a, b in zip(found, batches(one), strict=True):
            assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
            assert torch.equal(a.index, b.index)
    assert not list((tmp_path / "other").rglob("*.tar"))


def test_a_shard_is_looked_through_once(far: str, monkeypatch) -> None:
    moved: list[str] = []
    real = ObjectStore.download

    def counted(self: ObjectStore, path: str, file: Path) -> None:
        moved.append(path)
        real(self, path, file)

    monkeypatch.setattr(ObjectStore, "download", counted)
    for _ in range(2):
        one = resolve(f"wds:{far}/{PATTERN}", "eval", stream=True)
    assert sorted(moved) == [f"{k:03d}.tar" for k in range(4)] and len(batches(one)) == 4
    assert len(moved) == 4


def test_neighbours_come_in_one_piece(near: Path, far: str, monkeypatch) -> None:
    one, other = (
        resolve(f"wds:{far}/{PATTERN}", "eval", stream=True),
        resolve(f"wds:{near}/{PATTERN}", "eval"),
    )
    wanted = np.array([13, 0, 2, 1, 2])  # the last of the second shard, three of the first
    for gap, pieces in ((2**16, 2), (0, 4)):
        monkeypatch.setattr(far_shards, "GAP", gap)
        assert len(one.fetch._pieces(wanted)) == pieces
        assert len(one.fetch._pieces(np.arange(24))) == (4 if gap else 24)
        for i, picture in zip(wanted, one.fetch.many(wanted), strict=True):
            assert np.array_equal(np.asarray(picture), rgb(other, int(i)))


def test_a_shard_that_was_replaced_is_refused(near: Path, far: str) -> None:
    one = resolve(f"wds:{far}/{PATTERN}", "eval", stream=True)
    new = write_shard(near / "new.tar", pictures(5, 16, seed=99), turns(5))
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"{far[8:]}/000.tar", new.read_bytes())
    with pytest.raises(UserError, match=r"000\.tar, member .*the shard was replaced"):
        batches(one)
    memory.rm(f"{far[8:]}/000.tar")
    with pytest.raises(UserError, match="a shard is gone since the start"):
        batches(one)


def test_a_store_that_is_away_for_a_moment_is_asked_again(far: str, monkeypatch) -> None:
    one = resolve(f"wds:{far}/{PATTERN}", "eval", stream=True)
    memory, failed = fsspec.filesystem("memory"), []
    real = memory.cat_ranges

    def flaky(*args, **how):
        if len(failed) < 2:
            failed.append(args)
            raise TimeoutError("no answer")
        return real(*args, **how)

    monkeypatch.setattr(memory, "cat_ranges", flaky)
    assert len(batches(one)) == 4 and len(failed) == 2


def test_a_broken_shard_is_named_by_its_address(far: str) -> None:
    fsspec.filesystem("memory").pipe_file(f"{far[8:]}/002.tar", b"no tar at all")
    with pytest.raises(UserError, match=rf"{far}/002\.tar is not a whole, uncompressed tar"):
        resolve(f"wds:{far}/{PATTERN}", "eval", stream=True)


def test_training_leaves_the_shards_where_they_are(near: Path, far: str, tmp_path: Path) -> None:
    how = {"method": "ft", "epochs": 1, "batch_size": 6, "shuffle_buffer": 7}
    made = [
        small_run(tmp_path, data=f"wds:{place}/{PATTERN}", out=str(tmp_path / name), **how)
        for name, place in (("disk", near), ("store", far))
    ]
    assert not list((tmp_path / "cache").rglob("*.tar"))
    one, other = (load_checkpoint(folder / "ckpt.pt") for folder in made)
    assert one.step == other.step > 0
    for name, tensor in one.state_dict.items():
        assert torch.equal(other.state_dict[name], tensor), name
