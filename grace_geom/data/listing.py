"""What lies in a folder that people bring: no hidden files, each folder once, links that lead
somewhere.
"""

import os
import stat
from collections import Counter
from pathlib import Path

from grace_geom.data.pictures import EXTENSIONS
from grace_geom.data.text import printable, shown, warn
from grace_geom.errors import UserError

JUNK = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__pycache__",
    }
)
"""What systems leave in folders, beside names that begin with a dot (``._x.jpg``,
``.ipynb_checkpoints``)."""

UNREAD = frozenset(
    [
        ".gif",
        ".jfif",
        ".jpe",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".j2k",
        ".jxl",
        ".svg",
        ".raw",
        ".cr2",
        ".nef",
        ".arw",
        ".dng",
        ".tga",
        ".pcx",
        ".apng",
        ".psd",
        ".exr",
        ".hdr",
        ".pbm",
        ".pfm",
        ".npy",
    ]
)
"""Endings of pictures that are not read: a folder that holds some is told so."""


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is nobody's data."""
    return name.startswith(".") or name.casefold() in JUNK


def hidden_path(path: str) -> bool:
    """Whether any part of a relative path is hidden."""
    return any(hidden(part) for part in path.split("/") if part not in (".", ".."))


def is_picture(name: str) -> bool:
    """Whether a file name ends as pictures do."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def visible(folder: Path | str) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in a folder, without hidden ones, sorted.

    Raises:
        UserError: If the folder cannot be listed, or a link in it that may stand for a picture or a
            folder leads nowhere.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not hidden(name))
    except OSError as error:
        raise UserError(f"{shown(folder)} cannot be listed: {error.strerror or error}") from None
    folders, files = [], []
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            folders.append(name)
        elif os.path.exists(path):
            files.append(name)
        elif is_picture(name) or not os.path.splitext(name)[1]:
            raise UserError(
                f"{shown(path)} is a link that leads nowhere ({_target(path)}): mend or remove it"
            )
    return folders, files


def _target(path: str) -> str:
    try:
        return shown(os.readlink(path))
    except OSError:
        return "it cannot be read"


def holds_pictures(folder: Path | str) -> bool:
    """Whether there is a picture anywhere below a folder."""
    seen: set[str] = set()
    left = [str(folder)]
    while left:
        here = left.pop()
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        folders, files = visible(here)
        if any(map(is_picture, files)):
            return True
        left += [os.path.join(here, name) for name in folders]
    return False


class Walk:
    """Lists the pictures of one class folder after another, each folder and linked file once.

    Args:
        top: What names are relative to.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.unread: Counter[str] = Counter()
        self._folders: dict[str, str] = {}  # real path -> class that it was read for
        self._links: dict[str, tuple[str, str]] = {}  # real path of a linked file -> class, name

    def pictures(self, name: str) -> list[str]:
        """Pictures below the class folder ``name``, relative to ``top``, sorted.

        Raises:
            UserError: If a folder belongs to two classes through links, or a picture is no plain
                file or has a name that is not UTF-8.
        """
        found: list[str] = []
        left = [name]
        while left:
            here = left.pop()
            real = os.path.realpath(self.top / here)
            if self._folders.get(real) == name:
                continue
            if real in self._folders:
                raise UserError(
                    f"{shown(self.top / here)} is also part of the class "
                    f"{shown(self._folders[real])!r}, through a link: one picture would have two "
                    "labels"
                )
            self._folders[real] = name
            folders, files = visible(self.top / here)
            left += [f"{here}/{x}" for x in folders if not self._loop(f"{here}/{x}", real)]
            found += [f"{here}/{file}" for file in files if self._wanted(file, here, name)]
        return sorted(found)

    def _loop(self, name: str, here: str) -> bool:
        """Whether a link leads to a folder that it lies in."""
        path = self.top / name
        target = os.path.realpath(path)
        return path.is_symlink() and (here + os.sep).startswith(target.rstrip(os.sep) + os.sep)

    def _wanted(self, file: str, here: str, name: str) -> bool:
        if not is_picture(file):
            self.unread[os.path.splitext(file)[1].lower()] += 1
            return False
        path = self.top / here / file
        if not printable(str(path)):
            raise UserError(f"{shown(path)}: the name is not UTF-8; rename the file (convmv does)")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{shown(path)} is a pipe, device or socket, not a picture: remove it")
        if not path.is_symlink():
            return True
        known, other = self._links.setdefault(os.path.realpath(path), (name, f"{here}/{file}"))
        if known != name:
            self._two_labels(f"{here}/{file}", other)
        return other == f"{here}/{file}"

    def doubles(self) -> set[str]:
        """Links to pictures that are read under their own names too; asked when all is listed.

        Raises:
            UserError: If such a picture is of another class.
        """
        found = set()
        for target, (name, link) in self._links.items():
            folder, file = os.path.split(target)
            owner = self._folders.get(folder)
            if owner is None or hidden(file) or not is_picture(file):
                continue
            if owner != name:
                self._two_labels(link, f"{owner}/.../{file}")
            found.add(link)
        return found

    def _two_labels(self, one: str, other: str) -> None:
        raise UserError(
            f"{shown(self.top / one)} and {shown(other)} are one file in two classes, through a "
            "link: remove one of them"
        )

    def tell(self) -> dict[str, int]:
        """Warn of pictures in formats that are not read; their numbers by ending."""
        left = {ending: n for ending, n in sorted(self.unread.items()) if ending in UNREAD}
        if left:
            counts = ", ".join(f"{n} {ending}" for ending, n in left.items())
            warn(f"{shown(self.top)}: {counts} left out; read are {' '.join(sorted(EXTENSIONS))}")
        return left
