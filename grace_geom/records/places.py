"""Where a checkpoint lies: its file, or the run directory that holds it."""

from pathlib import Path

from grace_geom.errors import UserError, nearest

MANY = 200
"""Names to choose the nearest one from."""


def checkpoint_file(path: Path | str) -> Path:
    """The file that is meant: a run directory stands for its ``ckpt.pt``.

    Raises:
        UserError: If there is no such file; a near name is offered.
    """
    path = Path(path)
    file = path / "ckpt.pt" if path.is_dir() else path
    if not file.is_file():
        hint = _near(file) or "give a file, or a run directory with a ckpt.pt"
        raise UserError(f"no such checkpoint: {file}; {hint}")
    return file


def _near(path: Path) -> str:
    """A sentence with the nearest files or run directories in the folder that the path begins with,
    so far as that exists.
    """
    folder = path
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    found = [p for pattern in ("*.pt", "*/*.pt") for p in folder.glob(pattern)]
    runs = [p.parent for p in found if p.name == "ckpt.pt" and p.parent != folder]
    names = [p.relative_to(folder).as_posix() for p in (*runs, *found)]
    hint = nearest(path.relative_to(folder).as_posix(), names[:MANY])
    return hint if hint.startswith("did you mean") else ""
