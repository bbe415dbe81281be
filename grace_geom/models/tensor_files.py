"""Files of tensors from anywhere, read as data and never as code.

``torch.save`` (zip and the older one), TorchScript archives, whole pickled modules, plain pickles
and safetensors; the format is known by the first bytes, not by the suffix. Sizes that a file
declares are compared with its own before memory is taken.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from grace_geom.errors import UserError
from grace_geom.models.archive import MAX_PICKLE, Damaged, Storage, Storages, ZipStorages, old_file
from grace_geom.models.inert_pickle import CodeError, read_pickle
from grace_geom.models.rebuild import Rebuilder
from grace_geom.records.heads import check_weights
from grace_geom.records.places import checkpoint_file

FORMAT = "grace_geom.checkpoint"
"""What the ``format`` of a checkpoint of ours begins with."""

DIGEST = "tensors_sha256"
"""Key of our checkpoints: the digest of all their tensors."""

REST_DIGEST = "rest_sha256"
"""Key of our checkpoints: the digest of all that is no tensor, such as class names, prompts and
preprocessing. Those of earlier versions have none.
"""


def read_tensors(path: Path | str) -> Any:
    """What ``torch.save`` or safetensors wrote, on the CPU: tensors, plain containers, and an inert
    :class:`~grace_geom.models.inert_pickle.Named` for every other object.

    Raises:
        UserError: If the file is missing (the nearest ones are named), another kind of file,
            truncated, damaged, holds pickled code, or declares more than it has.
    """
    path = checkpoint_file(path)
    check_weights(path)
    try:
        return _read(path)
    except CodeError as code:
        raise UserError(
            f"{path} holds pickled code ({code}), which is never run here: save its plain "
            "state_dict instead"
        ) from None
    except Damaged as flaw:
        raise UserError(f"{path} is damaged: {flaw}") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise UserError(f"{path} does not fit in this machine's memory") from None
    except (
        Exception
    ):  # whatever the readers of pickles and archives raise on bytes that are neither
        raise UserError(f"{path} is not a checkpoint: truncated, or another kind of file") from None


def _read(path: Path) -> Any:
    with open(path, "rb") as file:
        start = file.read(16)
    if start.startswith(b"PK\x03\x04"):
        return _zip(path)
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return safetensors.torch.load_file(path)
    if path.stat().st_size > MAX_PICKLE:
        raise Damaged("it is larger than any file of the old torch format")
    data = path.read_bytes()
    return _old(data)


def _zip(path: Path) -> Any:
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        storages = ZipStorages(file, archive)
        content, _ = read_pickle(storages.pickle, storage=storages.declared)
        return Rebuilder(storages, _old).whole(content)


def _old(data: bytes) -> Any:
    """The format before torch 1.6, or a plain pickle."""
    storages: Storages
    storages, content = old_file(data)
    if isinstance(content, Storage):  # a storage on its own, as plain pickles of tensors hold them
        return storages.read(content).view(content.dtype)
    return Rebuilder(storages, _old).whole(content)


def is_ours(content: Any) -> bool:
    """Whether a file that was read is a checkpoint of grace_geom, of any version."""
    stated = content.get("format") if isinstance(content, Mapping) else None
    return isinstance(stated, str) and stated.partition("/")[0] == FORMAT


def all_tensors(content: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor of a tree of dictionaries and lists, by its path in it."""
    if isinstance(content, Tensor):
        return {name: content}
    if isinstance(content, Mapping):
        pairs = list(content.items())
    elif isinstance(content, (list, tuple)):
        pairs = list(enumerate(content))
    else:
        return {}
    found: dict[str, Tensor] = {}
    for key, value in pairs:
        found |= all_tensors(value, f"{name}/{key}")
    return found


def digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values: equal iff two models are the same bit for bit, in
    any file.
    """
    total = hashlib.sha256()
    for name in sorted(weights):
        w = weights[name].detach().cpu()
        total.update(f"{name} {w.dtype} {tuple(w.shape)};".encode())
        flat = w.reshape(-1)
        if flat.stride() != (1,):  # a view of one number may have stride 0
            flat = flat.clone(memory_format=torch.contiguous_format)
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()


def rest_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of all that is no tensor: names and plain values, whatever the order of the keys."""
    own = {name: value for name, value in content.items() if name not in (DIGEST, REST_DIGEST)}
    return hashlib.sha256(_spelt(own).encode("utf-8", "surrogatepass")).hexdigest()


def _spelt(value: Any) -> str:
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, Mapping):
        pairs = sorted(f"{_spelt(key)}: {_spelt(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_spelt, value))}]"
    return f"{type(value).__name__} {value!r}"


def verify_digest(content: Mapping[str, Any], path: Path | str) -> None:
    """Compare a checkpoint of ours with the digests that it was written with: of its tensors, and
    of all the rest. Older ones have one of the two, or none.

    Raises:
        UserError: If something else is there.
    """
    own = {name: value for name, value in content.items() if name not in (DIGEST, REST_DIGEST)}
    parts = {
        DIGEST: ("tensors are", lambda: digest(all_tensors(own))),
        REST_DIGEST: ("names and settings are", lambda: rest_digest(own)),
    }
    for key, (what, now) in parts.items():
        if content.get(key) is not None and content[key] != now():
            raise UserError(
                f"{path} is damaged: its {what} not those that were written (their SHA-256 is not "
                f"its {key}); --no-verify reads them all the same"
            )
