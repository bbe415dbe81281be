"""What lies below the folder of runs. Nothing outside of it is read, whatever a link or a symbolic
link says.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from grace_geom.records import (
    Accuracy,
    Estimate,
    EvalRecord,
    RecordError,
    Result,
    read_run,
    run_folders,
    summarise,
)

LOG = logging.getLogger("grace_geom.app")
LARGEST = 64 * 2**20
"""Bytes of a record file that are read."""

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Stamp = tuple[int, int]
"""When a file was written, in nanoseconds, and its size: what is read again only if it has changed.
"""


@dataclass(frozen=True)
class Entry:
    """One run, as far as it can be read.

    Attributes:
        id: Its path below the root, with ``/``; what a link names.
        path: The run directory.
        evaluation: ``eval.json``.
        estimates: Columns of the summary, in [0, 1].
        analyses: Files of the analyses of this run alone, by name.
        problems: A sentence for each file that cannot be read.
        changed: When its newest record was written, seconds since the epoch.
        members: The runs that it is the mean of; none for a run.
    """

    id: str
    path: Path
    evaluation: EvalRecord | None = None
    estimates: Mapping[str, Estimate | None] = field(default_factory=dict)
    analyses: Mapping[str, Path] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    changed: float = 0.0
    members: tuple["Entry", ...] = ()

    @property
    def method(self) -> str:
        """As recorded by the evaluation, else by the settings."""
        return (self.evaluation.method if self.evaluation else "") or str(
            settings(self).get("method", "")
        )

    @property
    def seed(self) -> int:
        """Training seed, 0 where none is on record."""
        return (self.evaluation.seed if self.evaluation else None) or 0

    @property
    def accuracies(self) -> tuple[Accuracy, ...]:
        """Every accuracy; none where the run was not evaluated."""
        return self.evaluation.accuracies if self.evaluation else ()

    @property
    def folder(self) -> str:
        """Id of the folder that the run lies in, ``""`` for the root."""
        return self.id.rpartition("/")[0]


def entries(root: Path) -> dict[str, Entry]:
    """Every run below ``root`` by id. What cannot be read is said in ``problems``, never raised."""
    try:
        found = run_folders(root)
    except OSError as error:
        LOG.warning("%s: %s", root, error)
        return {}
    read = [_entry(folder, root, folder.resolve(), _stamps(folder)) for folder in found]
    return {entry.id: entry for entry in read}


def _stamps(folder: Path) -> tuple[tuple[str, Stamp], ...]:
    """Of every file that :func:`entries` looks into."""
    paths = [folder / name for name in ("eval.json", "metrics.jsonl", "config.yaml")]
    paths += sorted((folder / "analyses").glob("*.json"))
    return tuple((path.name, stamp(path)) for path in paths if path.is_file())


def stamp(path: Path) -> Stamp:
    """What tells one version of a file from the next."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def inside(path: Path, root: Path) -> bool:
    """Whether a path is below the root once symbolic links are followed."""
    return path.resolve().is_relative_to(root.resolve())


@lru_cache(maxsize=4096)
def _entry(
    folder: Path, root: Path, resolved: Path, stamps: tuple[tuple[str, Stamp], ...]
) -> Entry:
    """One run; ``resolved`` and ``stamps`` are there so that a changed folder is read again."""
    if not resolved.is_relative_to(root.resolve()):
        name = folder.relative_to(root).as_posix()
        return Entry(
            name, folder, problems=("a link that leads out of the folder of runs: not read",)
        )
    run = read_run(folder, root)
    problems = [_relative(problem, root) for problem in run.problems]
    evaluation, estimates = run.evaluation, {}
    if evaluation is not None and not inside(run.path / "eval.json", root):
        evaluation = None
        problems.append("eval.json is a link that leads out of the folder of runs: not read")
    if evaluation is not None:
        try:
            estimates = summarise(evaluation.accuracies)
            _check(evaluation)
        except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
            LOG.warning("%s/eval.json: %r", run.name, error)
            evaluation = None
            problems.append("eval.json: numbers are missing or of the wrong kind; evaluate again")
    analyses = {name: path for name, path in run.analyses.items() if inside(path, root)}
    for problem in problems:
        LOG.warning("%s: %s", run.name, problem)
    return Entry(
        run.name, run.path, evaluation, estimates, analyses, tuple(problems), _changed(run.path)
    )


def _check(evaluation: EvalRecord) -> None:
    """Raise where a field that the pages look into is of the wrong kind."""
    for a in evaluation.accuracies:
        a.subset.get("ids_sha256")
        a.suite + a.data + a.spec
        if a.attack is not None:
            float(a.attack["eps"])
            [part.get("steps") for part in a.attack.get("parts", [])]


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "").replace(f"{root.resolve()}/", "")


def _changed(path: Path) -> float:
    marks = [path / name for name in ("eval.json", "metrics.jsonl", "config.yaml")]
    return max((mark.stat().st_mtime for mark in marks if mark.is_file()), default=0.0)


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where it is larger than :data:`LARGEST`."""
    return _digest(path, stamp(path)) if path.stat().st_size <= LARGEST else ""


@lru_cache(maxsize=1024)
def _digest(path: Path, _: Stamp) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_file(entry: Entry, name: str) -> Path | None:
    """A file of the run, if it is there, really lies in the run, and is of a size that can be
    read."""
    path = entry.path / name
    if not path.is_file() or not inside(path, entry.path) or path.stat().st_size > LARGEST:
        return None
    return path


def settings(entry: Entry) -> dict[str, Any]:
    """``config.yaml``; empty where there is none or it cannot be read."""
    path = own_file(entry, "config.yaml")
    return _settings(path, stamp(path)) if path else {}


@lru_cache(maxsize=1024)
def _settings(path: Path, _: Stamp) -> dict[str, Any]:
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), _YAML)
    except (OSError, ValueError, yaml.YAMLError) as error:
        LOG.warning("%s: %s", path, error)
        return {}
    return plain if isinstance(plain, dict) else {}


def settings_broken(entry: Entry) -> bool:
    """Whether there is a ``config.yaml`` that says nothing."""
    return (entry.path / "config.yaml").is_file() and not settings(entry)


@dataclass(frozen=True)
class Lines:
    """Records of a ``NAME.jsonl``.

    Attributes:
        rows: One dictionary a line, in order of their steps as written.
        broken: Lines that are not JSON objects with a step; the last line of a run being written
            may be one.
    """

    rows: tuple[dict[str, Any], ...] = ()
    broken: int = 0


def lines(entry: Entry, stream: str) -> Lines:
    """``STREAM.jsonl`` of a run, as far as it can be read."""
    path = own_file(entry, f"{stream}.jsonl")
    return _lines(path, stamp(path)) if path else Lines()


@lru_cache(maxsize=64)
def _lines(path: Path, _: Stamp) -> Lines:
    rows, broken = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            row["step"] = int(row["step"])
            rows.append(row)
        except (ValueError, KeyError, TypeError):
            broken += 1
    return Lines(tuple(rows), broken)


def series(
    rows: Iterable[Mapping[str, Any]], key: str, most: int = 2000
) -> tuple[list[float], list[float]]:
    """Steps and values of one logged number, thinned to at most ``most`` points with both ends
    kept.
    """
    pairs = [
        (float(r["step"]), float(r[key])) for r in rows if isinstance(r.get(key), (int, float))
    ]
    if len(pairs) > most:
        last = len(pairs) - 1
        pairs = [pairs[round(i * last / (most - 1))] for i in range(most)]
    return [step for step, _ in pairs], [value for _, value in pairs]


@dataclass(frozen=True)
class Finding:
    """One run's share of an analysis: of its own file, or of one that holds several checkpoints.

    Attributes:
        run: Id.
        result: The whole file.
        prefix: What the names of this run's values and arrays begin with.
    """

    run: str
    result: Result
    prefix: str = ""

    def value(self, name: str) -> Any:
        """The ``Measure`` of that name, or ``None``."""
        return self.result.values.get(self.prefix + name)

    def array(self, name: str) -> Any:
        """The array of that name, or ``None``."""
        return self.result.arrays.get(self.prefix + name)

    def names(self, group: str) -> list[str]:
        """Names of values below ``group/``, without it."""
        start = f"{self.prefix}{group}/"
        return [name.removeprefix(start) for name in self.result.values if name.startswith(start)]

    def array_names(self, group: str) -> list[str]:
        """Names of arrays below ``group/``, without it."""
        start = f"{self.prefix}{group}/"
        return [name.removeprefix(start) for name in self.result.arrays if name.startswith(start)]

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the file that was measured; empty where it is not on record."""
        label = self.prefix.rstrip("/")
        known = [c for c in self.result.checkpoints if not label or c.get("label") == label]
        return str(known[0].get("sha256", "")) if known else ""


def findings(name: str, chosen: Sequence[Entry], root: Path) -> tuple[list[Finding], list[str]]:
    """What an analysis found on the chosen runs, newest file first for each, and what could not be
    read.
    """
    files: set[Path] = {e.analyses[name] for e in chosen if name in e.analyses}
    for folder in {root.joinpath(e.folder) for e in chosen} | {root}:
        shared = folder / "analyses" / f"{name}.json"
        if shared.is_file():
            files.add(shared)
    found: dict[str, Finding] = {}
    problems = []
    for path in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
        arrays = path.with_suffix(".npz")
        if not inside(path, root) or not inside(arrays, root):
            problems.append(f"{path.name}: a link that leads out of the folder of runs")
            continue
        if any(file.is_file() and file.stat().st_size > LARGEST for file in (path, arrays)):
            problems.append(_relative(f"{path}: larger than {LARGEST // 2**20} MiB", root))
            continue
        try:
            result = _result(path, stamp(path), stamp(arrays) if arrays.is_file() else (0, 0))
        except RecordError as error:
            problems.append(_relative(str(error), root))
            continue
        for finding in _shares(result, path, chosen, root):
            found.setdefault(finding.run, finding)
    return [found[e.id] for e in chosen if e.id in found], problems


@lru_cache(maxsize=32)
def _result(path: Path, _: Stamp, __: Stamp) -> Result:
    return Result.load(path)


def _shares(result: Result, path: Path, chosen: Sequence[Entry], root: Path) -> list[Finding]:
    many = len(result.checkpoints) > 1
    shares = []
    for checkpoint in result.checkpoints:
        folder = Path(str(checkpoint.get("path", ""))).parent
        prefix = f"{checkpoint.get('label', folder.name)}/" if many else ""
        for entry in chosen:
            own = path.is_relative_to(entry.path) and not many
            beside = entry.path.name == folder.name and path.parent.parent in entry.path.parents
            if own or beside:
                shares.append(Finding(entry.id, result, prefix))
    return shares
