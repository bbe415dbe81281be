"""Shards of a store that are read where they lie: the bytes of the pictures that are wanted, and no
copy of a shard.

The order is that of an epoch (:func:`grace_geom.data.batches.buffered_order`), which must know the
number of pictures in every shard before the first batch; so each shard is looked through once
(:mod:`grace_geom.data.far_tar`), and what was found is kept in the cache for all later starts, and
beside the shard if you like.
"""

import contextlib
import functools
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import filelock
import msgspec
import numpy as np
from PIL import Image

from grace_geom.data.far_tar import FarTar, looked_through
from grace_geom.data.fetch import Absent
from grace_geom.data.keys import content_key, file_key
from grace_geom.data.names import HASHED_BELOW
from grace_geom.data.pictures import MAX_BYTES, decode
from grace_geom.data.samples import Sample, samples_of
from grace_geom.data.shard_index import KeptSample, entries_of
from grace_geom.data.shards import Shards
from grace_geom.data.text import shown
from grace_geom.errors import UserError
from grace_geom.files import atomic_write, cache_dir, sha256
from grace_geom.store import TRIES, AwayError, Listed, ObjectStore
from grace_geom.terminal.voice import warn

FORMAT = "grace_geom.far_shard/2"
BESIDE = {False: ".index.json", True: ".captions.index.json"}
"""What follows a shard's name in that of its index, where one lies beside it in the store; by
whether it has captions. Each has a name of its own, so that neither is written over the other.
"""
GAP = 2**16
"""Bytes between two pictures that are cheaper to fetch than to ask for the second one apart."""
READERS = 8
"""Shards that are looked through at a time."""


class FarIndex(msgspec.Struct):
    """What was found in a shard of a store.

    Attributes:
        format: Of the file.
        url: Of the shard.
        size: Its bytes.
        version: What the store calls this state of it.
        changed: When it was written, by the store's clock.
        captions: Whether captions were read.
        samples: Its pictures.
        keys: Of each picture, as :func:`grace_geom.data.keys.file_key` makes them.
        sha256: Of its bytes; empty where they were not all read.
    """

    format: str
    url: str
    size: int
    version: str
    changed: float
    captions: bool
    samples: list[KeptSample]
    keys: list[int]
    sha256: str = ""

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.samples):
            raise ValueError(f"{len(self.keys)} keys of {len(self.samples)} pictures")

    def record(self) -> dict[str, Any]:
        """Address, size in bytes and, where it is known, SHA-256.

        It is that of a copy (:func:`grace_geom.data.names.file_record`) for a set below
        :data:`~grace_geom.data.names.HASHED_BELOW`, whose shards are fetched whole. Of a larger set
        no shard has a SHA-256, however small it is: its bytes are not all read.
        """
        found: dict[str, Any] = {"file": self.url, "bytes": self.size}
        known = self.sha256 and self.size < HASHED_BELOW
        return found | {"sha256": self.sha256} if known else found


def far_indexes(
    urls: Sequence[str], captions: bool = False, afresh: bool = False
) -> list[FarIndex]:
    """What is in shards of a store: from the cache, else from an index that lies beside a shard
    (:mod:`grace_geom.data.beside`), else by looking through it, which leaves large pictures where
    they are.

    The bytes of a small data set name its content
    (:func:`grace_geom.data.names.content_digest`): its shards are fetched whole.

    Args:
        urls: Of the shards.
        captions: As for :func:`~grace_geom.data.samples.samples_of`.
        afresh: Look through every shard, whatever was found before; the cache has that then.

    Raises:
        UserError: As :func:`~grace_geom.data.samples.samples_of`; if the store does not answer, or
            the cache cannot be written.
    """
    for parent in dict.fromkeys(url.rpartition("/")[0] for url in urls):
        _ = objects_at(parent).system  # opened here: a connection for all threads
    with ThreadPoolExecutor(READERS) as readers:
        told = list(readers.map(_told, urls))
        index = partial(_index, captions=captions, whole=fetched_whole(told), afresh=afresh)
        return list(readers.map(index, urls, told))


def fetched_whole(shards: Sequence[Listed | FarIndex]) -> bool:
    """Whether each start fetches all bytes of a set of these shards, and needs no index."""
    return sum(one.size for one in shards) < HASHED_BELOW


def _told(url: str) -> Listed:
    parent, _, name = url.rpartition("/")
    try:
        objects = objects_at(parent)
        told = objects.info(name)
    except FileNotFoundError:
        raise Absent(f"{url}: there is no such object") from None
    objects.tries = TRIES  # it has answered: the address is right
    return told


def _index(url: str, told: Listed, captions: bool, whole: bool, afresh: bool) -> FarIndex:
    version = repr((FORMAT, url, told.version, told.size, captions))
    place = cache_dir() / "shards"
    kept = place / f"{hashlib.sha256(version.encode()).hexdigest()[:32]}.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / f"{kept.name[:2]}.lock"):
            found = None if afresh else _read(kept)
            if found is None or (whole and not found.sha256):
                found = None if whole or afresh else _beside(url, told, captions)
                found = found or _found(url, told, captions, place if whole else None)
                _write(kept, found)
            return found if whole else msgspec.structs.replace(found, sha256="")
    except FileNotFoundError:
        raise Absent(f"{url}: it was removed while it was read") from None
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror or error}") from None


def _read(kept: Path) -> FarIndex | None:
    try:
        return msgspec.json.decode(kept.read_bytes(), type=FarIndex)
    except (FileNotFoundError, msgspec.MsgspecError):  # none, or damaged: it is made again
        return None


def _write(kept: Path, found: FarIndex) -> None:
    try:
        content = msgspec.json.encode(found)
    except UnicodeEncodeError:  # a name that is no text: such a shard is looked through each time
        return
    with atomic_write(kept) as file:
        file.write(content)


def _found(url: str, told: Listed, captions: bool, place: Path | None) -> FarIndex:
    """What is in a shard; with a place on the disk, from a copy that is then removed."""
    digest = ""
    with _one_version(url, told):
        if place is None:
            parent, _, name = url.rpartition("/")
            tar = FarTar(url, told.size, lambda p: _asked(parent, [(name, a, b) for a, b in p]))
            samples, keys = looked_through(tar, captions)
        else:
            samples, keys, digest = _of_a_copy(url, captions, place)
    about = FORMAT, url, told.size, told.version, told.changed, captions
    return FarIndex(*about, entries_of(samples), keys, digest)


@contextlib.contextmanager
def _one_version(url: str, told: Listed) -> Iterator[None]:
    """Refuse what was read of a shard that was replaced meanwhile. Pieces of two versions may look
    like a broken tar, too: then this is what is said.
    """
    try:
        yield
    except AwayError:
        raise
    except UserError:
        with contextlib.suppress(Absent):  # the error says that it is gone
            _check_version(url, told)
        raise
    _check_version(url, told)


def _check_version(url: str, told: Listed) -> None:
    if _told(url).version != told.version:
        raise UserError(f"{url} was replaced while it was read. Try again")


def _beside(url: str, told: Listed, captions: bool) -> FarIndex | None:
    parent, _, name = url.rpartition("/")
    try:
        content = objects_at(parent).read(name + BESIDE[captions])
        found = msgspec.json.decode(content, type=FarIndex)
    except FileNotFoundError:
        return None
    except UserError as error:
        if isinstance(error.__cause__, PermissionError):  # S3's answer to who may not list
            return None
        raise
    except msgspec.MsgspecError:
        _warn_of_indexes(parent, captions)
        return None
    about = FORMAT, told.size, told.version, captions
    if (found.format, found.size, found.version, found.captions) != about:
        _warn_of_indexes(parent, captions)
        return None
    return msgspec.structs.replace(found, url=url, changed=told.changed, sha256="")


@functools.cache
def _warn_of_indexes(parent: str, captions: bool) -> None:
    """Once for a folder."""
    flag = " --captions" if captions else ""
    warn(
        f"{parent}: indexes beside shards are damaged, or of other versions of the shards, which "
        f"are looked through: `python -m grace_geom.data index{flag}` writes them again"
    )


def _of_a_copy(url: str, captions: bool, place: Path) -> tuple[list[Sample], list[int], str]:
    """Samples, keys and SHA-256 of a shard that is fetched whole."""
    parent, _, name = url.rpartition("/")
    with TemporaryDirectory(dir=place, prefix=".shard.") as temporary:
        path = Path(temporary) / name
        objects_at(parent).download(name, path)
        try:
            samples = list(samples_of(path, captions))
        except UserError as error:
            raise UserError(str(error).replace(shown(path), shown(url))) from None
        images = [sample.image for sample in samples]
        keys = [file_key(str(path), image.offset, image.size) for image in images]
        return samples, keys, sha256(path)


def content_of(found: Sequence[FarIndex]) -> str:
    """As :func:`grace_geom.data.names.content_digest` of copies."""
    total = hashlib.sha256()
    small = fetched_whole(found)
    for k, index in enumerate(found):
        whole = math.floor(index.changed)
        when = whole * 10**9 + math.floor((index.changed - whole) * 1e9)
        told = index.sha256 if small else (index.size, when)
        total.update(f"{k} {told};".encode())
    return total.hexdigest()[:16]


@dataclass(frozen=True)
class FarShards(Shards):
    """Reads pictures out of shards in a store; the paths are addresses.

    Attributes:
        known_keys: ``(N,)`` uint64, :func:`grace_geom.data.keys.keys_of` of the pictures.
    """

    known_keys: np.ndarray

    def __call__(self, i: int) -> Image.Image:
        return self.many(np.array([i]))[0]

    def many(self, positions: np.ndarray) -> list[Image.Image]:
        """The pictures at ``positions``, asked for together."""
        found = self._fetched(positions)
        return [decode(found[i], f"{shown(self.called(i))}") for i in positions.tolist()]

    def encoded(self, i: int) -> bytes:
        """The bytes of a picture's file."""
        return self._fetched(np.array([i]))[i]

    def _fetched(self, positions: np.ndarray) -> dict[int, bytes]:
        """The bytes of pictures, by position: neighbours in a shard in one piece, all pieces of a
        folder at once.
        """
        folders: dict[str, list[tuple[str, int, int, list[int]]]] = {}
        for url, start, end, inside in self._pieces(positions):
            parent, _, name = url.rpartition("/")
            folders.setdefault(parent, []).append((name, start, end, inside))
        found: dict[int, bytes] = {}
        for parent, pieces in folders.items():
            contents = _asked(parent, [piece[:3] for piece in pieces])
            for (_, start, _, inside), content in zip(pieces, contents, strict=True):
                for i in inside:
                    begin = int(self.offset[i]) - start
                    found[i] = content[begin : begin + int(self.size[i])]
                    self._check(i, found[i])
        return found

    def _pieces(self, positions: np.ndarray) -> list[tuple[str, int, int, list[int]]]:
        """Address, start, end and pictures of each piece."""
        found: list[tuple[str, int, int, list[int]]] = []
        wanted = np.unique(positions)
        row = wanted[np.lexsort((self.offset[wanted], self.shard[wanted]))]
        for i in row.tolist():
            url, begin = self.paths[self.shard[i]], int(self.offset[i])
            end = begin + int(self.size[i])
            if end - begin > MAX_BYTES:
                raise UserError(f"{shown(self.called(i))}: at most {MAX_BYTES} bytes are read")
            if found and found[-1][0] == url and 0 <= begin - found[-1][2] <= GAP:
                _, start, _, inside = found.pop()
                found.append((url, start, end, [*inside, i]))
            else:
                found.append((url, begin, end, [i]))
        return found

    def _check(self, i: int, content: bytes) -> None:
        """Refuse bytes of another version of the shard than the one that was looked through."""
        if content_key(content, self.paths[self.shard[i]]) != int(self.known_keys[i]):
            raise UserError(
                f"{shown(self.called(i))}: other bytes than at the start: the shard was replaced. "
                "Start again, with --resume-anyway if the pictures may have changed"
            )


def _asked(parent: str, pieces: Sequence[tuple[str, int, int]]) -> list[bytes]:
    objects = objects_at(parent)
    objects.tries = TRIES  # it has answered at the start
    try:
        return objects.ranges(pieces)
    except FileNotFoundError as error:
        raise UserError(f"{parent}: a shard is gone since the start: {error}") from None


def objects_at(parent: str) -> ObjectStore:
    """The objects of a folder in a store, asked once until they have answered."""
    return _objects_at(parent, os.getpid())


@functools.lru_cache(maxsize=64)
def _objects_at(parent: str, _process: int) -> ObjectStore:  # a fork has connections of its own
    return ObjectStore(parent)
