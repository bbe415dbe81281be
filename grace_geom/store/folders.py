"""Folders in a store: put whole and once, seen by all or by nobody."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import msgspec

from grace_geom.errors import UserError
from grace_geom.files import atomic_folder, sha256, version_of
from grace_geom.store import claims
from grace_geom.store.claims import NOBODY, Claim, ClaimState, Patience, SeenClaim
from grace_geom.store.objects import ObjectStore

FORMAT = "grace_geom.whole/1"
PARTS = "parts/"
"""What the names of unfinished runs begin with, kept so that another machine can go on."""
PLAN = "plan.json"
"""Object that holds the runs of a study and their expected seconds: written anew at each start."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*(/[A-Za-z0-9][A-Za-z0-9._@+-]*)*")


class TakenError(UserError):
    """A folder of that name was put before."""


class StoredFile(msgspec.Struct, frozen=True):
    """A file of a stored folder.

    Attributes:
        object: Where its bytes lie, below the store's address; files of the same content share it.
        size: Bytes.
        sha256: Of the bytes.
    """

    object: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """``whole/NAME.json``: the one object by which a folder is there, or is not.

    Attributes:
        format: Of the file.
        prefix: Folder of the upload; no two have the same.
        files: By path in the folder.
    """

    format: str
    prefix: str
    files: dict[str, StoredFile]

    @property
    def size(self) -> int:
        """Bytes to be moved: each content once."""
        return sum({f.object: f.size for f in self.files.values()}.values())


class Store:
    """Folders and claims below an address: a plain folder, ``memory://``, ``s3://`` or ``gs://``.

    Nothing is replaced, and nothing removed but parts of runs. ``files/NAME/UPLOAD/`` holds the
    bytes of an upload, ``whole/NAME.json`` says that it is complete, ``claims/NAME/`` who worked on
    it. An upload that was cut off leaves files that no marker names: they may be removed when
    nobody is at work.

    Args:
        url: The address.
        tries: How often it is asked before it counts as away.

    Raises:
        UserError: As :class:`~grace_geom.store.objects.ObjectStore`.
    """

    def __init__(self, url: str | Path, tries: int = 1) -> None:
        self.objects = ObjectStore(url, tries)
        self.patience = Patience()
        self._known: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.objects.url, self.objects.tries)

    @property
    def url(self) -> str:
        """The address."""
        return self.objects.url

    def names(self, below: str = "") -> list[str]:
        """The folders that are whole, in order.

        Args:
            below: Only those whose name begins with this and a ``/``.
        """
        listed = self.objects.listing(f"whole/{below}".rstrip("/"))
        return [o.path[6:-5] for o in listed if o.path.endswith(".json")]

    def has(self, name: str) -> bool:
        """Whether a folder is whole."""
        return claims.exists(self.objects, _marker(name))

    def manifest(self, name: str) -> Manifest:
        """What a folder holds.

        Raises:
            UserError: If there is no such folder.
        """
        path = _marker(name)
        if path not in self._known:
            try:
                self._known[path] = claims.decode(self.objects, path, Manifest)
            except FileNotFoundError:
                raise UserError(f"{self.url} has no {name}") from None
            _check_paths(self._known[path], f"{self.url}/{path}")
        found: Manifest = self._known[path]
        return found

    def put_folder(
        self, local: Path, name: str, known: Mapping[str, StoredFile] | None = None
    ) -> Manifest:
        """Put a folder, whole and once: its files, then the marker that makes them seen.

        Hidden files stay behind; files of the same bytes are moved once.

        Args:
            local: The folder.
            name: Letters, digits and ``._@+-``, with ``/`` between parts.
            known: Files of folders that are whole, whose bytes need not be moved again.

        Raises:
            TakenError: If there is one of that name, which stays as it is.
            UserError: If a file changed while it was read, or the store cannot be written.
        """
        if self.has(name):
            raise TakenError(f"{self.url} has {name} already. Nothing was changed there")
        prefix = f"files/{_checked(name)}/{uuid4().hex}"
        there = {(f.sha256, f.size): f for f in (known or {}).values()}
        files: dict[str, StoredFile] = {}
        for path in _files(local):
            before = version_of(path)
            file = StoredFile(f"{prefix}/{_inner(path, local)}", before[1], sha256(path))
            if (file.sha256, file.size) not in there:
                self.objects.upload(path, file.object)
                there[file.sha256, file.size] = file
            if version_of(path) != before:
                raise UserError(f"{path} was written while it was put into {self.url}; try again")
            files[_inner(path, local)] = there[file.sha256, file.size]
        manifest = Manifest(FORMAT, prefix, files)
        if not self.objects.create(_marker(name), claims.encode(manifest)):
            raise TakenError(f"{self.url} has {name} already: another was faster")
        self._known[_marker(name)] = manifest
        return manifest

    def get_folder(self, name: str, into: Path, *, replace: bool = False) -> Manifest:
        """Copy a folder to this machine, whole or not at all.

        Args:
            name: As it was put.
            into: Where to; must not be there, unless ``replace``.
            replace: Remove the folder that is there once the new one is whole.

        Raises:
            UserError: If there is no such folder, its bytes are not those that were put, or
                ``into`` cannot be written.
        """
        manifest = self.manifest(name)
        with atomic_folder(into, replace=replace) as folder:
            fetched: dict[str, Path] = {}
            for path, file in manifest.files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.object in fetched:
                    os.link(fetched[file.object], target)
                    continue
                self.fetch_file(file, target)
                fetched[file.object] = target
        return manifest

    def fetch_file(self, file: StoredFile, target: Path) -> None:
        """Copy one file of a manifest.

        Raises:
            UserError: If it is gone, or its bytes are not those that were put.
        """
        try:
            self.objects.download(file.object, target)
        except FileNotFoundError:
            raise UserError(f"{self.url}: {file.object} is gone; its folder is broken") from None
        if target.stat().st_size != file.size or sha256(target) != file.sha256:
            raise UserError(
                f"{self.url}: {file.object} is not what was put there; its folder is broken"
            )

    def drop(self, name: str) -> None:
        """Remove a part of a run that a newer one, or the whole run, has taken the place of: first
        its marker, then its files.

        Raises:
            ValueError: For anything but a part: all else stays.
        """
        if not name.startswith(PARTS):
            raise ValueError(f"{name} is no part of a run")
        manifest = self.manifest(name)
        self.objects.remove(_marker(name))
        del self._known[_marker(name)]
        self.objects.remove(manifest.prefix)

    def read(self, place: str) -> bytes:
        """The bytes of ``NAME/FILE``, a file in a folder that is whole.

        Raises:
            UserError: If there is no such folder or file.
        """
        parts = place.split("/")
        for cut in range(len(parts) - 1, 0, -1):
            name, path = "/".join(parts[:cut]), "/".join(parts[cut:])
            if self.has(name) and path in (files := self.manifest(name).files):
                return self.objects.read(files[path].object)
        raise UserError(f"{self.url} has no {place}")

    def claim(
        self,
        name: str,
        owner: str,
        seconds: float,
        after: SeenClaim | None = None,
        note: Callable[[], Mapping[str, Any]] = dict,
    ) -> Claim | None:
        """A claim on making the folder ``name``, renewed by a thread until it is released; see
        :mod:`grace_geom.store.claims` for why no two have it.

        Args:
            name: As for :meth:`put_folder`.
            owner: Who, for people.
            seconds: How long it outlives its owner.
            after: The claim that has ended or expired, where the caller has watched it; by default
                this store does, a look a call.
            note: Asked at each beat what to tell of the work; plain values.

        Returns:
            ``None`` while another holds it, and where the folder is whole.
        """
        if after is None:
            state = claims.states(self.objects, _checked(name), self._known).get(name)
            if state is not None and not self.patience.over(state):
                return None
            after = state.seen if state is not None else NOBODY
        found = claims.claim(self.objects, name, owner, seconds, after, note)
        if found is None:
            return None
        try:
            whole = self.has(name)  # put since the caller looked?
        except UserError:
            found.release(claims.STOPPED)
            raise
        if whole:
            found.release()
            return None
        return found

    def claims(self, below: str = "") -> dict[str, ClaimState]:
        """The newest claim of each name, by name.

        Args:
            below: A name, or what several begin with before a ``/``.
        """
        return claims.states(self.objects, below, self._known)


def _marker(name: str) -> str:
    return f"whole/{_checked(name)}.json"


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a store: letters, digits and ._@+- in parts between /, each "
            "beginning with a letter or digit"
        )
    return name


def _check_paths(manifest: Manifest, where: str) -> None:
    """Refuse a manifest that would write outside of the folder that is asked for."""
    for path, file in manifest.files.items():
        inner = (PurePosixPath(path), PurePosixPath(file.object))
        if any(p.is_absolute() or ".." in p.parts or not p.parts for p in inner):
            raise UserError(f"{where} is damaged: {path!r} leads out of its folder")


def _inner(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _files(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder)))
    return sorted(found, key=lambda p: _inner(p, folder))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
