"""Shards of a store that are read where they lie: the bytes of the pictures that are wanted, and no
copy of a shard.

The order is that of an epoch (:func:`grace_geom.data.batches.buffered_order`), which must know the
number of pictures in every shard before the first batch; so each shard is looked through once, and
what was found is kept in the cache for all later starts.
"""

import functools
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import filelock
import msgspec
import numpy as np
from PIL import Image

from grace_geom.data.fetch import Absent
from grace_geom.data.keys import content_key, file_key
from grace_geom.data.names import HASHED_BELOW
from grace_geom.data.pictures import MAX_BYTES, decode
from grace_geom.data.samples import samples_of
from grace_geom.data.shard_index import KeptSample, entries_of
from grace_geom.data.shards import Shards
from grace_geom.data.text import shown
from grace_geom.errors import UserError
from grace_geom.files import atomic_write, cache_dir, sha256
from grace_geom.store import TRIES, ObjectStore

FORMAT = "grace_geom.far_shard/1"
GAP = 2**16
"""Bytes between two pictures that are cheaper to fetch than to ask for the second one apart."""


class FarIndex(msgspec.Struct):
    """What was found in a shard of a store.

    Attributes:
        format: Of the file.
        url: Of the shard.
        size: Its bytes.
        changed: When it was written, by the store's clock.
        sha256: Of its bytes.
        samples: Its pictures.
        keys: Of each picture, as :func:`grace_geom.data.keys.file_key` makes them.
    """

    format: str
    url: str
    size: int
    changed: float
    sha256: str
    samples: list[KeptSample]
    keys: list[int]

    def record(self) -> dict[str, Any]:
        """As :func:`grace_geom.data.names.file_record` of a copy."""
        found: dict[str, Any] = {"file": self.url, "bytes": self.size}
        return found | {"sha256": self.sha256} if self.size < HASHED_BELOW else found


def far_index(url: str, captions: bool = False) -> FarIndex:
    """What is in a shard of a store: from the cache, else found in a copy that is then removed.

    Args:
        url: Of the shard.
        captions: As for :func:`~grace_geom.data.samples.samples_of`.

    Raises:
        UserError: As :func:`~grace_geom.data.samples.samples_of`; if the store does not answer, or
            the cache cannot be written.
    """
    parent, _, name = url.rpartition("/")
    try:
        objects = objects_at(parent)
        told = objects.info(name)
    except FileNotFoundError:
        raise Absent(f"{url}: there is no such object") from None
    objects.tries = TRIES  # it has answered: the address is right
    version = repr((FORMAT, url, told.version, told.size, captions))
    place = cache_dir() / "shards"
    kept = place / f"{hashlib.sha256(version.encode()).hexdigest()[:32]}.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / f"{kept.name[:2]}.lock"):
            found = _read(kept)
            if found is None:
                found = _looked_through(url, place, captions, told.size, told.changed)
                _write(kept, found)
            return found
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


def _looked_through(url: str, place: Path, captions: bool, size: int, changed: float) -> FarIndex:
    parent, _, name = url.rpartition("/")
    with TemporaryDirectory(dir=place, prefix=".shard.") as temporary:
        path = Path(temporary) / name
        objects_at(parent).download(name, path)
        if path.stat().st_size != size:
            raise UserError(f"{url} was replaced while it was read. Try again")
        try:
            samples = list(samples_of(path, captions))
        except UserError as error:
            raise UserError(str(error).replace(shown(path), shown(url))) from None
        entries = entries_of(samples)
        keys = [file_key(str(path), entry.offset, entry.size) for entry in entries]
        return FarIndex(FORMAT, url, size, changed, sha256(path), entries, keys)


def content_of(found: Sequence[FarIndex]) -> str:
    """As :func:`grace_geom.data.names.content_digest` of copies."""
    total = hashlib.sha256()
    small = sum(index.size for index in found) < HASHED_BELOW
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
