"""Indexes of shards, written beside them in their store: who streams the shards reads those."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from grace_geom.data import names
from grace_geom.data.far_shards import (
    BESIDE,
    READERS,
    FarIndex,
    far_indexes,
    fetched_whole,
    objects_at,
)
from grace_geom.data.fetch import is_url
from grace_geom.data.wds import expand
from grace_geom.errors import UserError
from grace_geom.terminal.voice import warn


@dataclass(frozen=True)
class IndexesWritten:
    """What has an index now.

    Attributes:
        shards: How many.
        pictures: In all of them.
        shard_bytes: Of all shards.
        index_bytes: Of all indexes.
    """

    shards: int
    pictures: int
    shard_bytes: int
    index_bytes: int

    def text(self) -> str:
        """In a sentence."""
        return (
            f"{self.shards:,} shards of {_size(self.shard_bytes)} with {self.pictures:,} pictures: "
            f"indexes of {_size(self.index_bytes)} lie beside them"
        )


def write_indexes(patterns: Sequence[str], captions: bool = False) -> IndexesWritten:
    """Look through shards of a store, whatever was found there before, and write beside each what
    was found: as ``SHARD.index.json``, with captions as ``SHARD.captions.index.json``.

    Warns where a data set of these shards alone is so small that it is fetched whole.

    Args:
        patterns: Addresses of shards, as ``wds:`` takes them.
        captions: As for :func:`~grace_geom.data.samples.samples_of`.

    Raises:
        UserError: If a shard lies in no store, as :func:`~grace_geom.data.far_shards.far_indexes`,
            or if the store cannot be written.
    """
    urls = [url for pattern in patterns for url in expand(pattern.removeprefix("wds:"))]
    for url in urls:
        if not is_url(url) or url.startswith("http"):
            raise UserError(
                f"{url}: indexes lie beside shards of a store (s3://, gs://); others are read where "
                "they are, or copied, and need none"
            )
    found = far_indexes(urls, captions, afresh=True)
    with ThreadPoolExecutor(READERS) as writers:
        sizes = list(writers.map(_put, found))
    pictures, total = sum(len(index.samples) for index in found), sum(x.size for x in found)
    if fetched_whole(found):
        warn(
            f"a data set of {_size(total)} is fetched whole by each machine's first start, which "
            "reads no index: that is for sets whose shards together have "
            f"{_size(names.HASHED_BELOW)} or more"
        )
    return IndexesWritten(len(found), pictures, total, sum(sizes))


def _put(index: FarIndex) -> int:
    """Write an index; how many bytes it has."""
    parent, _, name = index.url.rpartition("/")
    try:
        content = msgspec.json.encode(index)
    except UnicodeEncodeError:
        raise UserError(f"{index.url}: a member's name is no UTF-8, so it has no index") from None
    objects_at(parent).write(name + BESIDE[index.captions], content)
    return len(content)


def _size(n: int) -> str:
    """``1.4 GiB`` or ``0.3 MiB``."""
    return f"{n / 2**30:,.1f} GiB" if n >= 2**30 else f"{n / 2**20:.1f} MiB"
