"""Files on the web, kept in a local cache: a shard is read at random, so it has to lie on a
disk."""

import contextlib
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from grace_geom.errors import UserError
from grace_geom.files import atomic_write, cache_dir
from grace_geom.store import ObjectStore

SERVERS = ("s3", "s3a", "gs", "gcs", "memory")
TIMEOUT = 60  # seconds without a byte


class Absent(UserError):
    """The server answers that it has no such file."""


def is_url(name: str) -> bool:
    """Whether a name is an http(s) address, or one of an object in a store (``s3://``, ``gs://``)."""
    return name.startswith(("http://", "https://", *(f"{p}://" for p in SERVERS)))


def cached(url: str) -> Path:
    """A local copy of a file on the web, fetched unless the cache has this address in this version.

    The version is what the server tells of size, date and ETag; a copy is whole or absent.

    Raises:
        UserError: If the address does not answer, or the connection ends early.
    """
    if not url.startswith("http"):
        return _cached_object(url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            told = {
                key: answer.headers.get(key) for key in ("Content-Length", "Last-Modified", "ETag")
            }
            version = hashlib.sha256(repr((url, told)).encode()).hexdigest()[:16]
            name = PurePosixPath(urlsplit(url).path).name
            if not name:
                raise UserError(f"{url} names no file")
            path = cache_dir() / version / name
            if not path.is_file():
                with atomic_write(path) as file:
                    shutil.copyfileobj(answer, file, 2**20)
                    _check_length(url, file.tell(), told["Content-Length"])
            return path
    except urllib.error.HTTPError as error:
        kind = Absent if error.code in (403, 404, 410) else UserError
        raise kind(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"{url} cannot be fetched ({getattr(error, 'reason', None) or error}). Check the "
            "address."
        ) from None


def _cached_object(url: str) -> Path:
    """The same of an object. Its time of change is the server's, so that a data set whose content
    is told by sizes and times is the same on every machine.
    """
    parent, _, name = url.rpartition("/")
    try:
        objects = ObjectStore(parent)
        told = objects.info(name)
        version = hashlib.sha256(repr((url, told.version, told.size)).encode()).hexdigest()[:16]
        path = cache_dir() / version / name
        if not path.is_file():
            with atomic_write(path) as file:
                objects.copy(name, file)
                _check_length(url, file.tell(), str(told.size))
                file.flush()
                os.utime(file.fileno(), (told.changed, told.changed))
        return path
    except FileNotFoundError:
        raise Absent(f"{url}: there is no such object") from None
    except UserError as error:
        if isinstance(error.__cause__, PermissionError):  # S3's answer to who may not list
            raise Absent(f"{url}: there is no such object, or it may not be read") from None
        raise


def _check_length(url: str, got: int, told: str | None) -> None:
    if told is not None and got != int(told):
        raise UserError(f"{url}: the connection ended after {got} of {told} bytes. Try again.")


def cached_if_there(url: str) -> Path | None:
    """As :func:`cached`, but ``None`` where the server has no such file.

    Raises:
        UserError: If it does not answer: the file may be there.
    """
    with contextlib.suppress(Absent):
        return cached(url)
    return None
