"""Run directories below a folder, read as far as they can be read."""

from dataclasses import dataclass
from pathlib import Path

from grace_geom.records.analysis import RESULT_FORMAT
from grace_geom.records.evaluation import EvalRecord
from grace_geom.records.schema import RecordError, read_record

RUN_MARKS = ("config.yaml", "metrics.jsonl", "eval.json", "ckpt.pt")


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


def list_runs(root: Path | str, depth: int = 3) -> list[RunFiles]:
    """Run directories below ``root`` (or ``root`` itself), by name. Broken files are reported,
    never raised.
    """
    return [read_run(folder, root) for folder in run_folders(root, depth)]


def run_folders(root: Path | str, depth: int = 3) -> list[Path]:
    """Where there are runs, without reading them.

    Args:
        root: Folder of runs; one that does not exist holds none.
        depth: How many folders deep to look. Hidden folders and what lies inside of a run are left
            out.
    """
    found: list[Path] = []

    def look(folder: Path, level: int) -> None:
        if any((folder / name).is_file() for name in RUN_MARKS):
            found.append(folder)
        elif level < depth:
            for child in sorted(folder.iterdir()):
                if child.is_dir() and not child.name.startswith("."):
                    look(child, level + 1)

    if Path(root).is_dir():
        look(Path(root), 0)
    return found


def read_run(folder: Path, root: Path | str) -> RunFiles:
    """One run directory, named by its path below ``root``."""
    problems: list[str] = []
    evaluation = None
    if (folder / "eval.json").is_file():
        try:
            evaluation = EvalRecord.load(folder / "eval.json")
        except RecordError as error:
            problems.append(str(error))
    analyses: dict[str, Path] = {}
    for file in sorted((folder / "analyses").glob("*.json")):
        try:
            read_record(file, RESULT_FORMAT)
            analyses[file.stem] = file
        except RecordError as error:
            problems.append(str(error))
    name = folder.relative_to(root).as_posix() if folder != Path(root) else folder.resolve().name
    return RunFiles(folder, name, evaluation, analyses, tuple(problems))
