"""A store as a folder of runs on this machine: the small files of its newest runs, kept by their
digests. Nothing is written to the store.
"""

import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from grace_geom.errors import UserError
from grace_geom.files import atomic_folder, cache_dir, write_text
from grace_geom.store import (
    PLAN,
    ClaimState,
    Manifest,
    Store,
    StoredFile,
    newest_versions,
    versioned,
)

EVERY = 10.0
"""Seconds between two looks at the store, however many people look at the dashboard."""
MARK = ".stored"
LEFT_OUT = (".pt", ".safetensors")
"""Files that no page reads: weights stay in the store."""
TABLES = "tables"


class StudyPlan(msgspec.Struct):
    """``plan.json`` of a store.

    Attributes:
        seconds: What each run is expected to take.
        devices: What each run holds.
    """

    seconds: dict[str, float] = {}
    devices: float = 1.0


@dataclass
class Mirror:
    """What was seen of a store at the last look.

    Attributes:
        store: The store.
        root: The folder of runs that is kept of it.
        whole: Runs that are finished, without their versions.
        claims: The newest claim of each run, by its name with its version.
        plan: What the study has to do.
        problems: Why the store, or a run in it, could not be read at the last look.
        looked: When that was, seconds since the epoch.
    """

    store: Store
    root: Path
    whole: frozenset[str] = frozenset()
    claims: dict[str, ClaimState] = field(default_factory=dict)
    plan: StudyPlan = field(default_factory=StudyPlan)
    problems: tuple[str, ...] = ()
    looked: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, every: float = EVERY) -> None:
        """Bring what is new; nothing if somebody looked within ``every`` seconds. Where the store
        does not answer, what was there stays, and ``problems`` says why.
        """
        with self._lock:
            if time.time() - self.looked < every:
                return
            problems: list[str] = []
            try:
                names = newest_versions(self.store.names())
                self.claims = self.store.claims()
                self.plan = self._plan()
                for base, version in names.items():
                    try:
                        self._bring(base, versioned(base, version))
                    except UserError as error:
                        problems.append(str(error))
                self.whole = frozenset(names)
            except UserError as error:
                problems.append(str(error))
            self.problems, self.looked = tuple(problems), time.time()

    def _plan(self) -> StudyPlan:
        try:
            return msgspec.json.decode(self.store.objects.read(PLAN), type=StudyPlan)
        except FileNotFoundError:
            return StudyPlan()
        except msgspec.MsgspecError as error:
            raise UserError(f"{self.store.url}: {PLAN} is damaged: {error}") from None

    def _bring(self, base: str, name: str) -> None:
        manifest = self.store.manifest(name)
        folder = self.root / base
        mark = (self.root / f"{MARK}.{TABLES}") if base == TABLES else folder / MARK
        if mark.is_file() and mark.read_text() == manifest.prefix:
            return
        if base == TABLES:  # beside the runs, as in a study's folder
            for path, file in self._small(manifest):
                _take(self._blob(file), self.root / path)
        else:
            with atomic_folder(folder, replace=True) as new:
                for path, file in self._small(manifest):
                    _take(self._blob(file), new / path)
        write_text(mark, manifest.prefix)

    def _small(self, manifest: Manifest) -> list[tuple[str, StoredFile]]:
        return [(p, f) for p, f in manifest.files.items() if not p.endswith(LEFT_OUT)]

    def _blob(self, file: StoredFile) -> Path:
        """The file's bytes, fetched once, whichever run or version has them."""
        path = self.root.parent / "files" / file.sha256
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            try:
                self.store.fetch_file(file, part)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        return path


_mirrors: dict[Path, Mirror] = {}
_making = threading.Lock()


def of_url(url: str) -> Mirror:
    """The mirror of a store, one for all sessions of this server.

    Raises:
        UserError: If the address is no store.
    """
    store = Store(url)
    place = cache_dir() / "dashboard" / sha256(store.url.encode()).hexdigest()[:16]
    with _making:
        found = _mirrors.setdefault(place / "runs", Mirror(store, place / "runs"))
    found.root.mkdir(parents=True, exist_ok=True)
    return found


def is_store(folder: Path) -> bool:
    """Whether a folder is a store on a disk, not a folder of runs."""
    return (folder / "whole").is_dir() and (folder / "files").is_dir()


def of_root(root: Path) -> Mirror | None:
    """The mirror whose folder this is; ``None`` for an ordinary folder of runs."""
    return _mirrors.get(root)


def _take(blob: Path, target: Path) -> None:
    """Give a file a second name, in place of what has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(blob, part)
    except OSError:  # a disk without second names
        shutil.copyfile(blob, part)
    os.replace(part, target)
