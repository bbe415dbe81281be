"""What a command line accepts, kept in the user's cache folder between calls.

Kept under the content of this installation: a description that is missing or outdated costs time,
never a different answer.
"""

import contextlib
import functools
import hashlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from grace_geom.errors import UserError
from grace_geom.files import write_text

PACKAGE = Path(__file__).resolve().parents[1]
DECIDING = ("jsonargparse", "open_clip_torch")
"""Packages whose version decides what a command line accepts."""


def remember(key: str, description: Any) -> None:
    """Keep a description of a command's options, or a list of names; a plain value."""
    if recall(key) == description:
        return
    # A cache that cannot be written (a read-only home) costs seconds at the next call, no more.
    with contextlib.suppress(UserError):
        write_text(_file(key), json.dumps({"key": key, "value": description}))


def recall(key: str) -> Any:
    """What was remembered by this very installation, else ``None``."""
    try:
        kept = json.loads(_file(key).read_text(encoding="utf-8"))
        return kept["value"] if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@functools.cache
def fingerprint() -> str:
    """Of this installation: its files, by size and time of change, and the deciding packages."""
    parts: list[object] = [sys.version_info[:3]]
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".yaml", ".json") and path.parts[-2] != "__pycache__":
            stat = path.stat()
            parts.append((str(path), stat.st_size, stat.st_mtime_ns))
    for package in DECIDING:
        try:
            parts.append((package, version(package)))
        except PackageNotFoundError:
            parts.append((package, None))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _file(key: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(home) if home else Path.home() / ".cache"
    except RuntimeError:  # no home folder: nothing is kept, nothing is found
        folder = Path(os.devnull)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return folder / "grace_geom" / fingerprint() / f"{name}.json"
