"""A tar in a store, looked through where it lies: its headers, labels and captions are fetched, and
large pictures are passed over.

Each header tells where the next one is, so the requests of one shard wait for each other. Files
that follow closely are therefore read in one go, which is quicker than to ask for each.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from grace_geom.data.keys import BLOCK, blocks_key, blocks_of
from grace_geom.data.samples import Sample, samples_of
from grace_geom.data.tarball import Member

SKIPPED = 2**18
"""Bytes that are passed over; fewer take less time to fetch than one more request."""
SHORTEST, LONGEST = 2**14, 2**22
"""Bytes of a piece: of the first one after a gap, and of one that others led up to."""
BACK = BLOCK + 512
"""Bytes before a header that come with it: the last block of the picture there, of which its key is
made, and what fills the tar up to the next 512.
"""
KEPT = 3
"""Pieces that are kept: a label may lie before its picture."""
WAITING = 2**24
"""Bytes of pictures' blocks that are asked for together."""

Ask = Callable[[Sequence[tuple[int, int]]], list[bytes]]
"""First byte of each piece, and the byte after the last one -> their bytes."""


class FarTar:
    """A tar that is read in pieces.

    Args:
        url: Its address.
        size: Its bytes.
        ask: Fetches pieces of it, together.
    """

    def __init__(self, url: str, size: int, ask: Ask) -> None:
        self.url, self.size, self.ask = url, size, ask
        self._pieces: list[tuple[int, bytes]] = []
        self._end, self._length = 0, SHORTEST // 2

    def __str__(self) -> str:
        return self.url

    def open(self) -> IO[bytes]:
        """Its bytes from the beginning; what one reader fetched serves the others."""
        return io.BufferedReader(_OpenTar(self), 512)

    def held(self, start: int, end: int) -> bytes | None:
        """Bytes that were fetched lately; ``None`` where they were not."""
        for begin, content in reversed(self._pieces):
            if begin <= start and end <= begin + len(content):
                return content[start - begin : end - begin]
        return None

    def bytes_at(self, start: int, size: int) -> bytes:
        """Bytes of the tar, fewer where it ends before.

        Raises:
            UserError: If the tar is gone, or the store does not answer.
        """
        end = min(start + size, self.size)
        if start >= end:
            return b""
        found = self.held(start, end)
        return self._fetched(start, end) if found is None else found

    def _fetched(self, start: int, end: int) -> bytes:
        begin, stop = start, end
        if start > self._end + SKIPPED:
            begin, self._length = start - BACK, SHORTEST
            stop = begin + self._length
        elif end > self._end:
            begin, self._length = min(start, self._end), min(2 * self._length, LONGEST)
            stop = begin + self._length
        stop = min(max(end, stop), self.size)
        (content,) = self.ask([(begin, stop)])
        self._pieces = [*self._pieces[1 - KEPT :], (begin, content)]
        self._end = max(self._end, stop)
        return content[start - begin : end - begin]


class _OpenTar(io.RawIOBase):
    """A tar as an open file."""

    def __init__(self, tar: FarTar) -> None:
        self._tar, self._at = tar, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._tar.size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill as much as there is."""
        content = self._tar.bytes_at(self._at, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def looked_through(tar: FarTar, captions: bool) -> tuple[list[Sample], list[int]]:
    """The samples of a tar, and the key of each picture as a copy's
    (:func:`grace_geom.data.keys.file_key`).

    Args:
        tar: The tar.
        captions: As for :func:`~grace_geom.data.samples.samples_of`.

    Raises:
        UserError: As :func:`~grace_geom.data.samples.samples_of`, and if the store does not answer.
    """
    samples, keys = list[Sample](), dict[int, int]()
    waiting: list[tuple[int, Member, list[bytes | None]]] = []
    missing = 0
    for i, sample in enumerate(samples_of(tar, captions)):
        samples.append(sample)
        blocks = [tar.held(start, end) for start, end in _blocks(sample.image, tar.url)]
        waiting.append((i, sample.image, blocks))
        places = _blocks(sample.image, tar.url)
        missing += sum(b - a for (a, b), block in zip(places, blocks, strict=True) if block is None)
        if missing > WAITING:
            keys |= _keys(tar, waiting)
            waiting, missing = [], 0
    keys |= _keys(tar, waiting)
    return samples, [keys[i] for i in range(len(samples))]


def _blocks(image: Member, name: str) -> list[tuple[int, int]]:
    """First byte of each block of a picture's key, and the byte after its last one."""
    places = blocks_of(image.size, name)
    return [(image.offset + start, image.offset + start + n) for start, n in places]


def _keys(
    tar: FarTar, waiting: Sequence[tuple[int, Member, list[bytes | None]]]
) -> Iterator[tuple[int, int]]:
    """Number and key of each picture; blocks that were passed over are fetched at once."""
    lacking = [
        place
        for _, image, blocks in waiting
        for place, block in zip(_blocks(image, tar.url), blocks, strict=True)
        if block is None
    ]
    fetched = iter(tar.ask(lacking) if lacking else [])
    for i, image, blocks in waiting:
        whole = [next(fetched) if block is None else block for block in blocks]
        yield i, blocks_key(image.size, whole)
