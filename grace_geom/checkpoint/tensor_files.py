"""Files of tensors from anywhere, read as data and never as code; and which network the tensors
belong to.
"""

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from grace_geom.errors import UserError, nearest

WRAPPERS = ("vision_encoder_state_dict", "state_dict", "model_state_dict", "model")
"""Keys under which public code keeps its weights; the first is that of TeCoA and RobustVLM."""

PREFIXES = ("module.", "_orig_mod.", "model.", "clip.")
"""What data-parallel, compiling and wrapping put before every name."""

_UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    AssertionError,
    struct.error,
    SafetensorError,
)


def read_tensors(path: Path | str) -> Any:
    """What ``torch.save`` or safetensors wrote, on the CPU; tensors and plain containers only.

    Raises:
        UserError: If the file is missing (the nearest ones are named), truncated, or holds pickled
            code.
    """
    path = Path(path)
    if path.is_dir() and (path / "ckpt.pt").is_file():
        path = path / "ckpt.pt"
    if not path.is_file():
        raise UserError(f"no such checkpoint: {path}{_near(path)}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # torch remarks on unusual pickle protocols
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with open(
            path, "rb"
        ) as file:  # torch says the same of a text file: a pickle begins in one of these ways
            pickled = file.read(2).startswith((b"\x80", b"PK"))
        if pickled and ("GLOBAL" in str(error) or "Unsupported" in str(error)):
            raise UserError(
                f"{path} holds pickled code, which is never run here: save its plain state_dict "
                "instead"
            ) from None
        raise UserError(f"{path} is not a checkpoint: truncated, or another kind of file") from None
    except _UNREADABLE as error:
        if "TorchScript" in str(error):
            raise UserError(
                f"{path} is a TorchScript program, which is never run here: save its state_dict"
            ) from None
        raise UserError(f"{path} is not a checkpoint: truncated, or another kind of file") from None


def foreign_weights(
    content: Any, wanted: Mapping[str, Tensor], path: Path | str
) -> dict[str, Tensor]:
    """The tensors of a foreign file under an open_clip model's names: of both towers, or of the
    image tower.

    Args:
        content: What :func:`read_tensors` gave.
        wanted: The model's own ``state_dict``: names and shapes.
        path: For messages.

    Returns:
        Tensors of the model's types: every name of ``wanted``, or every ``visual.`` one.

    Raises:
        UserError: If the file has no such weights, or weights of another shape.
    """
    found = _unwrapped(content)
    if not found:
        raise UserError(f"{path} holds no weights: expected a state_dict of tensors")
    if not any(name.startswith("visual.") for name in found):
        found = {f"visual.{name}": w for name, w in found.items()}
    image_tower = {name for name in wanted if name.startswith("visual.")}
    absent = sorted(image_tower - found.keys())
    if absent:
        raise UserError(
            f"{path} does not fit --model: it has no {absent[0]} ({len(absent)} of "
            f"{len(image_tower)} tensors of the image tower are missing)"
        )
    names = wanted.keys() if wanted.keys() <= found.keys() else image_tower
    for name in names:
        if (
            found[name].shape != wanted[name].shape
            and not found[name].numel() == wanted[name].numel() == 1
        ):
            raise UserError(
                f"{path} does not fit --model: {name} has shape {tuple(found[name].shape)}, "
                f"the model wants {tuple(wanted[name].shape)}"
            )
    return {
        name: found[name].to(wanted[name].dtype).view_as(wanted[name])
        for name in wanted
        if name in names
    }


def _unwrapped(content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = next(
            (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None
        )
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        return {}
    found = {str(name): w for name, w in content.items() if isinstance(w, Tensor)}
    while prefix := next((p for p in PREFIXES if found and _share(found, p) > 0.5), None):
        found = {
            name.removeprefix(prefix): w for name, w in found.items() if name.startswith(prefix)
        }
    return found


def _share(found: Mapping[str, Tensor], prefix: str) -> float:
    return sum(name.startswith(prefix) for name in found) / len(found)


def _near(path: Path) -> str:
    folder = path
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    candidates = [
        p.relative_to(folder).as_posix()
        for pattern in ("*.pt", "*/*.pt")
        for p in folder.glob(pattern)
    ]
    hint = nearest(
        path.relative_to(folder).as_posix() if path != folder else path.name, candidates[:200]
    )
    return f"; {hint}" if hint.startswith("did you mean") else ""
