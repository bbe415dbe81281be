"""Where the samples of each shard lie, kept in the cache: a pass over the headers of a large tar
takes as long as reading it where the disk is far, and every process of a machine would make it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import filelock
import msgspec

from grace_geom.data.captions import Captions
from grace_geom.data.samples import Sample, samples_of
from grace_geom.data.tarball import Member
from grace_geom.errors import UserError
from grace_geom.files import atomic_write, cache_dir, version_of
from grace_geom.terminal.voice import warn

FORMAT = "grace_geom.shard/1"
SMALL = 2**20
"""Bytes of a shard that is read as quickly as its index."""


class KeptSample(msgspec.Struct, array_like=True):
    """A sample, as it is kept."""

    name: str
    offset: int
    size: int
    label: int | None
    captions: Captions


class _Index(msgspec.Struct):
    format: str
    shard: str
    samples: list[KeptSample]


def indexed(path: Path, captions: bool = False) -> list[Sample]:
    """The samples of a shard, from the index of this very version of it where there is one, else by
    a pass over its headers, which the next process is spared.

    The version is told by place, inode, size and time of change. Processes that want the same index
    at the same time wait for the first of them.

    Args:
        path: The shard.
        captions: As for :func:`~grace_geom.data.samples.samples_of`.

    Raises:
        UserError: As :func:`~grace_geom.data.samples.samples_of`; what is wrong with a shard is not
            kept.
    """
    if not path.is_file() or path.stat().st_size < SMALL:
        return list(samples_of(path, captions))
    version = version_of(path)
    told = repr((FORMAT, str(path.absolute()), version, captions))
    place = cache_dir() / "shards"
    kept = place / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / f"{kept.name[:2]}.lock"):
            found = _read(kept)
            if found is None:
                found = list(samples_of(path, captions))
                if version_of(path) == version:  # else it is another's
                    _write(kept, path, found)
            return found
    except OSError as error:
        warn(f"shards are indexed again at each start: {place}: {error.strerror or error}")
        return list(samples_of(path, captions))


def _read(kept: Path) -> list[Sample] | None:
    """``None`` where there is no index, or one that is damaged: it is made again."""
    try:
        index = msgspec.json.decode(kept.read_bytes(), type=_Index)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return samples_in(index.samples)


def samples_in(entries: Sequence[KeptSample]) -> list[Sample]:
    """The samples that were kept."""
    return [Sample(Member(e.name, e.offset, e.size), e.label, e.captions) for e in entries]


def entries_of(samples: Sequence[Sample]) -> list[KeptSample]:
    """The samples, to be kept."""
    return [
        KeptSample(s.image.name, s.image.offset, s.image.size, s.label, s.captions) for s in samples
    ]


def _write(kept: Path, path: Path, found: list[Sample]) -> None:
    entries = entries_of(found)
    try:
        content = msgspec.json.encode(_Index(FORMAT, str(path), entries))
    except UnicodeEncodeError:  # a name that is no text: such a shard is read without an index
        return
    try:
        with atomic_write(kept) as file:
            file.write(content)
    except UserError as error:
        warn(f"shards are indexed again at each start: {error}")
