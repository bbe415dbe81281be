"""Records that several processes write at once: locked while they are read, merged and written."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import filelock

from grace_geom.errors import UserError
from grace_geom.records.schema import NewerRecordError, RecordError

PATIENCE = 60.0
"""Seconds to wait for another process, which needs milliseconds."""

Record = TypeVar("Record")


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
