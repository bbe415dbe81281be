"""Files around a data set: where they are, what they hash to, and the class names beside them."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from grace_geom.errors import UserError, nearest
from grace_geom.files import sha256

HASHED_BELOW = 256 * 2**20  # bytes: a fraction of a second; larger files are recorded by size


def existing(path: Path) -> Path:
    """``path`` if it exists.

    Raises:
        UserError: If not, with the closest names in its folder (or in the closest folder that
            exists).
    """
    if path.exists():
        return path
    missing = path
    while not missing.parent.is_dir() and missing != missing.parent:
        missing = missing.parent
    names = [entry.name for entry in missing.parent.iterdir()]
    hint = nearest(missing.name, names)
    if not hint.startswith("did you mean") and missing != path:
        hint = f"there is no folder {missing}"
    elif not hint.startswith(
        "did you mean"
    ):  # all the names of a large folder would bury the message
        hint = f"{missing.parent} holds " + (
            ", ".join(sorted(names)[:8]) + ", ..." * (len(names) > 8) or "nothing"
        )
    raise UserError(f"no such file or folder: {path}; {hint}")


def file_record(path: Path) -> dict[str, Any]:
    """Name, size in bytes and, where that is cheap, SHA-256 of a file."""
    size = path.stat().st_size
    record: dict[str, Any] = {"file": str(path), "bytes": size}
    return record | {"sha256": sha256(path)} if size < HASHED_BELOW else record


def content_digest(files: Iterable[tuple[str, Path]]) -> str:
    """16 hexadecimal digits that change when one of the files does, wherever they lie.

    Of their names and bytes where all of them together are quickly read, else of names, sizes and
    times of change.

    Args:
        files: Name and place of each, in a fixed order.
    """
    listed = [(name, path, path.stat()) for name, path in files]
    small = sum(status.st_size for _, _, status in listed) < HASHED_BELOW
    total = hashlib.sha256()
    for name, path, status in listed:
        total.update(
            f"{name} {sha256(path) if small else (status.st_size, status.st_mtime_ns)};".encode()
        )
    return total.hexdigest()[:16]


def parse_class_names(text: str, where: str, keys: Sequence[str] = ()) -> tuple[str, ...]:
    """Names from JSON: a list of strings, an object whose ``class_names`` is one, or an object
    ``key -> name``.

    Args:
        text: The JSON.
        where: Names the file in errors.
        keys: What the third form must have names for (class folders), in label order.

    Raises:
        UserError: If it is something else.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({error})") from None
    names = content.get("class_names", content) if isinstance(content, dict) else content
    if isinstance(names, dict) and keys:
        missing = [key for key in keys if key not in names]
        if missing:
            raise UserError(f"{where} has no name for {', '.join(map(repr, missing[:5]))}")
        names = [names[key] for key in keys]
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise UserError(
            f'{where}: expected {{"class_names": ["...", ...]}}, or a list of names, in label order'
        )
    return tuple(names)


def read_class_names(path: Path, of: Path, keys: Sequence[str] = ()) -> tuple[str, ...]:
    """Class names of a data file from the JSON file beside it; ``keys`` as in
    :func:`parse_class_names`.

    Raises:
        UserError: If that file is missing or holds something else.
    """
    if not path.is_file():
        raise UserError(
            f'{of} has no class names: write {path} as {{"class_names": ["...", ...]}} in label '
            "order (label 0 first)"
        )
    return parse_class_names(path.read_text(encoding="utf-8", errors="replace"), str(path), keys)
