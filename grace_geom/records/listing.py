"""Run directories below a folder, read as far as they can be read; nothing outside of the folder
is, whatever a link says.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from grace_geom.records.analysis import RESULT_FORMAT
from grace_geom.records.evaluation import EvalRecord
from grace_geom.records.schema import RecordError, read_record

RUN_MARKS = ("config.yaml", "metrics.jsonl", "eval.json", "ckpt.pt")
LEADS_OUT = "a link that leads out of the folder of runs: not read"


@dataclass(frozen=True)
class RunFiles:
    """What lies in one run directory, read as far as it can be read.

    Attributes:
        path: The run directory.
        name: Its path below the root that was listed, with ``/``.
        evaluation: ``eval.json``, or ``None`` where there is none or it cannot be read.
        analyses: JSON file of each analysis by name; read one with :meth:`Result.load`.
        problems: A sentence for each file that cannot be read; the rest of the run still counts.
    """

    path: Path
    name: str
    evaluation: EvalRecord | None
    analyses: dict[str, Path]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        folders: Run directories, by name.
        problems: A sentence for each folder that cannot be looked into.
    """

    folders: tuple[Path, ...]
    problems: tuple[str, ...] = ()


def list_runs(root: Path | str, depth: int = 3) -> list[RunFiles]:
    """Run directories below ``root`` (or ``root`` itself), by name. Broken files are reported,
    never raised.
    """
    return [read_run(folder, root) for folder in run_folders(root, depth)]


def run_folders(root: Path | str, depth: int = 3) -> list[Path]:
    """Where there are runs, without reading them; see :func:`find_runs`."""
    return list(find_runs(root, depth).folders)


def find_runs(root: Path | str, depth: int = 3) -> Found:
    """Where there are runs, without reading them. A folder that cannot be looked into costs only
    itself.

    Args:
        root: Folder of runs; one that does not exist holds none.
        depth: How many folders deep to look. Hidden folders and what lies inside of a run are left
            out, and so are links to a folder that is looked into anyway: a run counts once.
    """
    found: list[Path] = []
    problems: list[str] = []
    waiting = [(Path(root), 0)] if _exists(Path(root)) else []
    links: list[tuple[Path, int]] = []
    seen: set[str] = set()
    while waiting or links:  # links last: what is there itself has the name
        folder, level = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            children = _children(folder)
        except OSError as error:
            name = folder.relative_to(root).as_posix() if folder != Path(root) else str(root)
            problems.append(f"{name}: cannot be looked into ({error.strerror or error})")
            continue
        if any(child.name in RUN_MARKS and _is_file(child) for child in children):
            found.append(folder)
        elif level < depth and inside(folder, root):
            for child in children:
                if not child.name.startswith(".") and _is_dir(child):
                    (links if child.is_symlink() else waiting).append(
                        (folder / child.name, level + 1)
                    )
    return Found(tuple(sorted(found, key=_parts)), tuple(sorted(problems)))


def _children(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as listing:
        return sorted(listing, key=lambda entry: os.fsencode(entry.name))


def _parts(path: Path) -> list[bytes]:
    return [os.fsencode(part) for part in path.parts]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _exists(root: Path) -> bool:
    try:
        return root.is_dir()
    except (OSError, ValueError):
        return False


def inside(path: Path, root: Path | str) -> bool:
    """Whether a path is below the root once symbolic links are followed; not where they lead in a
    circle.
    """
    head, name = os.path.split(path)
    if head == str(root) and name != ".." and os.path.lexists(path) and not os.path.islink(path):
        return True  # its name says where it lies; most files that are asked for
    try:
        real, base = os.path.realpath(path), os.path.realpath(root)
    except OSError:
        return False
    if _in_a_circle(real) or _in_a_circle(base):
        return False
    return real == base or real.startswith(os.path.join(base, ""))


def _in_a_circle(real: str) -> bool:
    try:
        os.stat(real)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def read_run(folder: Path, root: Path | str) -> RunFiles:
    """One run directory, named by its path below ``root``. Links that leave ``root`` are not
    followed, not even to say what is wrong with the file behind them.
    """
    problems: list[str] = []
    evaluation = None
    if os.path.lexists(folder / "eval.json"):
        try:
            evaluation = EvalRecord.load(_within(folder / "eval.json", root))
        except RecordError as error:
            problems.append(str(error))
    analyses: dict[str, Path] = {}
    for file in analysis_files(folder, problems):
        try:
            read_record(_within(file, root), RESULT_FORMAT)
            analyses[file.stem] = file
        except RecordError as error:
            problems.append(str(error))
    name = folder.relative_to(root).as_posix() if folder != Path(root) else folder.resolve().name
    return RunFiles(folder, name, evaluation, analyses, tuple(problems))


def analysis_files(folder: Path, problems: list[str]) -> list[Path]:
    """Each ``analyses/NAME.json``, visible ones; a folder that cannot be looked into is said."""
    try:
        names = os.listdir(folder / "analyses")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        problems.append(f"{folder}/analyses: cannot be looked into ({error.strerror or error})")
        return []
    kept = [name for name in names if name.endswith(".json") and not name.startswith(".")]
    return [folder / "analyses" / name for name in sorted(kept, key=os.fsencode)]


def _within(path: Path, root: Path | str) -> Path:
    if not inside(path, root):
        raise RecordError(f"{path}: {LEADS_OUT}")
    return path
