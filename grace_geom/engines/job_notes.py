"""Which jobs SLURM was given for which tasks: a file for each submission, in a folder that commands
share. A file is written once, whole, and never changed, so that no command loses what another one
notes at the same moment. Needs no torch.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from grace_geom.errors import UserError, first_line
from grace_geom.files import write_text

FORMAT = "grace_geom.slurm_jobs/2"


class NotedJob(msgspec.Struct, frozen=True):
    """A job that was sent.

    Attributes:
        task: Name of its task.
        job: Its number, as submitit has it.
        times: How often the task was begun, this one among them.
        work: What tells it from another task of that name.
        nodes: Its machines.
    """

    task: str
    job: str
    times: int
    work: str
    nodes: int = 1


class _Note(msgspec.Struct):
    format: str
    jobs: list[NotedJob]


def write_note(folder: Path, jobs: Sequence[NotedJob]) -> Path:
    """Note the jobs of one submission; the file is called after the first of them.

    Args:
        folder: Of all notes.
        jobs: At least one.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    file = folder / f"{jobs[0].job}.json"
    text = msgspec.json.format(msgspec.json.encode(_Note(FORMAT, list(jobs))), indent=1)
    write_text(file, text.decode() + "\n")
    return file


def read_notes(folder: Path) -> dict[Path, list[NotedJob]]:
    """The jobs of every submission that is noted, by file.

    Raises:
        UserError: As :func:`read_note`.
    """
    files = sorted(folder.glob("[!.]*.json"))
    return {file: jobs for file in files if (jobs := read_note(file))}


def read_note(file: Path) -> list[NotedJob]:
    """The jobs of a submission; none where the file is gone, because all of them have ended.

    Raises:
        UserError: If it is damaged: nobody knows then what is still queued.
    """
    try:
        note = msgspec.json.decode(file.read_bytes(), type=_Note)
        if note.format != FORMAT:
            raise msgspec.ValidationError(note.format)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(
            f"{file} cannot be read ({first_line(error)}): see `squeue` for jobs that still run, "
            "`scancel` them, and remove the file"
        ) from None
    return note.jobs
