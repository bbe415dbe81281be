"""Shards that are looked through in their store: what is found is what a copy holds, and large
pictures stay where they are.
"""

import hashlib
import io
import json
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path

import fsspec
import numpy as np
import pytest

from grace_geom.data import far_shards, names, resolve
from grace_geom.data.__main__ import main
from grace_geom.data.far_tar import FarTar, looked_through
from grace_geom.data.keys import file_key, keys_of
from grace_geom.data.samples import samples_of
from grace_geom.errors import UserError
from tests.data.test_far_shards import PATTERN, batches, far, near

__all__ = ["far", "near"]  # fixtures
KIB = 2**10


class Counted:
    """The bytes of a shard; counts what is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content, self.requests, self.moved = content, 0, 0

    def __call__(self, pieces: Sequence[tuple[int, int]]) -> list[bytes]:
        self.requests += 1
        self.moved += sum(b - a for a, b in pieces)
        assert all(0 <= a < b <= len(self.content) for a, b in pieces)
        return [self.content[a:b] for a, b in pieces]


def shard(place: Path, sizes: Sequence[int], endings: Sequence[str]) -> Path:
    """A shard of pictures that are noise; of other members each has what its ending wants."""
    noise = np.random.default_rng(0)
    with tarfile.open(place, "w") as tar:
        for i, size in enumerate(sizes):
            said = {
                "cls": f"{i % 3}".encode(),
                "json": json.dumps({"label": i % 3, "caption": f"picture {i}", "more": "x" * 999}),
                "txt": f"picture {i}",
                "jpg": noise.bytes(size),
            }
            for ending in endings:
                content = said[ending]
                content = content if isinstance(content, bytes) else content.encode()
                about = tarfile.TarInfo(f"{i:04d}.{ending}")
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
    return place


@pytest.mark.parametrize("endings", ["cls jpg", "jpg cls", "json jpg txt", "jpg json txt"])
@pytest.mark.parametrize(
    ("kib", "share", "requests"),
    [((600, 900), 0.03, 43), ((2, 9), 1.1, 8), ((100, 250), 1.01, 10), ((1, 700), 0.6, 48)],
    ids=["large", "small", "middling", "mixed"],
)
def test_what_is_found_is_what_a_copy_holds(tmp_path, endings, kib, share, requests) -> None:
    sizes = np.random.default_rng(1).integers(kib[0] * KIB, kib[1] * KIB, 40).tolist()
    path = shard(tmp_path / "a.tar", sizes, endings.split())
    captions = "txt" in endings
    ask = Counted(path.read_bytes())
    found, keys = looked_through(FarTar("s3://b/a.tar", len(ask.content), ask), captions)
    truth = list(samples_of(path, captions))
    assert found == truth and len(truth) == 40
    assert keys == [file_key(str(path), s.image.offset, s.image.size) for s in truth]
    print(f"{ask.moved / len(ask.content):.1%} of the bytes in {ask.requests} requests")
    assert ask.moved <= share * len(ask.content) and ask.requests <= requests


def test_blocks_are_not_kept_without_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("grace_geom.data.far_tar.WAITING", 10 * KIB)
    path = shard(tmp_path / "a.tar", [300 * KIB] * 9, ["cls", "jpg"])
    ask = Counted(path.read_bytes())
    _, keys = looked_through(FarTar("s3://b/a.tar", len(ask.content), ask), False)
    truth = samples_of(path)
    assert keys == [file_key(str(path), s.image.offset, s.image.size) for s in truth]
    assert 9 + 3 <= ask.requests <= 9 + 5


@pytest.fixture
def moved(monkeypatch) -> list[int]:
    """Bytes that the memory in place of a store is asked for, in pieces or whole."""
    memory, found = fsspec.filesystem("memory"), list[int]()
    ranges, whole = memory.cat_ranges, memory.cat_file

    def cat_ranges(paths, starts, ends, **how):
        found.extend(b - a for a, b in zip(starts, ends, strict=True))
        return ranges(paths, starts, ends, **how)

    def cat_file(path, start=None, end=None, **how):
        content = whole(path, start, end, **how)
        found.extend([len(content)] if start is None else [])
        return content

    def refused(*args, **how):
        raise AssertionError("a copy is made")

    for name, function in (("cat_ranges", cat_ranges), ("cat_file", cat_file)):
        monkeypatch.setattr(memory, name, function)
    monkeypatch.setattr(memory, "get_file", refused)
    return found


@pytest.fixture
def large(monkeypatch) -> None:
    """Every data set counts as one of more than 256 MiB, whose shards are not hashed."""
    for module in (far_shards, names):
        monkeypatch.setattr(module, "HASHED_BELOW", 0)


@pytest.fixture
def stored(tmp_path, monkeypatch, large) -> str:
    """Two shards of 20 large pictures, in a store."""
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "cache"))
    far_shards._warn_of_indexes.cache_clear()
    url = f"memory://{uuid.uuid4().hex[:8]}"
    memory = fsspec.filesystem("memory")
    for name, size in (("0.tar", 500 * KIB), ("1.tar", 300 * KIB)):
        path = shard(tmp_path / name, [size] * 20, ["cls", "jpg"])
        memory.pipe_file(f"{url[8:]}/{name}", path.read_bytes())
    memory.pipe_file(f"{url[8:]}/classnames.txt", b"a\nb\nc\n")
    return url


def streamed(url: str) -> tuple[list[int], list[int]]:
    """Labels and keys of the pictures."""
    one = resolve(f"wds:{url}/{{0..1}}.tar", "eval", stream=True)
    return one.labels.tolist(), keys_of(one).tolist()


def test_a_start_leaves_large_pictures_where_they_are(stored: str, moved: list[int]) -> None:
    labels, _ = streamed(stored)
    assert labels == [i % 3 for i in range(20)] * 2
    assert 40 * 3 * 4 * KIB < sum(moved) < 0.1 * 40 * 400 * KIB
    moved.clear()
    streamed(stored)
    assert moved == [], "the index is in the cache"


def test_large_sets_have_the_batches_of_copies(far: str, tmp_path, monkeypatch, large) -> None:
    copied = resolve(f"wds:{far}/{PATTERN}", "train")
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "other"))
    there = resolve(f"wds:{far}/{PATTERN}", "train", stream=True)
    assert there.content == copied.content and there.index.tolist() == copied.index.tolist()
    assert np.array_equal(keys_of(there), keys_of(copied))
    for a, b in zip(batches(there), batches(copied), strict=True):
        assert a.images.equal(b.images) and a.labels.equal(b.labels)
    assert not list((tmp_path / "other").rglob("*.tar"))


def test_an_index_beside_a_shard_is_read_in_its_place(
    stored: str, moved: list[int], tmp_path, monkeypatch, capsys
) -> None:
    truth = streamed(stored)
    main(["index", f"{stored}/0.tar", f"wds:{stored}/1.tar"])
    told = capsys.readouterr().out
    assert "2 shards of 15.7 MiB with 40 pictures: indexes of 0.0 MiB lie beside them" in told
    moved.clear()
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "another machine's"))
    assert streamed(stored) == truth
    print(f"{sum(moved) / 40:.0f} bytes a picture")
    assert len(moved) == 2 and sum(moved) < 40 * 100, "the two indexes, no piece of a shard"


@pytest.mark.parametrize("what", ["replaced", "damaged", "a key is missing"])
def test_an_index_of_another_version_is_told_and_not_used(
    stored: str, tmp_path, monkeypatch, capsys, what
) -> None:
    main(["index", f"{stored}/{{0..1}}.tar"])
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "other"))
    memory = fsspec.filesystem("memory")
    if what == "replaced":
        for name in ("0.tar", "1.tar"):
            path = shard(tmp_path / name, [400 * KIB] * 4, ["cls", "jpg"])
            memory.pipe_file(f"{stored[8:]}/{name}", path.read_bytes())
    elif what == "damaged":
        memory.pipe_file(f"{stored[8:]}/1.tar.index.json", b"{")
    else:
        drop_a_key(stored)
    capsys.readouterr()
    labels, _ = streamed(stored)
    assert len(labels) == (8 if what == "replaced" else 40)
    told = capsys.readouterr().err
    assert told.count("indexes beside shards are damaged, or of other versions") == 1
    assert "data index`" in told
    main(["index", f"{stored}/{{0..1}}.tar"])
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "third"))
    far_shards._warn_of_indexes.cache_clear()
    capsys.readouterr()
    assert streamed(stored)[0] == labels and "indexes beside" not in capsys.readouterr().err


def drop_a_key(stored: str) -> None:
    """Make the second shard's index one that can be read, and is wrong."""
    memory, place = fsspec.filesystem("memory"), f"{stored[8:]}/1.tar.index.json"
    index = json.loads(memory.cat_file(place))
    memory.pipe_file(place, json.dumps(index | {"keys": index["keys"][1:]}).encode())


def test_indexes_with_and_without_captions_lie_side_by_side(
    stored: str, moved: list[int], tmp_path, monkeypatch, capsys
) -> None:
    urls = [f"{stored}/{k}.tar" for k in (0, 1)]
    for flags in (["--captions"], [], ["--captions"]):
        main(["index", *urls, *flags])
    moved.clear()
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "other"))
    for captions in (False, True):
        assert [one.captions for one in far_shards.far_indexes(urls, captions)] == [captions] * 2
    assert len(moved) == 4 and sum(moved) < 4 * 20 * 100, "the four indexes, no piece of a shard"
    fsspec.filesystem("memory").pipe_file(f"{stored[8:]}/0.tar.captions.index.json", b"{")
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "third"))
    capsys.readouterr()
    assert far_shards.far_indexes(urls) and "indexes beside" not in capsys.readouterr().err
    far_shards.far_indexes(urls, captions=True)
    assert "data index --captions` writes them again" in capsys.readouterr().err


def test_indexes_are_made_of_the_shards_and_of_nothing_older(stored: str, tmp_path) -> None:
    main(["index", f"{stored}/{{0..1}}.tar"])
    memory, place = fsspec.filesystem("memory"), f"{stored[8:]}/1.tar.index.json"
    truth = memory.cat_file(place)
    wrong = truth.replace(b'"0001.jpg"', b'"0007.jpg"')
    memory.pipe_file(place, wrong)
    for kept in (tmp_path / "cache" / "shards").glob("*.json"):
        kept.write_bytes(kept.read_bytes().replace(b'"0001.jpg"', b'"0007.jpg"'))
    main(["index", f"{stored}/{{0..1}}.tar"])
    assert memory.cat_file(place) == truth != wrong


def test_a_set_that_is_fetched_whole_needs_no_index_and_is_told_so(
    far: str, large, monkeypatch, capsys
) -> None:
    main(["index", f"{far}/{PATTERN}"])
    assert "fetched whole" not in capsys.readouterr().err
    for module in (far_shards, names):
        monkeypatch.setattr(module, "HASHED_BELOW", 2**28)
    main(["index", f"{far}/{PATTERN}"])
    told = capsys.readouterr()
    assert "a data set of 0.1 MiB is fetched whole" in told.err and "256.0 MiB or more" in told.err
    assert "4 shards of 0.1 MiB with 24 pictures" in told.out


@pytest.mark.parametrize("how", ["in pieces", "whole"])
def test_a_shard_that_is_replaced_while_it_is_read_is_not_called_broken(
    stored: str, monkeypatch, how
) -> None:
    memory, place = fsspec.filesystem("memory"), f"{stored[8:]}/1.tar"
    name = "cat_ranges" if how == "in pieces" else "get_file"
    if how == "whole":
        monkeypatch.setattr(far_shards, "HASHED_BELOW", 2**28)
    real, new = getattr(memory, name), np.random.default_rng(0).bytes(memory.size(place))
    monkeypatch.setattr(memory, name, lambda *a, **k: memory.pipe_file(place, new) or real(*a, **k))
    with pytest.raises(UserError, match=r"1\.tar was replaced while it was read\. Try again"):
        streamed(stored)
    with pytest.raises(UserError, match=r"1\.tar is not a whole, uncompressed tar"):
        monkeypatch.setattr(memory, name, real)
        streamed(stored)


def test_a_shard_of_a_large_set_has_no_sha256_on_record(stored: str, monkeypatch) -> None:
    urls = [f"{stored}/{k}.tar" for k in (0, 1)]
    assert [one.record().keys() for one in far_shards.far_indexes(urls)] == [{"file", "bytes"}] * 2
    monkeypatch.setattr(far_shards, "HASHED_BELOW", 2**28)
    truth = [fsspec.filesystem("memory").cat_file(url[8:]) for url in urls]
    found = [one.record() for one in far_shards.far_indexes(urls)]
    assert [one["sha256"] for one in found] == [hashlib.sha256(b).hexdigest() for b in truth]


def test_only_shards_of_a_store_have_indexes(tmp_path, capsys) -> None:
    path = shard(tmp_path / "a.tar", [KIB], ["cls", "jpg"])
    stores = "indexes lie beside shards of a store"
    calls = {("index", str(path)): stores, ("index", "https://example.org/a.tar"): stores}
    for call, said in (calls | {("indx", "s3://b/a.tar"): "did you mean 'index'"}).items():
        with pytest.raises(SystemExit) as refused:
            main(list(call))
        assert refused.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "empty", "packed", "cut in a picture", "gone"])
def test_a_broken_shard_is_named_by_its_address(stored: str, damage: str, monkeypatch) -> None:
    memory, place = fsspec.filesystem("memory"), f"{stored[8:]}/1.tar"
    content = memory.cat_file(place)
    if damage == "gone":
        real = memory.cat_ranges
        monkeypatch.setattr(memory, "cat_ranges", lambda *a, **k: memory.rm(place) or real(*a, **k))
        with pytest.raises(UserError, match="a shard is gone since the start"):
            streamed(stored)
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        last = tar.getmembers()[-1]
    cuts = {
        "cut": content[: last.offset_data + last.size],  # a multiple of 512
        "empty": b"",
        "packed": b"\x1f\x8b" + content,
        "cut in a picture": content[:1_000_000],
    }
    memory.pipe_file(place, cuts[damage])
    with pytest.raises(UserError, match=rf"{stored}/1\.tar is not a whole, uncompressed tar"):
        streamed(stored)
