"""Records that several processes write at once: locked while they are read, merged and written."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import filelock

from grace_geom.errors import UserError
from grace_geom.records.schema import NewerRecordError, RecordError

PATIENCE = 60.0
"""Seconds to wait for another process, which needs milliseconds."""

Record = TypeVar("Record")


class Merging(Protocol):
    """A record of one checkpoint that several calls write to, such as ``eval.json``."""

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the checkpoint file."""

    @property
    def settings(self) -> dict[str, Any]:
        """What all numbers share."""

    def save(self, path: Path | str) -> Path:
        """Write the file."""

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read the file."""

    def without(self, superseded: Collection[Any]) -> Self:
        """The same record less some of its numbers."""

    def joined(self, newer: Self) -> Self:
        """The newer record with those numbers of this one that nothing in it replaces."""


Merged = TypeVar("Merged", bound=Merging)


@contextlib.contextmanager
def held(path: Path | str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a record for this process while it is read, merged and written; another one waits.

    The lock is the system's, on ``.NAME.lock`` beside the record: it ends with the process, however
    that ends. The empty file stays, since who removed it could leave two others with a lock each.

    Raises:
        UserError: If the folder cannot be written, or another process does not let go.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=patience)
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{path} is held by another process for more than {patience:g} s: stop it, or wait"
        ) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {path}: {reason}. Nothing was changed there.") from error
    try:
        yield
    finally:
        lock.release()


def known_in(path: Path | str, load: Callable[[Path], Record]) -> Record | None:
    """What a record file holds; ``None`` where there is none or it cannot be read, which is then
    replaced.

    Raises:
        NewerRecordError: If a newer version wrote it: replacing it would lose what that found.
    """
    if not Path(path).is_file():
        return None
    try:
        return load(Path(path))
    except NewerRecordError:
        raise
    except RecordError:
        return None


def merge_into(
    path: Path | str,
    record: Merged,
    superseded: Collection[Any] = (),
    aside: Callable[[Merged], Path] | None = None,
) -> Merged:
    """Write a record into its file with what another process has found meanwhile, and return both:
    of two calls on one checkpoint at once neither loses the other's numbers.

    Args:
        path: The file; locked while it is read and written.
        record: What this process has found.
        superseded: What of the file is not to be kept.
        aside: Where a record of the same checkpoint with other settings is kept, so that a call
            with those, at the same time, loses nothing.

    Raises:
        UserError: If the file cannot be written, or is of a newer version: it would be lost.
    """
    with held(path):
        if aside is not None:
            make_way(Path(path), record, aside)
        if (there := known_in(path, type(record).load)) is not None:
            record = there.without(superseded).joined(record)
        record.save(path)
    return record


def make_way(path: Path, record: Merged, aside: Callable[[Merged], Path]) -> Merged | None:
    """Move a record of the same checkpoint with other settings out of ``path``, beside what such a
    move put away before, and bring back the one with these settings. ``path`` is held.

    A record of another checkpoint is left to be overwritten. Returns what was moved.
    """
    load = type(record).load
    there = known_in(path, load)
    same = there is not None and there.checkpoint == record.checkpoint
    if there is not None and same and there.settings == record.settings:
        return None
    if there is not None and same:
        place = aside(there)
        if (before := known_in(place, load)) is None:
            path.replace(place)
        else:
            before.joined(there).save(place)
            path.unlink()
    if (mine := aside(record)).is_file():
        mine.replace(path)
    return there if same else None
