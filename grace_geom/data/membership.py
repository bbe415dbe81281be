"""Which image is which: a key for each, by which splits are drawn and a run knows what it was
trained on.

A key follows the image, not its place: it is a hash of the image's content, so that renaming,
reordering, adding or removing others changes nothing, and exact copies share one key.

* Images in memory (npz, torchvision's arrays): all pixels.
* Files and shards: the size and three blocks of the encoded bytes (:func:`file_key`), so that a
  folder of a million pictures is not read whole.
* Published sets whose names are fixed (ImageNet and its relatives, ``shapes``): the name.
* Any other reader: the decoded pixels.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from grace_geom.data.base import Array, ImageSet, Picked, Pixels
from grace_geom.data.request import Request
from grace_geom.errors import UserError

BLOCK = 4 * 2**10
"""Bytes of each of the three blocks of a file that its key is made of."""

UNCOMPRESSED = (".bmp", ".ppm", ".pgm", ".tif", ".tiff")
"""Formats that are read whole: their pictures may have one size and differ between the blocks."""

READERS = 8
"""Threads that read files: a network file system answers many at once."""

SHOWN = 3
"""Changed images that a message names."""

Place = tuple[str, int, int | None]
"""A file, where in it an image's bytes begin, and how many there are; ``None``: to its end."""


class Trained(Protocol):
    """What is asked of a checkpoint: see ``grace_geom.checkpoint.Checkpoint``."""

    config: dict[str, Any]
    step: int
    members: dict[str, Tensor]


_KNOWN: WeakKeyDictionary[ImageSet, np.ndarray] = WeakKeyDictionary()


def keys_of(image_set: ImageSet) -> np.ndarray:
    """``(N,)`` uint64, one key an image: equal for exact copies, whatever they are called.

    Raises:
        UserError: If a file cannot be read.
    """
    if image_set not in _KNOWN:
        _KNOWN[image_set] = _keys(image_set)
    return _KNOWN[image_set]


def _keys(image_set: ImageSet) -> np.ndarray:
    fetch, positions = _source(image_set)
    if isinstance(fetch, Array):
        found = _array_keys(fetch.images, positions)
    elif (published := getattr(fetch, "published", None)) is not None and (
        published(int(positions[0])) is not None
    ):
        found = [_hash(b"name", published(int(i)).encode()) for i in positions]
    elif hasattr(fetch, "place"):
        found = _file_keys([fetch.place(int(i)) for i in positions])
    else:
        found = [_pixels_key(fetch(int(i))) for i in positions]
    return np.array(found, dtype=np.uint64)


def _source(image_set: ImageSet) -> tuple[Any, np.ndarray]:
    """The reader behind all cuts, and which of its images the set has."""
    fetch = image_set.fetch
    if isinstance(fetch, Picked):
        return fetch.inner, fetch.positions
    return fetch, np.arange(len(image_set))


def uniforms_of(keys: np.ndarray, seed: int, stream: str) -> np.ndarray:
    """``(N,)`` float64 in [0, 1): a draw for each key that depends on it, ``seed`` and ``stream``
    alone.

    The key is mixed by the finaliser of SplitMix64 (Steele et al. 2014), salted before and after.
    """
    salt = np.frombuffer(
        hashlib.blake2b(f"{stream}/{seed}".encode(), digest_size=16).digest(), "<u8"
    )
    z = _mixed(_mixed(np.asarray(keys, dtype=np.uint64) ^ salt[:1]) + salt[1:])
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _hash(*parts: bytes) -> int:
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(part)
    return int.from_bytes(total.digest(), "little")


def _array_keys(images: np.ndarray, positions: np.ndarray) -> list[int]:
    """Keys of images ``(N, H, W, C)`` at ``positions``: of shape and pixels."""
    start = hashlib.blake2b(f"pixels {images.shape[1:]}".encode(), digest_size=8)
    found = []
    for i in positions:
        total = start.copy()
        total.update(np.ascontiguousarray(images[i]).data)
        found.append(int.from_bytes(total.digest(), "little"))
    return found


def _pixels_key(image: Pixels) -> int:
    return _array_keys(np.asarray(image)[None], np.arange(1))[0]


def _file_keys(places: Sequence[Place]) -> list[int]:
    if len(places) < 4 * READERS:
        return [file_key(*place) for place in places]
    parts = np.array_split(np.arange(len(places)), READERS)
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda part: [file_key(*places[i]) for i in part], parts)
        return [key for keys in found for key in keys]


def file_key(path: str, offset: int = 0, size: int | None = None) -> int:
    """The key of an encoded picture: of its size, and of its bytes at the start, the middle and
    the end.

    Files of at most three blocks, and uncompressed ones, are read whole. In compressed formats a
    change of a pixel changes all that follows it, checksum included.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        status = os.stat(path)
        return _kept_key(path, offset, size, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


@functools.lru_cache(maxsize=2**20)  # a command resolves its data several times
def _kept_key(path: str, offset: int, size: int | None, length: int, modified: int) -> int:
    size = length - offset if size is None else size
    whole = size <= 3 * BLOCK or path.lower().endswith(UNCOMPRESSED)
    starts = [0] if whole else [0, (size - BLOCK) // 2, size - BLOCK]
    with open(path, "rb", buffering=0) as file:
        blocks = [_block(file, offset + start, size if whole else BLOCK) for start in starts]
    return _hash(f"file {size};".encode(), *blocks)


def _block(file: Any, start: int, size: int) -> bytes:
    file.seek(start)
    parts, left = [], size
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def copies(first: ImageSet, second: ImageSet) -> int:
    """How many images of ``second`` are exact copies of one of ``first``."""
    return int(np.isin(keys_of(second), keys_of(first)).sum())


def members_of(
    train: ImageSet, held_out: ImageSet, earlier: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What a run keeps of its images, in their order.

    Args:
        train: Images that are trained on.
        held_out: Images that training holds out.
        earlier: The members of the checkpoint that is continued, or nothing.

    Returns:
        ``keys`` (N,) and ``held_out_keys`` (M,), uint64 as int64; ``labels`` and
        ``held_out_labels``, int32; ``earlier`` (E,), keys of images that were trained on before
        the data changed.
    """
    found = {}
    for prefix, image_set in (("", train), ("held_out_", held_out)):
        found[f"{prefix}keys"] = torch.from_numpy(keys_of(image_set).view(np.int64))
        found[f"{prefix}labels"] = torch.from_numpy(image_set.labels.astype(np.int32))
    gone = np.setdiff1d(_trained(earlier), found["keys"].numpy().view(np.uint64))
    return found | {"earlier": torch.from_numpy(gone.view(np.int64))}


def summary(members: Mapping[str, Tensor]) -> dict[str, Any]:
    """Number and digest of the images that were trained on, for the record."""
    keys = _trained(members)
    return {"n": len(keys), "sha256": hashlib.sha256(keys.astype("<u8").tobytes()).hexdigest()[:16]}


def _trained(members: Mapping[str, Tensor]) -> np.ndarray:
    """Every key that was trained on, ``(K,)`` uint64, sorted, each once."""
    rows = [
        members[name].numpy().view(np.uint64) for name in ("keys", "earlier") if name in members
    ]
    return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.uint64)


def unseen(image_set: ImageSet, run: Trained) -> ImageSet:
    """The images that a run was not trained on; its record says how many were left out.

    ``note["told"]`` holds sentences that a reader of a number on these images must see.

    Raises:
        UserError: If no image is left; if the split was drawn, and the run is of an earlier version
            that drew another one and kept no list of its images.
    """
    if not run.members:
        return _unknown(image_set, run)
    seen = np.isin(keys_of(image_set), _trained(run.members))
    if not seen.any():
        return _compared(image_set, run)
    n, left_out = len(image_set), int(seen.sum())
    if left_out == n:
        raise UserError(
            f"{image_set.spec}: this run was trained on all {n:,} images of the {image_set.split} "
            "split: they cannot test it. Name data that it has not seen"
        )
    which = "it is" if left_out == 1 else "they are"
    them = "it" if left_out == 1 else "them"
    why = (
        f"the run was trained on {them}"
        if run.step
        else f"{which} training images, on which no run is measured"
    )
    told = f"{image_set.spec}: {left_out:,} of {n:,} images were left out: {why}."
    return image_set.take(np.flatnonzero(~seen), left_out=left_out, told=(told,))


def _compared(image_set: ImageSet, run: Trained) -> ImageSet:
    """A test set of which no image is known to have been trained on, with a sentence where its keys
    are of another kind than the run's, so that equal pictures have unlike keys.
    """
    spec = str(run.config.get("data", ""))
    theirs, ours = KIND_OF.get(spec.partition(":")[0]), _kind(image_set)
    if image_set.split != "test" or not run.step or theirs in (None, ours):
        return image_set
    told = (
        f"{image_set.spec}: its images are known by their {ours}, those of {spec}, on which the run "
        f"was trained, by their {theirs}: whether some are the same is unknown."
    )
    return image_set.with_note(told=(told,))


KIND_OF = {"npz": "pixels", "folder": "file", "wds": "file", "shapes": "name"} | dict.fromkeys(
    ("imagenet", "imagenet-v2", "imagenet-a", "imagenet-r", "imagenet-sketch"), "name"
)
"""What the images of a SPEC are known by (:func:`keys_of`), where its first word tells."""


def _kind(image_set: ImageSet) -> str:
    fetch, positions = _source(image_set)
    named = getattr(fetch, "published", None)
    if named is not None and named(int(positions[0])) is not None:
        return "name"
    return "file" if hasattr(fetch, "place") else "pixels"


def _unknown(image_set: ImageSet, run: Trained) -> ImageSet:
    drawn, ours = "split_seed" in image_set.note, bool(run.config.get("method"))
    if ours and run.step == 0:  # nothing was trained
        return image_set
    if ours and drawn and _same_data(image_set.spec, run.config):
        raise UserError(
            f"{image_set.spec}: this run is of an earlier version, which drew another test split "
            "and kept no list of its training images: most of today's test images were trained "
            "on. Train it again, or name a set of its own with --data"
        )
    if not (ours or drawn):
        return image_set
    why = "this run of an earlier version keeps" if ours else "this checkpoint has"
    told = (
        f"{image_set.spec}: {why} no list of its training images: whether some of these are among "
        "them is unknown."
    )
    return image_set.with_note(told=(told,))


def _same_data(spec: str, config: Mapping[str, Any]) -> bool:
    """Whether a SPEC names what a run was trained on, however the path is written."""
    theirs, root = str(config.get("data") or ""), config.get("data_root")
    return _places(spec, root) == _places(theirs, root)


def _places(spec: str, root: str | None) -> tuple[str, ...]:
    """The kind of a data set and where it lies: paths without links and dots, names as they are."""
    kind, _, rest = spec.partition(":")
    if kind not in ("npz", "folder", "wds") or not rest.strip("+ "):
        return (spec,)
    request = Request(spec, rest, Path(root).expanduser() if root else None)
    return kind, *(str(request.located(name).resolve()) for name in request.names("file"))


def changes(
    train: ImageSet, held_out: ImageSet, members: Mapping[str, Tensor], class_names: Sequence[str]
) -> list[str]:
    """What differs between a run's images and those that are there now, in words; nothing where all
    are the same.

    Args:
        train: Training images now.
        held_out: Held-out images now.
        members: What the run kept (:func:`members_of`).
        class_names: The run's, in label order.
    """
    if found := class_changes(class_names, train.class_names):
        return found  # labels mean something else now
    for what, prefix, now in (("training", "", train), ("held-out", "held_out_", held_out)):
        before = members[f"{prefix}keys"].numpy().view(np.uint64)
        labels = members[f"{prefix}labels"].numpy()
        found += _image_changes(f"{what} image", now, before, labels)
    return found


def class_changes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What differs between two lists of class names, in words."""
    if tuple(before) == tuple(now):
        return []
    gone, new = [n for n in before if n not in now], [n for n in now if n not in before]
    if len(before) == len(now) and not (gone or new):
        i = next(i for i, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1])
        return [f"the classes come in another order: class {i} was {before[i]!r}, now {now[i]!r}"]
    return [f"class {some(map(repr, gone))} is gone"] * bool(gone) + [
        f"class {some(map(repr, new))} is new"
    ] * bool(new) or [f"there were {len(before)} classes, now {len(now)}"]


def _image_changes(what: str, now: ImageSet, before: np.ndarray, labels: np.ndarray) -> list[str]:
    keys = keys_of(now)
    if np.array_equal(keys, before) and np.array_equal(now.labels, labels):
        return []
    names = now.class_names
    old, new = _labels_by_key(before, labels), _labels_by_key(keys, now.labels)
    added = [i for i, key in enumerate(keys.tolist()) if key not in old]
    relabelled = [i for i, key in enumerate(keys.tolist()) if key in old and old[key] != new[key]]
    gone = [i for i, key in enumerate(before.tolist()) if key not in new]
    found = []
    if added:
        found.append(f"{counted(len(added), what)} new: {some(name_of(now, i) for i in added)}")
    if gone:
        by_class = Counter(names[labels[i]] for i in gone)
        text = some(f"{n} of {name!r}" for name, n in by_class.most_common())
        found.append(f"{counted(len(gone), what)} gone: {text}")
    if relabelled:
        texts = (
            f"{name_of(now, i)} (was {_labelled(old[int(keys[i])], names)}, now "
            f"{_labelled(new[int(keys[i])], names)})"
            for i in relabelled
        )
        found.append(f"{counted(len(relabelled), what)} labelled otherwise: {some(texts)}")
    return found or [f"the same {what}s come in another order: files were renamed, or rows moved"]


def _labels_by_key(keys: np.ndarray, labels: np.ndarray) -> dict[int, list[int]]:
    """The labels of each key, sorted: copies may have several."""
    found: dict[int, list[int]] = {}
    for key, label in zip(keys.tolist(), labels.tolist(), strict=True):
        found.setdefault(key, []).append(label)
    return {key: sorted(row) for key, row in found.items()}


def _labelled(labels: Sequence[int], names: Sequence[str]) -> str:
    return " and ".join(repr(names[label]) for label in dict.fromkeys(labels)) + (
        f" x {len(labels)}" if len(labels) > 1 else ""
    )


def name_of(image_set: ImageSet, i: int) -> str:
    """How people find an image: its file, or its row."""
    fetch, positions = _source(image_set)
    named: Callable[[int], str] | None = getattr(fetch, "called", None)
    return named(int(positions[i])) if named else f"row {int(image_set.index[i])}"


def counted(n: int, what: str) -> str:
    """``1 image is`` or ``2 images are``."""
    return f"{n:,} {what} is" if n == 1 else f"{n:,} {what}s are"


def some(texts: Any) -> str:
    """The first few, and how many more."""
    listed = list(texts)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
