"""What lies below the folder of runs. Nothing outside of it is read, whatever a link or a symbolic
link says.
"""

import hashlib
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from app.arrays import misfits
from app.columns import Columns
from app.logs import Lines, read_lines
from grace_geom.records import (
    NOTES_FILE,
    Accuracy,
    Estimate,
    EvalRecord,
    Finding,
    RecordError,
    Result,
    RunNotes,
    analysis_files,
    find_runs,
    inside,
    read_run,
    read_settings,
)

LOG = logging.getLogger("grace_geom.app")
LARGEST = 64 * 2**20
"""Bytes of a file whose digest is taken."""

Stamp = tuple[int, int, int]
"""Which file, when it was written, in nanoseconds, and its size: what is read again only if it has
changed.
"""
ABSENT: Stamp = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Entry:
    """One run, as far as it can be read. A run that changes is another entry, so what was computed
    from one is kept by it.

    Attributes:
        id: Its path below the root, with ``/``; what a link names.
        path: The run directory.
        evaluation: ``eval.json``.
        estimates: Columns of the summary, in [0, 1].
        analyses: Files of the analyses of this run alone, by name.
        problems: A sentence for each file that cannot be read.
        changed: When its newest record was written, seconds since the epoch.
        members: The runs that it is the mean of; none for a run.
        notes: Tags, note and name that people gave it.
    """

    id: str
    path: Path
    evaluation: EvalRecord | None = None
    estimates: Mapping[str, Estimate | None] = field(default_factory=dict)
    analyses: Mapping[str, Path] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    changed: float = 0.0
    members: tuple["Entry", ...] = ()
    notes: RunNotes = field(default_factory=RunNotes)

    @property
    def method(self) -> str:
        """As recorded by the evaluation, else by the settings."""
        return (self.evaluation.method if self.evaluation else "") or str(
            settings(self).get("method", "")
        )

    @property
    def recorded_seed(self) -> int | None:
        """Training seed as recorded by the evaluation, else by the settings; ``None`` for a mean
        over seeds and where none is on record.
        """
        if self.members:
            return None
        if self.evaluation and self.evaluation.seed is not None:
            return self.evaluation.seed
        seed = settings(self).get("seed")
        return seed if type(seed) is int else None

    @property
    def seed(self) -> int:
        """Training seed, 0 where none is on record."""
        return self.recorded_seed or 0

    @property
    def accuracies(self) -> tuple[Accuracy, ...]:
        """Every accuracy; none where the run was not evaluated."""
        return self.evaluation.accuracies if self.evaluation else ()

    @property
    def folder(self) -> str:
        """Id of the folder that the run lies in, ``""`` for the root."""
        return self.id.rpartition("/")[0]


@dataclass(frozen=True)
class Listing:
    """What lies below the folder of runs.

    Attributes:
        entries: Every run by id.
        problems: A sentence for each folder that cannot be looked into.
    """

    entries: Mapping[str, Entry]
    problems: tuple[str, ...] = ()


def entries(root: Path) -> dict[str, Entry]:
    """Every run below ``root`` by id. What cannot be read is said in ``problems``, never raised."""
    return dict(listing(root).entries)


def listing(root: Path) -> Listing:
    """Every run below ``root``, and the folders that cannot be looked into. A folder costs only
    itself.
    """
    found = find_runs(root)
    read: dict[str, Entry] = {}
    for folder in found.folders:
        entry = _entry(folder, root, os.path.realpath(folder), _stamps(folder))
        read[entry.id] = entry
    for problem in found.problems:
        LOG.warning("%s", problem)
    return Listing(read, tuple(readable(problem) for problem in found.problems))


def readable(text: str) -> str:
    """Text that a browser can show: bytes of a name that are no UTF-8, and control characters, as
    ``\\xff``.
    """
    shown = os.fsencode(text).decode("utf-8", "backslashreplace") if _lone(text) else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _lone(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _stamps(folder: Path) -> tuple[tuple[str, Stamp], ...]:
    """Of every file that :func:`entries` looks into."""
    paths = [folder / name for name in ("eval.json", "metrics.jsonl", "config.yaml", NOTES_FILE)]
    return tuple((str(p), stamp(p)) for p in [*paths, *analysis_files(folder, [])])


def listing_stamp(root: Path) -> str:
    """What tells one state of the folder of runs from the next, for the price of looking at names
    and times: runs, their evaluations, settings, notes and analyses, but no log, which grows.
    """
    found = find_runs(root)
    seen = [
        (str(folder), *(s for s in _stamps(folder) if not s[0].endswith("metrics.jsonl")))
        for folder in found.folders
    ]
    above = {folder.parent for folder in found.folders}
    beside = [(str(p), stamp(p)) for f in sorted(above) for p in analysis_files(f, [])]
    return hashlib.sha256(repr((seen, beside, found.problems)).encode()).hexdigest()


def stamp(path: Path) -> Stamp:
    """What tells one version of a file from the next; ``ABSENT`` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ABSENT
    return (found.st_ino, found.st_mtime_ns, found.st_size) if _regular(found) else ABSENT


def _regular(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode)


@lru_cache(maxsize=4096)
def _entry(folder: Path, root: Path, real: str, stamps: tuple[tuple[str, Stamp], ...]) -> Entry:
    """One run; ``real`` and ``stamps`` are there so that a changed folder is read again."""
    if not inside(folder, root):
        name = readable(folder.relative_to(root).as_posix())
        return Entry(
            name, folder, problems=("a link that leads out of the folder of runs: not read",)
        )
    run = read_run(folder, root)
    problems = [_relative(problem, root) for problem in run.problems]
    evaluation = run.evaluation
    estimates: Mapping[str, Estimate | None] = {}
    if evaluation is not None:
        try:
            estimates = Columns(evaluation.accuracies)
        except RecordError as error:
            evaluation = None
            problems.append(f"eval.json: {error}")
    notes = _notes(folder, root, problems)
    for problem in problems:
        LOG.warning("%s: %s", readable(run.name), problem)
    written = (when for name, (_, when, _) in stamps if not _beside(name))
    return Entry(
        readable(run.name), run.path, evaluation, estimates, run.analyses, tuple(problems),
        max(written, default=0) / 1e9, notes=notes,
    )  # fmt: skip


def _beside(name: str) -> bool:
    """Whether a file says nothing of when a run was trained or evaluated."""
    return "/analyses/" in name or name.endswith(NOTES_FILE)


def _notes(folder: Path, root: Path, problems: list[str]) -> RunNotes:
    path = folder / NOTES_FILE
    if not os.path.lexists(path):
        return RunNotes()
    if not inside(path, root):
        problems.append(f"{NOTES_FILE}: a link that leads out of the folder of runs: not read")
        return RunNotes()
    try:
        return RunNotes.load(path)
    except RecordError as error:
        problems.append(_relative(str(error), root))
        return RunNotes()


def _relative(text: str, root: Path) -> str:
    return readable(text.replace(f"{root}/", "").replace(f"{root.resolve()}/", ""))


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where it is larger than :data:`LARGEST` or cannot be read."""
    now = stamp(path)
    try:
        return _digest(path, now) if now != ABSENT and now[2] <= LARGEST else ""
    except OSError:
        return ""


@lru_cache(maxsize=1024)
def _digest(path: Path, _: Stamp) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_file(entry: Entry, name: str) -> Path | None:
    """A regular file of the run, if it is there and really lies in the run."""
    path = entry.path / name
    return path if stamp(path) != ABSENT and inside(path, entry.path) else None


@lru_cache(maxsize=4096)  # an entry whose file has changed is another one
def settings(entry: Entry) -> dict[str, Any]:
    """``config.yaml``; empty where there is none or it cannot be read."""
    path = own_file(entry, "config.yaml")
    return _settings(path, stamp(path)) if path else {}


@lru_cache(maxsize=1024)
def _settings(path: Path, _: Stamp) -> dict[str, Any]:
    try:
        return read_settings(path)
    except RecordError as error:
        LOG.warning("%s", readable(str(error)))
        return {}


def settings_broken(entry: Entry) -> bool:
    """Whether there is a ``config.yaml`` that says nothing."""
    return os.path.lexists(entry.path / "config.yaml") and not settings(entry)


def lines(entry: Entry, stream: str) -> Lines:
    """``STREAM.jsonl`` of a run, as far as it can be read."""
    return log(entry, stream)[0]


def log(entry: Entry, stream: str) -> tuple[Lines, float]:
    """The same, and when it was written, in seconds since the epoch; 0 where there is none."""
    path = own_file(entry, f"{stream}.jsonl")
    if path is None:
        return Lines(), 0.0
    try:
        return read_lines(path), stamp(path)[1] / 1e9
    except OSError as error:  # removed or closed to us since the last look
        LOG.warning("%s: %s", readable(str(path)), error)
        return Lines(), stamp(path)[1] / 1e9


def findings(
    name: str, chosen: Sequence[Entry], root: Path, arrays: bool = True
) -> tuple[list[Finding], list[str]]:
    """What an analysis found on the chosen runs, newest file first for each, and what could not be
    read; without its arrays where only numbers are wanted.
    """
    files: set[Path] = {e.analyses[name] for e in chosen if name in e.analyses}
    beside = {e.path.parent for e in chosen}  # few, of many runs
    parents = {folder for place in beside for folder in (place, *place.parents)}
    above = {folder for folder in parents if inside(folder, root)}
    files |= {folder / "analyses" / f"{name}.json" for folder in above}
    found: dict[str, Finding] = {}
    problems = []
    for path in sorted(files, key=lambda p: stamp(p)[1], reverse=True):
        if not os.path.lexists(path):
            continue
        arrays_of = path.with_suffix(".npz")
        if not inside(path, root) or not inside(arrays_of, root):
            problems.append(_relative(f"{path}: a link that leads out of the folder of runs", root))
            continue
        try:
            shares = _read(path, stamp(path), stamp(arrays_of) if arrays else None, tuple(chosen))
        except RecordError as error:
            problems.append(_relative(str(error), root))
            continue
        for finding in shares:
            found.setdefault(finding.run, finding)
    return [found[e.id] for e in chosen if e.id in found], problems


@lru_cache(maxsize=256)
def _read(path: Path, now: Stamp, beside: Stamp | None, chosen: tuple[Entry, ...]) -> list[Finding]:
    """The shares of the chosen runs in a file; with its arrays where ``beside`` is their stamp."""
    result = _values(path, now) if beside is None else _result(path, now, beside)
    return _shares(result, path, chosen)


@lru_cache(maxsize=192)  # of 60 runs that are drawn, each with files of its own
def _result(path: Path, _: Stamp, __: Stamp) -> Result:
    result = Result.load(path)
    if wrong := misfits(result):
        raise RecordError(f"{path.with_suffix('.npz')}: {wrong[0]}; run the analysis again")
    return result


@lru_cache(maxsize=1024)
def _values(path: Path, _: Stamp) -> Result:
    return Result.load(path, arrays=False)


def _shares(result: Result, path: Path, chosen: Sequence[Entry]) -> list[Finding]:
    """Which run each checkpoint of a result is: by its content, else by its place."""
    many = len(result.parts) > 1
    shares = []
    own = [] if many else [e for e in chosen if path.is_relative_to(e.path)]
    places = [] if own else [(e, _real(e.path)) for e in chosen]  # once, not for every checkpoint
    for checkpoint in result.checkpoints:
        file = PurePath(str(checkpoint.get("path", "")))
        matched = own or _runs_of(checkpoint, file.parent, path.parent.parent, places)
        shares += [Finding(e.id, result, checkpoint["label"]) for e in matched]
    return shares


def _runs_of(
    checkpoint: Mapping[str, Any],
    place: PurePath,
    folder: Path,
    chosen: Sequence[tuple[Entry, str]],
) -> list[Entry]:
    """Runs (each with where it is) that a checkpoint of a result in ``folder`` stands for.

    A run at the recorded place is one, and so is each that was evaluated on a file of the same
    content. Where the folder of runs was moved, its place below ``folder`` tells, unless the
    contents differ: a name alone is no run's, since two may share it.
    """
    content = str(checkpoint.get("sha256", ""))
    same = [(e, its) for e, its in chosen if content and _content(e) == content]
    at = [(e, its) for e, its in same if _ends_with(place, e.path.parts[-1:])]
    real = os.path.realpath(place) if place.is_absolute() else ""
    if same:
        exact = [e for e, its in at if its == real]
        return exact or [e for e, _ in at or same]
    if exact := [e for e, its in chosen if its == real]:
        return exact
    return [
        e
        for e, _ in chosen
        if folder in e.path.parents
        and _ends_with(place, e.path.relative_to(folder).parts)
        and not (content and _content(e))
    ]


def _content(entry: Entry) -> str:
    """Of the checkpoint that a run was evaluated on; empty where nobody knows."""
    return entry.evaluation.checkpoint if entry.evaluation else ""


@lru_cache(maxsize=4096)
def _real(folder: Path) -> str:
    """Where it is once links are followed."""
    return os.path.realpath(folder)


def _ends_with(place: PurePath, parts: tuple[str, ...]) -> bool:
    return place.parts[-len(parts) :] == parts
