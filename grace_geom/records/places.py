"""Where a checkpoint lies: its file, or the folder that holds it."""

import re
from pathlib import Path

from grace_geom.errors import UserError, nearest

MANY = 200
"""Names to choose the nearest one from."""


WEIGHT_FILES = (
    "ckpt.pt",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
"""What a folder's weights are called, the ones that are meant first: a run's, PEFT's, open_clip's
on the Hub, transformers'.
"""


def checkpoint_file(path: Path | str) -> Path:
    """The file that is meant: a run directory stands for its ``ckpt.pt``, another folder for the
    weights in it.

    A repository of open_clip's that also holds transformers' weights means open_clip's.

    Raises:
        UserError: If there is no such file (a near name is offered), or a folder holds its weights
            in pieces.
    """
    path = Path(path)
    file = path
    if path.is_dir():
        found = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        file = found[0] if found else path / WEIGHT_FILES[0]
        if not found and (pieces := sorted(p.name for p in path.glob("*.index.json"))):
            raise UserError(
                f"{path} holds its weights in pieces ({pieces[0]}): save them in one file "
                '(transformers: save_pretrained(DIR, max_shard_size="100GB"))'
            )
    if not file.is_file():
        hint = _near(file) or (
            "give a file, or a run directory with a ckpt.pt (or a folder with "
            f"{', '.join(WEIGHT_FILES[1:])})"
        )
        raise UserError(f"no such checkpoint: {file}; {hint}")
    return file


def default_out(method: str, data: str, seed: int | str) -> Path:
    """``runs/METHOD-DATA-sSEED``: where a run is kept that is not told where."""
    return Path("runs") / f"{method}-{re.sub(r'[^A-Za-z0-9_.]+', '-', data).strip('-.')}-s{seed}"


def label_of(file: Path) -> str:
    """What tables call a file of weights: its folder where every such file has the same name, else
    its own name.
    """
    return file.resolve().parent.name if file.name in WEIGHT_FILES else file.stem


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
