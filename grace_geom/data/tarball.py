"""Tar files as random access: where each member's bytes lie, without unpacking."""

import contextlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from grace_geom.data.listing import hidden_path
from grace_geom.data.names import existing_file
from grace_geom.data.text import shown
from grace_geom.errors import UserError

PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


@dataclass(frozen=True)
class Member:
    """A file inside a tar: its name, and the position and number of its bytes."""

    name: str
    offset: int
    size: int


class Elsewhere(Protocol):
    """A tar that lies on no disk of ours; as text it is its address.

    Attributes:
        size: Bytes.
    """

    size: int

    def open(self) -> IO[bytes]:
        """Its bytes from the beginning."""
        ...


Place = Path | Elsewhere
"""Where a tar lies."""


def members(path: Place) -> Iterator[Member]:
    """The files in an uncompressed tar, in order; hidden ones (``._x.jpg``, ``__MACOSX/``) are left
    out.

    Raises:
        UserError: If the tar is broken, cut short (it must end in its closing block: a cut between
            two members leaves no other trace) or compressed, or a member is a link or another thing
            without bytes of its own.
    """
    if isinstance(path, Path):
        existing_file(path)
    good = 0
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if info.size < 0:  # would send the reader back to where it was, for ever
                    raise tarfile.HeaderError(f"{shown(info.name)} has a negative size")
                if info.isdir() or hidden_path(info.name):
                    continue
                if not info.isfile() or info.issparse():
                    raise UserError(
                        f"{shown(path)}: member {shown(info.name)} is a link, a sparse file or a "
                        "device, not a plain file. Write the shard again (tar --hard-dereference)."
                    )
                good += 1
                yield Member(info.name, info.offset_data, info.size)
            file.seek(tar.offset)
            whole = file.read(512) == bytes(512)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # tarfile lets through what numbers and texts in headers raise
        raise UserError(_broken(path, good, shown(str(error)))) from None
    if not whole:
        raise UserError(_broken(path, good, "no closing block"))


@contextlib.contextmanager
def _opened(path: Place) -> Iterator[IO[bytes]]:
    with open(path, "rb") if isinstance(path, Path) else path.open() as file:
        yield file


def _broken(path: Place, good: int, why: str) -> str:
    with _opened(path) as file:
        head = file.read(8)
    packed = next((name for mark, name in PACKED.items() if head.startswith(mark)), None)
    if packed:
        why, mend = f"it is packed with {packed}", "Unpack it: images are read at random."
    else:
        why, mend = f"{why} after {good} good members", "Fetch or write the shard again."
    return f"{shown(path)} is not a whole, uncompressed tar ({why}). {mend}"


def content(path: Place, member: Member, most: int) -> bytes:
    """Bytes of a member.

    Args:
        path: The tar.
        member: As :func:`members` lists it.
        most: Number of bytes that it may have.

    Raises:
        UserError: If it has more, or the tar changed since it was listed.
    """
    if member.size > most:
        raise UserError(
            f"{shown(path)}, member {shown(member.name)}: {member.size} bytes, at most {most} are "
            "read"
        )
    try:
        size = path.stat().st_size if isinstance(path, Path) else path.size
        if size < member.offset + member.size:
            found = b""
        else:
            with _opened(path) as file:
                file.seek(member.offset)
                found = file.read(member.size)
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read: {error.strerror or error}") from None
    if len(found) != member.size:
        raise UserError(
            f"{shown(path)} was cut short after it was listed: {shown(member.name)} is not all "
            "there. Fetch it again."
        )
    return found
