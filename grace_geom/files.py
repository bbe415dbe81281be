"""Files that are either whole or absent: written to a temporary name, then renamed."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import filelock

from grace_geom.errors import UserError

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write to an open file fails with."""


@contextlib.contextmanager
def atomic_write(path: Path | str, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; on success it replaces ``path``, on failure it is
    removed.

    Args:
        path: The final name. Missing folders are made.
        mode: ``"wb"`` or ``"w"`` (UTF-8).

    Raises:
        UserError: If the disk is full or the folder cannot be written; the old file is untouched.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part"
        )
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files only their owner can read
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Nothing was changed there."
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def folder_name(label: str) -> str:
    """``grace:gv=off`` -> ``grace-gv-off``: letters, digits and points stay."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-")


def cache_dir() -> Path:
    """``$GRACE_GEOM_CACHE``, else ``grace_geom`` in the user's cache folder."""
    own = os.environ.get("GRACE_GEOM_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(home) / "grace_geom"


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_write(path, "w") as file:
        file.write(text)


@contextlib.contextmanager
def atomic_folder(path: Path | str, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``path``; on success it takes that name, on failure it is removed.

    Args:
        path: The final name. Missing folders above it are made.
        replace: Remove a folder that has the name already, once the new one is whole.

    Raises:
        UserError: If the disk is full, the folder cannot be written, or the name is taken; what
            was there is untouched. Other errors of the body leave it as they are: libraries raise
            OSError for models that they cannot read, too.
    """
    path = Path(path)
    with _refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        try:
            yield temporary
        except OSError as error:
            if _of_writing(error, temporary):
                raise _cannot_write(path, error) from error
            raise
        with _refusing(path):
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            temporary.chmod(0o777 & ~_umask())  # mkdtemp makes folders only their owner can read
            _take_name(temporary, path, replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say an error of the system as one of writing ``path``."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}. Nothing was changed there.")


def _of_writing(error: OSError, folder: Path) -> bool:
    """Whether the system refused to write into ``folder``: it gives a number, and a file in there;
    for a full disk, which a write to an open file meets, no file.
    """
    if error.errno is None:
        return False
    if error.filename is None:
        return error.errno in FULL
    return Path(os.fsdecode(error.filename)).is_relative_to(folder)


def _flush(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_name(new: Path, path: Path, replace: bool) -> None:
    """Give ``new`` the name ``path``. The folder that had it is moved aside first, and removed
    last: no system replaces a folder with content in one step.
    """
    if not path.exists():
        os.rename(new, path)
        return
    if not replace:
        raise UserError(f"{path} exists already. Nothing was changed there.")
    old = new.with_suffix(".old")
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old)


@contextlib.contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Hold ``folder`` for this process: two that write into it would each undo what the other
    notes.

    The lock is the system's, on ``folder/.lock``: it ends with the process, however that ends, even
    if the file stays.

    Args:
        folder: Made where it is missing, and removed again if nothing was written.
        work: What is under way there, for the message: "study".

    Raises:
        UserError: Another process holds it, or the folder cannot be written.
    """
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{folder} is in use: another process is at work on this {work}. "
            "Wait for it, stop it, or choose another --out."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error.strerror or error}. Nothing was changed there."
        ) from error
    try:
        yield
    finally:
        (folder / ".lock").unlink(missing_ok=True)
        lock.release()
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def version_of(path: Path | str) -> tuple[int, int, int]:
    """What tells a file from the one that takes its name later: inode, size, time of change in
    nanoseconds.
    """
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_whole(path: Path | str, read: Callable[[], T], tries: int = 3) -> tuple[T, str]:
    """What ``read`` makes of a file, and the SHA-256 of the very same version of it.

    A checkpoint of a training that goes on is replaced now and then: where that happens between
    the two, both are done again.

    Raises:
        UserError: If it was replaced every time.
    """
    for _ in range(tries):
        before = version_of(path)
        found, digest = read(), sha256(path)
        if version_of(path) == before:
            return found, digest
    raise UserError(
        f"{path} was replaced each of the {tries} times that it was read: wait until nobody writes "
        "it, or give a copy"
    )


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
