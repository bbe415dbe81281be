"""Tar files as random access: where each member's bytes lie, without unpacking."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from grace_geom.errors import UserError


@dataclass(frozen=True)
class Member:
    """A file inside a tar: its name, and the position and number of its bytes."""

    name: str
    offset: int
    size: int


def members(path: Path) -> list[Member]:
    """The files in an uncompressed tar, in order.

    Raises:
        UserError: If the tar is broken, cut short (it must end in its closing block: a cut between
            two members leaves no other trace) or compressed.
    """
    found: list[Member] = []
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if info.isfile():
                    found.append(Member(info.name, info.offset_data, info.size))
            end = tar.offset
        with open(path, "rb") as file:
            file.seek(end)
            whole = file.read(512) == bytes(512)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UserError(_broken(path, len(found), str(error))) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if not whole:
        raise UserError(_broken(path, len(found), "no closing block"))
    return found


def _broken(path: Path, good: int, why: str) -> str:
    return f"{path} is not a whole, uncompressed tar ({why} after {good} good members). Fetch or write the shard again."


def content(path: Path, member: Member) -> bytes:
    """Bytes of a member."""
    try:
        with open(path, "rb") as file:
            file.seek(member.offset)
            found = file.read(member.size)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(found) != member.size:
        raise UserError(
            f"{path} was cut short after it was listed: {member.name} is not all there. Fetch it "
            "again."
        )
    return found
