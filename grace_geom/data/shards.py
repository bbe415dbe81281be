"""Pictures inside tar files on a disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from grace_geom.data.pictures import MAX_BYTES, decode
from grace_geom.data.tarball import Member, content
from grace_geom.data.text import shown


@dataclass(frozen=True)
class Shards:
    """Reads pictures out of tar files.

    Attributes:
        paths: Of the tars.
        shard: ``(N,)`` which tar an image is in.
        offset, size: ``(N,)`` where its bytes are.
        names: Member names, for messages.
    """

    paths: tuple[str, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    names: tuple[str, ...]

    def __call__(self, i: int) -> Image.Image:
        path = self.paths[self.shard[i]]
        member = Member(self.names[i], int(self.offset[i]), int(self.size[i]))
        found = content(Path(path), member, MAX_BYTES)
        return decode(found, f"{shown(path)}, member {shown(member.name)}")

    def place(self, i: int) -> tuple[str, int, int | None]:
        """Tar, offset and number of bytes of an image."""
        return self.paths[self.shard[i]], int(self.offset[i]), int(self.size[i])

    def called(self, i: int) -> str:
        """The tar and the member in it."""
        return f"{self.paths[self.shard[i]]}, member {self.names[i]}"
