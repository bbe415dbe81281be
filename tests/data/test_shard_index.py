"""Shards in a store, and the index of shards that processes share."""

import os
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest

from grace_geom.data import resolve, shard_index
from grace_geom.data.samples import samples_of
from grace_geom.data.shard_index import indexed
from grace_geom.errors import UserError
from tests.data.makers import pictures, rgb, turns, write_shard, write_tar


@pytest.fixture(autouse=True)
def every_shard_is_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shard_index, "SMALL", 0)
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards whose headers were read."""
    found: list[str] = []

    def counted(path: Path, captions: bool = False):
        found.append(path.name)
        return samples_of(path, captions)

    monkeypatch.setattr(shard_index, "samples_of", counted)
    return found


def test_headers_are_read_once_for_all_processes(tmp_path: Path, passes: list[str]) -> None:
    shard = write_shard(tmp_path / "a.tar", pictures(4), turns(4))
    first = indexed(shard)
    assert indexed(shard) == first == list(samples_of(shard)) and passes == ["a.tar"]
    assert first[3].label == 0 and first[3].image.name == "000003.png"


def test_a_shard_that_changed_is_read_again(tmp_path: Path, passes: list[str]) -> None:
    shard = write_shard(tmp_path / "a.tar", pictures(4), turns(4))
    indexed(shard)
    write_shard(shard, pictures(4), turns(4)[::-1])
    os.utime(shard, ns=(1, 1))  # the same size, in the same place
    assert [s.label for s in indexed(shard)] == [0, 2, 1, 0] and passes == ["a.tar"] * 2


def test_captions_have_an_index_of_their_own(tmp_path: Path, passes: list[str]) -> None:
    shard = write_shard(tmp_path / "a.tar", pictures(1), turns(1))
    assert indexed(shard)[0].captions == ()
    members = [("0.png", b"x"), ("0.cls", b"2"), ("0.txt", "ein Bär\n".encode())]
    told = write_tar(tmp_path / "b.tar", members)
    assert indexed(told)[0].captions == () and indexed(told, True)[0].captions == ("ein Bär",)
    assert indexed(told, True)[0].captions == ("ein Bär",) and passes == ["a.tar", "b.tar", "b.tar"]


def test_a_damaged_index_is_made_again(tmp_path: Path, passes: list[str]) -> None:
    shard = write_shard(tmp_path / "a.tar", pictures(4), turns(4))
    first = indexed(shard)
    (kept,) = (tmp_path / "cache" / "shards").glob("*.json")
    kept.write_bytes(kept.read_bytes()[:40])
    assert indexed(shard) == first and indexed(shard) == first and len(passes) == 2


def test_a_broken_shard_leaves_no_index(tmp_path: Path, passes: list[str]) -> None:
    shard = tmp_path / "a.tar"
    shard.write_bytes(write_shard(tmp_path / "b.tar", pictures(4), turns(4)).read_bytes()[:3000])
    for _ in range(2):
        with pytest.raises(UserError, match="not a whole, uncompressed tar"):
            indexed(shard)
    assert len(passes) == 2 and not list((tmp_path / "cache" / "shards").glob("*.json"))


def test_shards_of_a_store_are_those_of_a_disk(tmp_path: Path, passes: list[str]) -> None:
    name = uuid.uuid4().hex[:8]
    memory, url = fsspec.filesystem("memory"), f"memory://{name}"
    for k in range(2):
        shard = write_shard(tmp_path / f"{k:03d}.tar", pictures(4, seed=k), turns(4), first=4 * k)
        memory.pipe_file(f"/{name}/{k:03d}.tar", shard.read_bytes())
    memory.pipe_file(f"/{name}/classnames.txt", b"apple\nbear\ncar\n")
    (tmp_path / "classnames.txt").write_text("apple\nbear\ncar\n")
    far = resolve(f"wds:{url}/{{000..001}}.tar", "eval")
    near = resolve(f"wds:{tmp_path}/{{000..001}}.tar", "eval")
    assert far.class_names == near.class_names and far.labels.tolist() == near.labels.tolist()
    assert all(np.array_equal(rgb(far, i), rgb(near, i)) for i in range(8))
    assert far.note["urls"] == [f"{url}/000.tar", f"{url}/001.tar"]
    assert far.note["content"] == near.note["content"]
    before = len(passes)
    again = resolve(f"wds:{url}/{{000..001}}.tar", "eval")
    assert len(passes) == before and np.array_equal(rgb(again, 5), rgb(near, 5))


def test_a_copy_has_the_time_of_the_object(tmp_path: Path) -> None:
    from grace_geom.data.fetch import cached

    name = uuid.uuid4().hex[:8]
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"/{name}/a.tar", b"one")
    made = cached(f"memory://{name}/a.tar")
    told = memory.info(f"/{name}/a.tar")["created"]
    assert made.stat().st_mtime == pytest.approx(
        getattr(told, "timestamp", lambda: told)(), abs=1e-3
    )
    memory.pipe_file(f"/{name}/a.tar", b"two")
    assert cached(f"memory://{name}/a.tar").read_bytes() == b"two"


def test_a_shard_that_is_not_in_the_store_is_named() -> None:
    name = uuid.uuid4().hex[:8]
    fsspec.filesystem("memory").pipe_file(f"/{name}/classnames.txt", b"apple\n")
    with pytest.raises(UserError, match=f"memory://{name}/a.tar: there is no such object"):
        resolve(f"wds:memory://{name}/a.tar", "eval")
