"""The identity of a measurement: digests of the contents that a number depends on, never of names.

Two measurements with one identity are one measurement. Evaluation, studies, analyses and the caches
of attacked images and features all ask here whether a kept result answers for what is read now.
"""

import dataclasses
import functools
import hashlib
import json
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from grace_geom.attacks import AttackSpec
from grace_geom.checkpoint import digest as digest_tensors
from grace_geom.data import ImageSet
from grace_geom.data.base import Array, Picked, digest, digest_text
from grace_geom.data.far_shards import FarShards
from grace_geom.data.pictures import MAX_BYTES, Files
from grace_geom.data.shards import Shards
from grace_geom.data.tarball import Member, content
from grace_geom.models import PROMPT, ClipClassifier

REVISION = 4
"""Of the code that turns images into an accuracy: raise it when a number would come out otherwise.
"""

Identity = dict[str, str]
"""What is meant -> 16 hexadecimal digits of its contents (or a short text)."""

_STATE = {
    "training", "recompute", "lean_norms", "origin", "spec", "class_names", "templates",
    "image_size",
}  # fmt: skip
"""Attributes of a module that say where it came from or how it is used, not what it computes."""

_READERS = 8  # threads: hashing leaves Python's lock, and disks like several requests


def measurement(
    model: ClipClassifier,
    image_set: ImageSet,
    suite: str,
    *,
    attack: AttackSpec | None,
    seed: int,
    image_size: int,
) -> Identity:
    """Of one accuracy: the model as loaded, and :func:`asked`."""
    return (
        of_model(model)
        | {"size": str(image_size)}
        | asked(image_set, suite, attack=attack, seed=seed)
    )


def asked(image_set: ImageSet, suite: str, *, attack: AttackSpec | None, seed: int) -> Identity:
    """Of a question, whatever model answers it: images and labels, class names, prompts, attack,
    code.
    """
    settings = attack.settings(seed, len(image_set.class_names)) if attack else None
    about = {"suite": suite, "attack": _short(settings), "revision": str(REVISION)}
    return of_images(image_set) | about


def of_model(model: ClipClassifier) -> Identity:
    """Of a classifier: both towers and the head at their present values, and what is computed with
    them.

    Every tensor is hashed once as long as nobody writes to it.
    """
    numerics = [model.mean.dtype, model.autocast_dtype, torch.get_float32_matmul_precision()]
    return {
        "weights": _weights(model),
        "network": _short(list(_configuration(model))),
        "preprocessing": _short(_preprocessing(model)),
        "head": _short([digest_tensors(model.head), model.class_names, model.templates]),
        "precision": _short([str(x) for x in numerics]),
    }


def of_images(image_set: ImageSet) -> Identity:
    """Of images with their labels: what they are decoded from, byte by byte, and which they are."""
    which = [digest(image_set.index), digest(image_set.labels), _pixels(image_set)]
    source = [image_set.spec, image_set.split, image_set.note.get("content", "")]
    return {
        "source": _short(source),
        "images": _short(which),
        "names": _short([image_set.class_names, image_set.class_ids]),
        "prompts": _short(image_set.templates),
    }


def of_sample(image_set: ImageSet) -> str:
    """Of images and the class of each, whatever the order of the classes, the prompts, and the name
    of the set.
    """
    classes = [image_set.class_names[label] for label in image_set.labels.tolist()]
    return _short([digest(image_set.index), _pixels(image_set), classes])


def same(kept: Mapping[str, Any], now: Identity) -> bool:
    """Whether a kept result has the identity ``now``, as far as that goes; one without an identity,
    as earlier versions wrote them, has none that is known.
    """
    return bool(kept) and all(kept.get(name) == value for name, value in now.items())


def changed(kept: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not the same, by name."""
    return sorted(name for name in kept.keys() | now.keys() if kept.get(name) != now.get(name))


def key_of(settings: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of settings of plain types, for the name of a kept file."""
    return _short(settings)


def _short(value: Any) -> str:
    return digest_text(json.dumps(value, sort_keys=True))


_hashed: "weakref.WeakKeyDictionary[nn.Module, tuple[Any, str]]" = weakref.WeakKeyDictionary()


def _weights(model: ClipClassifier) -> str:
    """Digest of every tensor of both towers, kept until one of them is written to or replaced."""
    tensors = dict(model.clip.state_dict(keep_vars=True))
    if model.prompt is not None:
        tensors[PROMPT] = model.prompt
    stamp = [(n, w.data_ptr(), w._version, str(w.dtype), w.device) for n, w in tensors.items()]
    known = _hashed.get(model.clip)
    if known is None or known[0] != stamp:
        known = _hashed[model.clip] = (stamp, digest_tensors(tensors)[:16])
    return known[1]


def _preprocessing(model: ClipClassifier) -> list[Any]:
    cfg: Mapping[str, Any] = getattr(model.clip.visual, "preprocess_cfg", {})
    stated = {str(name): _text(value) for name, value in cfg.items()}
    shift = [buffer.reshape(-1).tolist() for buffer in (model.mean, model.std)]  # type: ignore[operator]
    return [*shift, model.image_size, stated]


def _configuration(model: ClipClassifier) -> Iterable[list[Any]]:
    """Every module's type and plain attributes: what the same tensors are computed with (QuickGELU
    or GELU, heads, epsilons).
    """
    for name, module in model.named_modules():
        stated = {
            key: text
            for key, value in sorted(vars(module).items())
            if not key.startswith("_") and key not in _STATE and (text := _text(value)) is not None
        }
        yield [name, type(module).__qualname__, stated]


def _text(value: Any) -> str | None:
    """A value of settings as text that is the same in every process; ``None`` for what is none."""
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype)):
        return str(value)
    if isinstance(value, (tuple, list)):
        return str([_text(item) for item in value])
    if isinstance(value, Mapping):
        return str([(str(name), _text(item)) for name, item in value.items()])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _text({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, functools.partial):
        return _text([value.func, value.args, value.keywords])
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return value.__qualname__
    return None


_seen: dict[tuple[Any, ...], str] = {}


def _pixels(image_set: ImageSet) -> str:
    """Digest of what the images are decoded from, in order: bytes of files, or pixels in memory.

    A reader that shows neither counts as the digest that its data set keeps of its files.
    """
    reader: Any = image_set.fetch
    positions = np.arange(len(image_set))
    if isinstance(reader, Picked):
        reader, positions = reader.inner, reader.positions
    how = []
    while not isinstance(reader, (Array, Files, Shards)) and hasattr(reader, "inner"):
        how.append(type(reader).__qualname__)  # such as one that cuts a frame off
        reader = reader.inner
    if isinstance(reader, Array):
        found = _of_array(reader.images, positions)
    elif isinstance(reader, Files):
        folder, names = reader.folder, reader.names
        found = _joined(lambda i: _of_file(Path(folder, names[i])), positions)
    elif isinstance(reader, FarShards):
        far = reader
        found = _joined(lambda i: hashlib.sha256(far.encoded(i)).hexdigest(), positions)
    elif isinstance(reader, Shards):
        found = _joined(functools.partial(_of_member, reader), positions)
    else:
        found = str(image_set.note.get("content", ""))
    kind = Shards if isinstance(reader, Shards) else type(reader)  # wherever the shards lie
    return _short([how, kind.__qualname__, found])


def _joined(one: Callable[[int], str], positions: np.ndarray) -> str:
    total = hashlib.sha256()
    with ThreadPoolExecutor(_READERS) as readers:
        for text in readers.map(one, positions.tolist()):
            total.update(text.encode())
    return total.hexdigest()


def _of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read again only if it was written since; a missing one is said by
    whoever decodes it.
    """
    try:
        status = path.stat()
        stamp = (str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if stamp not in _seen:
            _seen[stamp] = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "absent"
    return _seen[stamp]


def _of_member(shards: Shards, i: int) -> str:
    path = Path(shards.paths[shards.shard[i]])
    member = Member(shards.names[i], int(shards.offset[i]), int(shards.size[i]))
    try:
        status = path.stat()
        at = (member.offset, member.size)
        stamp = (str(path), status.st_ino, status.st_mtime_ns, status.st_ctime_ns, *at)
        if stamp not in _seen:
            _seen[stamp] = hashlib.sha256(content(path, member, MAX_BYTES)).hexdigest()
    except OSError:
        return "absent"
    return _seen[stamp]


_arrays: dict[int, tuple["weakref.ref[np.ndarray]", dict[str, str]]] = {}


def _of_array(images: np.ndarray, positions: np.ndarray, block: int = 4096) -> str:
    """Digest of images in memory; each choice of them is hashed once as long as the array lives."""
    known = _arrays.get(id(images))
    if known is None or known[0]() is not images:
        place = id(images)
        known = (weakref.ref(images, lambda _: _arrays.pop(place, None)), {})
        _arrays[place] = known
    which = digest(positions)
    if which not in known[1]:
        total = hashlib.sha256(f"{images.shape[1:]} {images.dtype};".encode())
        for start in range(0, len(positions), block):
            rows = np.ascontiguousarray(images[positions[start : start + block]])
            total.update(rows.data)
        known[1][which] = total.hexdigest()
    return known[1][which]
