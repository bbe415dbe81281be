"""What a run keeps of the images that it was trained on, and which images it has therefore seen."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from grace_geom.data.base import ImageSet
from grace_geom.data.cifar import FOLDERS as CIFARS
from grace_geom.data.keys import MOST_BYTES, MOST_IMAGES, keys_of, kind_of, pixel_keys_of, source_of
from grace_geom.data.request import Request
from grace_geom.errors import UserError

SHOWN = 3
"""Changed images that a message names."""


class Trained(Protocol):
    """What is asked of a checkpoint: see ``grace_geom.checkpoint.Checkpoint``."""

    config: dict[str, Any]
    step: int
    members: dict[str, Tensor]


def copies(first: ImageSet, second: ImageSet) -> int:
    """How many images of ``second`` are copies of one of ``first``: the same file or row, or, where
    both are decoded for it, another one with the same pixels.
    """
    same = np.isin(keys_of(second), keys_of(first))
    ours, theirs = pixel_keys_of(second), pixel_keys_of(first)
    if ours is not None and theirs is not None:
        same |= np.isin(ours, theirs)
    return int(same.sum())


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
        the data changed. ``pixels`` (N,) and ``earlier_pixels`` (F,), keys of their pixels; absent
        unless they are known of every image that was trained on.
    """
    found = {}
    for prefix, image_set in (("", train), ("held_out_", held_out)):
        found[f"{prefix}keys"] = _stored(keys_of(image_set))
        found[f"{prefix}labels"] = torch.from_numpy(image_set.labels.astype(np.int32))
    gone = np.setdiff1d(_trained(earlier), _loaded(found["keys"]))
    found["earlier"] = _stored(gone)
    pixels = pixel_keys_of(train)
    if pixels is not None and (len(gone) == 0 or "pixels" in earlier):
        found["pixels"] = _stored(pixels)
        found["earlier_pixels"] = _stored(np.setdiff1d(_trained(earlier, PIXELS), pixels))
    return found


def _stored(keys: np.ndarray) -> Tensor:
    return torch.from_numpy(keys.view(np.int64))


def _loaded(keys: Tensor) -> np.ndarray:
    return keys.numpy().view(np.uint64)


def summary(members: Mapping[str, Tensor]) -> dict[str, Any]:
    """For the record: number and digest of the images that were trained on, and whether the keys of
    their pixels are kept.
    """
    keys = _trained(members)
    return {
        "n": len(keys),
        "sha256": hashlib.sha256(keys.astype("<u8").tobytes()).hexdigest()[:16],
        "pixels": "pixels" in members,
    }


KEYS = ("keys", "earlier")
PIXELS = ("pixels", "earlier_pixels")


def _trained(members: Mapping[str, Tensor], names: Sequence[str] = KEYS) -> np.ndarray:
    """Every key that was trained on, ``(K,)`` uint64, sorted, each once."""
    rows = [_loaded(members[name]) for name in names if name in members]
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
    pixels = pixel_keys_of(image_set) if "pixels" in run.members else None
    others = 0
    if pixels is not None:
        same = np.isin(pixels, _trained(run.members, PIXELS))
        others, seen = int((same & ~seen).sum()), seen | same
    if not seen.any():
        return image_set if pixels is not None else _compared(image_set, run)
    rest = _without(image_set, seen, others, run)
    return rest if pixels is not None else _compared(rest, run)


def _without(image_set: ImageSet, seen: np.ndarray, others: int, run: Trained) -> ImageSet:
    """The images that are not ``seen``, with a sentence; ``others`` are seen by their pixels alone.

    Raises:
        UserError: If none is left.
    """
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
    how = f" ({others:,} as other files or rows of the same pixels)" if others else ""
    told = f"{image_set.spec}: {left_out:,} of {n:,} images were left out: {why}{how}."
    return image_set.take(np.flatnonzero(~seen), left_out=left_out, told=_told(image_set, told))


def _told(image_set: ImageSet, sentence: str) -> tuple[str, ...]:
    """What is to be said of a set already, and one sentence more."""
    return (*image_set.note.get("told", ()), sentence)


def _compared(image_set: ImageSet, run: Trained) -> ImageSet:
    """A test set whose pixels could not be compared with those that were trained on, with a
    sentence where its keys cannot tell a copy: they are of another kind than the run's, so that
    equal pictures have unlike keys, or of files, of which one picture may have several.
    """
    spec = str(run.config.get("data", ""))
    ours = kind_of(image_set)
    theirs = KIND_OF.get(spec.partition(":")[0])
    if theirs is None and _same_data(image_set.spec, run.config):
        theirs = ours
    if image_set.split != "test" or not run.step:
        return image_set
    if theirs not in (None, ours):
        told = (
            f"{image_set.spec}: its images are known by their {ours}, those of {spec}, on which "
            f"the run was trained, by their {theirs}: whether some are the same is unknown."
        )
    elif ours == "file":
        told = (
            f"{image_set.spec}: its images were compared with those that the run was trained on by "
            f"their files, not by their pixels ({_why_not_pixels(run)}): other files of the same "
            "pictures would not be noticed."
        )
    else:
        return image_set
    return image_set.with_note(told=_told(image_set, told))


def _why_not_pixels(run: Trained) -> str:
    if "pixels" not in run.members:
        return "the run keeps none of its training images"
    return f"more than {MOST_IMAGES:,} files or {MOST_BYTES >> 20} MiB are not decoded"


KIND_OF = (
    dict.fromkeys(("npz", "npy", *CIFARS), "pixels")
    | dict.fromkeys(("folder", "csv", "wds", "hf"), "file")
    | dict.fromkeys(
        ("shapes", "imagenet", "imagenet-v2", "imagenet-a", "imagenet-r", "imagenet-sketch"), "name"
    )
)
"""What the images of a SPEC are known by (:func:`keys_of`), where its first word tells."""


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
    return image_set.with_note(told=_told(image_set, told))


def _same_data(spec: str, config: Mapping[str, Any]) -> bool:
    """Whether a SPEC names what a run was trained on, however the path is written."""
    theirs, root = str(config.get("data") or ""), config.get("data_root")
    return _places(spec, root) == _places(theirs, root)


def _places(spec: str, root: str | None) -> tuple[str, ...]:
    """The kind of a data set and where it lies: paths without links and dots, names as they are."""
    kind, _, rest = spec.partition(":")
    if kind not in ("npz", "npy", "folder", "csv", "wds") or not rest.strip("+ "):
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
        before = _loaded(members[f"{prefix}keys"])
        labels = members[f"{prefix}labels"].numpy()
        found += _image_changes(f"{what} image", now, before, labels)
    if found and (k := _written_anew(train, members)):
        found.append(f"of the training images, {k:,} are there in other files of the same pixels")
    return found


def _written_anew(train: ImageSet, members: Mapping[str, Tensor]) -> int:
    """How many of a run's training images are there by their pixels alone."""
    pixels = pixel_keys_of(train) if "pixels" in members else None
    if pixels is None:
        return 0
    gone = ~np.isin(_loaded(members["keys"]), keys_of(train))
    return int((gone & np.isin(_loaded(members["pixels"]), pixels)).sum())


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
        by_class = Counter(_class(labels[i], names) for i in gone)
        text = some(f"{n} of {name}" for name, n in by_class.most_common())
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
    return " and ".join(_class(label, names) for label in dict.fromkeys(labels)) + (
        f" x {len(labels)}" if len(labels) > 1 else ""
    )


def _class(label: int, names: Sequence[str]) -> str:
    return repr(names[label]) if label >= 0 else "no class"


def name_of(image_set: ImageSet, i: int) -> str:
    """How people find an image: its file, or its row."""
    fetch, positions = source_of(image_set)
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
