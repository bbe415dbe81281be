"""Files around a data set: where they are, what they hash to, and the class names beside them."""

import functools
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from grace_geom.data.text import nfc, printable, read_text, regular, shown, warn
from grace_geom.errors import UserError, nearest
from grace_geom.files import sha256

Given = list[str] | dict[str, str]
"""Class names as people give them: in label order, or by folder name."""

HASHED_BELOW = 256 * 2**20  # bytes: a fraction of a second; larger files are recorded by size


def existing(path: Path) -> Path:
    """``path`` if it exists.

    Raises:
        UserError: If not, with the closest names in its folder (or in the closest folder that
            exists); or if it may not be looked at.
    """
    try:
        if path.exists():
            return path
        missing = path
        while not missing.parent.is_dir() and missing != missing.parent:
            missing = missing.parent
        names = [shown(entry.name) for entry in missing.parent.iterdir()]
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read: {error.strerror or error}") from None
    if path.is_symlink():
        raise UserError(f"{shown(path)} is a link that leads nowhere: mend or remove it")
    hint = nearest(missing.name, names)
    if not hint.startswith("did you mean") and missing != path:
        hint = f"there is no folder {shown(missing)}"
    elif not hint.startswith(
        "did you mean"
    ):  # all the names of a large folder would bury the message
        hint = f"{shown(missing.parent)} holds " + (
            ", ".join(sorted(names)[:8]) + ", ..." * (len(names) > 8) or "nothing"
        )
    raise UserError(f"no such file or folder: {shown(path)}; {hint}")


def existing_file(path: Path) -> Path:
    """``path`` if it is a plain file with a name that records can hold.

    Raises:
        UserError: If it is missing, a folder, a pipe or a device, or its name is not UTF-8.
    """
    return printable_path(regular(existing(path)))


def printable_path(path: Path) -> Path:
    """``path`` if it is UTF-8.

    Raises:
        UserError: If not.
    """
    if not printable(str(path)):
        raise UserError(f"{shown(path)}: the name is not UTF-8; rename it (convmv does)")
    return path


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
    total = hashlib.sha256()
    try:
        listed = [(name, path, path.stat()) for name, path in files]
        small = sum(status.st_size for _, _, status in listed) < HASHED_BELOW
        for name, path, status in listed:
            told = sha256(path) if small else (status.st_size, status.st_mtime_ns)
            total.update(f"{name} {told};".encode())
    except OSError as error:
        name = shown(error.filename or "a file")
        raise UserError(f"{name} cannot be read: {error.strerror or error}") from None
    return total.hexdigest()[:16]


def parse_given(text: str, where: str) -> Given:
    """Class names from JSON: a list of strings, an object whose ``class_names`` is one, or an
    object ``key -> name``. Names and keys are in NFC, without space around them.

    Raises:
        UserError: If it is something else, or an object has a key twice.
    """
    try:
        content = json.loads(text, object_pairs_hook=functools.partial(_once, where))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error})") from None
    if isinstance(content, dict):
        content = content.get("class_names", content)
    if isinstance(content, dict) and content and all(isinstance(v, str) for v in content.values()):
        return {nfc(key): nfc(name).strip() for key, name in content.items()}
    if (
        not isinstance(content, list)
        or not content
        or not all(isinstance(name, str) for name in content)
    ):
        raise UserError(
            f'{where}: expected {{"class_names": ["...", ...]}}, or a list of names, in label order'
        )
    return list(check_names(content, where))


def _once(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: JSON's reader would keep the last of two."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if nfc(key) in found:
            raise UserError(f"{where} has the key {key!r} twice")
        found[nfc(key)] = value
    return found


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Class names as prompts hold them: NFC, one line, without space around.

    Two classes of one name are warned of: no sentence tells them apart.

    Raises:
        UserError: If a name is empty or has a line break or another control character in it.
    """
    clean = tuple(nfc(name).strip() for name in names)
    bad = next((k for k, name in enumerate(clean) if not name or not _one_line(name)), None)
    if bad is not None:
        raise UserError(f"{where}: class {bad} is called {names[bad]!r}: write a name in one line")
    first: dict[str, int] = {}
    for label, name in enumerate(clean):
        if first.setdefault(name, label) != label:
            warn(
                f"{where}: classes {first[name]} and {label} are both called {name!r}; zero-shot "
                "prompts cannot tell them apart"
            )
    return clean


def _one_line(name: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)


def parse_lines(text: str, where: str) -> tuple[str, ...]:
    """Class names one a line, as in ``classnames.txt``.

    Raises:
        UserError: If a line between names is empty, as all later labels would shift.
    """
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if lines == [""]:
        return ()
    if "" in lines:
        raise UserError(f"{where}: line {lines.index('') + 1} is empty; write one name a line")
    return check_names(lines, where)


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
    given = parse_given(text, where)
    if isinstance(given, list):
        return tuple(given)
    missing = [key for key in keys if nfc(key) not in given]
    if missing:
        raise UserError(f"{where} has no name for {', '.join(map(repr, missing[:5]))}")
    if not keys:
        raise UserError(
            f'{where}: expected {{"class_names": ["...", ...]}}, or a list of names, in label order'
        )
    return check_names([given[nfc(key)] for key in keys], where)


def read_class_names(path: Path, of: Path, keys: Sequence[str] = ()) -> tuple[str, ...]:
    """Class names of a data file from the JSON file beside it, or from a ``.txt`` with one a line;
    ``keys`` as in :func:`parse_class_names`.

    Raises:
        UserError: If that file is missing or holds something else, or is not UTF-8.
    """
    if not os.path.isfile(path):
        raise UserError(
            f'{shown(of)} has no class names: write {path} as {{"class_names": ["...", ...]}} in label '
            "order (label 0 first)"
        )
    if path.suffix.lower() == ".txt":
        return parse_lines(read_text(path), shown(path))
    return parse_class_names(read_text(path), str(path), keys)
