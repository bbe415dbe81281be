"""Objects below an address: whole or absent, listed afresh, and made once however many try."""

import contextlib
import errno
import importlib.util
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

from grace_geom.errors import UserError, first_line
from grace_geom.files import atomic_write
from grace_geom.store.away import AwayError, asked_again, may_pass

EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")} | {
    "gcs": ("gcsfs", "gcs")
}
"""Protocols of servers: the package that speaks them, and our extra that installs it."""
PROTOCOLS = ("file", "memory", *EXTRAS)
"""Where an object can be made on the condition that there is none: what claims rest on."""
TRIES = 5
PIECE = 2**22
LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "urllib3", "socket")
_making = threading.Lock()  # memory:// looks, then writes: two steps


@dataclass(frozen=True)
class Listed:
    """An object of a listing.

    Attributes:
        path: Below the address.
        size: Bytes.
        version: What tells it from the one that takes its place: ETag, or time of change.
        changed: When it was written by the server's clock, seconds since the epoch; 0 where the
            server does not tell.
    """

    path: str
    size: int
    version: str
    changed: float


def protocol_of(text: str) -> str:
    """``s3`` of ``s3://bucket/study``; empty for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", text)
    return found[1].lower() if found else ""


def address(place: str | Path) -> str:
    """The address that a path was made of: ``Path("s3://b/x")`` holds one slash of the two.

    A plain path is returned as it is.
    """
    text = str(place)
    protocol = protocol_of(text)
    if not protocol:
        return text
    rest = text[len(protocol) + 1 :].lstrip("/")
    return f"{protocol}://{'/' if protocol == 'file' else ''}{rest}"


class ObjectStore:
    """Objects below an address, by their paths there.

    Args:
        url: ``s3://bucket/folder``, ``gs://...``, ``memory://...``, ``file:///...`` or a path.
        tries: How often it is asked, with pauses, before it counts as away
            (:mod:`grace_geom.store.away`).

    Attributes:
        until: When it is asked for the last time instead, by this process's monotonic clock.
        missed: Answers that did not come so far.

    Raises:
        UserError: For an address of another kind, or if the package for it is missing.
    """

    def __init__(self, url: str | Path, tries: int = 1) -> None:
        self.tries, self.missed = tries, 0
        self.until: float | None = None
        self.url = address(url).rstrip("/") or "/"
        self.protocol = protocol_of(self.url) or "file"
        if self.protocol not in PROTOCOLS:
            raise UserError(
                f"{self.url}: a store is a folder or an address of {', '.join(PROTOCOLS)}; "
                f"{self.protocol}:// is not known to make an object only where there is none"
            )
        package, extra = EXTRAS.get(self.protocol, ("fsspec", "store"))
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{self.url} needs {package}: pip install grace_geom[{extra}]")
        if self.protocol == "file" and "://" not in self.url:
            self.url = str(Path(self.url).expanduser().absolute())
        self._proven = self.protocol not in EXTRAS

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self.url, self.tries)

    def at_most(self, tries: int, until: float | None = None) -> "ObjectStore":
        """The same objects, asked so often at most: once for what is done again soon anyway.

        Args:
            tries: How often; 1 is once, whatever ``until`` says.
            until: Ask until then instead, however often, by the monotonic clock.
        """
        found = ObjectStore(self.url, tries)
        found._proven, found.until = self._proven, until
        return found

    @property
    def local(self) -> bool:
        """Whether the objects are files of this machine or of a disk that it shares."""
        return self.protocol == "file"

    @cached_property
    def system(self) -> Any:
        """The file system of fsspec's."""
        import fsspec

        options = {"use_listings_cache": False} if self.protocol in EXTRAS else {}
        with self._told("opened"):
            return fsspec.filesystem(self.protocol, **options)

    def full(self, path: str = "") -> str:
        """An object's place as the file system names it."""
        root = self.system._strip_protocol(self.url)
        return f"{root.rstrip('/')}/{path}" if path else root

    @asked_again
    def create(self, path: str, content: bytes) -> bool:
        """Write an object unless there is one, in one step of the file system or server.

        On a disk a whole temporary file gets the name by ``link``, which fails where the name is
        taken, over NFS too. Servers get ``If-None-Match: *`` (S3) or ``ifGenerationMatch=0``
        (Google). Of any number of callers one is told that it did.

        Args:
            path: Below the address.
            content: Something that no other caller writes: a request that is sent twice, because
                its first answer was lost, is refused the second time, and is ours if the content
                is.

        Returns:
            Whether the object is the caller's.

        Raises:
            UserError: If it cannot be written.
        """
        with self._told("written"):
            if self.local:
                return _link(Path(self.full(path)), content)
            if self.protocol == "memory":
                with _making:
                    if self.system.exists(self.full(path)):
                        return False
                    self.system.pipe_file(self.full(path), content)
                    return True
            self._prove()
            return self._create(path, content)

    def _create(self, path: str, content: bytes) -> bool:
        for _ in range(TRIES):
            try:
                self.system.pipe_file(self.full(path), content, mode="create")
                return True
            except FileExistsError:
                return bool(self.system.cat_file(self.full(path)) == content)
            except OSError as error:  # refused in other words, or two at the same moment
                if error.errno not in (errno.EINVAL, errno.EBUSY):
                    raise
                if self.system.exists(self.full(path)):
                    return bool(self.system.cat_file(self.full(path)) == content)
        raise UserError(f"{self.url}: {path} could not be made in {TRIES} tries; try again")

    def _prove(self) -> None:
        """See once that the server refuses to make an object twice: some that speak S3 do not know
        the condition, overwrite, and would let two do one run.
        """
        if self._proven:
            return
        path = f"probes/{uuid.uuid4().hex}"
        first, second = self._create(path, b"first"), self._create(path, b"second")
        self.system.rm_file(self.full(path))
        if not first or second:
            raise UserError(
                f"{self.url}: this server ignores If-None-Match, so nothing can be claimed there. "
                "Use a newer server, or a folder that all machines see"
            )
        self._proven = True

    @asked_again
    def write(self, path: str, content: bytes) -> None:
        """Write an object, whole, over what is there."""
        with self._told("written"):
            if self.local:
                with atomic_write(self.full(path)) as file:
                    file.write(content)
            else:
                self.system.pipe_file(self.full(path), content)

    @asked_again
    def read(self, path: str) -> bytes:
        """An object's bytes.

        Raises:
            FileNotFoundError: If there is none.
            UserError: If it cannot be read.
        """
        with self._told("read"):
            return bytes(self.system.cat_file(self.full(path)))

    @asked_again
    def ranges(self, pieces: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Pieces of objects, asked for at once.

        Args:
            pieces: Path, first byte, and the byte after the last one.

        Raises:
            FileNotFoundError: If there is no such object.
        """
        paths, starts, ends = zip(*((self.full(p), a, b) for p, a, b in pieces), strict=True)
        with self._told("read"):
            found = self.system.cat_ranges(list(paths), list(starts), list(ends), on_error="raise")
        return [bytes(piece) for piece in found]

    @asked_again
    def info(self, path: str) -> Listed:
        """Size and version of an object, as it is now.

        Raises:
            FileNotFoundError: If there is none.
            UserError: If the store does not answer.
        """
        with self._told("read"):
            self.system.invalidate_cache()
            return _listed(path, self.system.info(self.full(path)))

    @asked_again
    def upload(self, file: Path, path: str) -> None:
        """Write a file's bytes as an object."""
        with self._told("written"):
            if self.local:
                Path(self.full(path)).parent.mkdir(parents=True, exist_ok=True)
            self.system.put_file(str(file), self.full(path))

    @asked_again
    def download(self, path: str, file: Path) -> None:
        """Write an object's bytes as a file.

        Raises:
            FileNotFoundError: If there is no such object.
        """
        with self._told("read"):
            self.system.get_file(self.full(path), str(file))

    def copy(self, path: str, file: IO[bytes]) -> None:
        """Write an object's bytes into an open file, piece by piece.

        Raises:
            FileNotFoundError: If there is no such object.
        """
        with self._told("read"), self.system.open(self.full(path), "rb") as source:
            shutil.copyfileobj(source, file, PIECE)

    @asked_again
    def remove(self, path: str) -> None:
        """Remove what lies below a path; nothing where there is nothing."""
        with self._told("removed"), contextlib.suppress(FileNotFoundError):
            self.system.rm(self.full(path), recursive=True)

    @asked_again
    def listing(self, below: str) -> list[Listed]:
        """The objects below a path, in order, as they are now; temporary files are left out."""
        with self._told("listed"):
            self.system.invalidate_cache()
            try:
                found = self.system.find(self.full(below), detail=True)
            except FileNotFoundError:
                return []
        start = len(self.full()) + 1
        listed = (_listed(name[start:], info) for name, info in found.items())
        return sorted(
            (o for o in listed if not PurePosixPath(o.path).name.startswith(".")),
            key=lambda o: o.path,
        )

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say what servers and disks refuse as a mistake that a person can mend; that there is no
        such object to read is passed on.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError) and what != "written":
                raise
            if isinstance(error, OSError) or type(error).__module__.startswith(LIBRARIES):
                why = getattr(error, "strerror", None) or first_line(error)
                kind = AwayError if may_pass(error) else UserError
                raise kind(
                    f"{self.url} cannot be {what}: {why}. Check the address, the rights and the "
                    "connection"
                ) from error
            raise


def _link(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.link(name, path)
        return True
    except FileExistsError:  # NFS says so too where it is we who made it, and its answer was lost
        return path.read_bytes() == content
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise UserError(
                f"{path.parent}: this file system makes no hard links, by which a name is taken "
                "once. Put the store on another one"
            ) from error
        raise
    finally:
        os.unlink(name)


def _listed(path: str, info: dict[str, Any]) -> Listed:
    changed = next(
        (info[k] for k in ("mtime", "LastModified", "updated", "created") if k in info), 0
    )
    if hasattr(changed, "timestamp"):
        changed = changed.timestamp()
    seconds = float(changed) if isinstance(changed, (int, float)) else 0.0
    version = str(info.get("ETag") or info.get("etag") or (info.get("ino"), changed))
    return Listed(path, int(info.get("size") or 0), version, seconds)
