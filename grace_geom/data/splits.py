"""Which images train, which are held out, which are the test: a data set's own split, else a seeded
one, on record.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from grace_geom.data.base import ImageSet
from grace_geom.data.keys import keys_of, uniforms_of
from grace_geom.errors import UserError, nearest
from grace_geom.terminal import say
from grace_geom.world import first

Split = Literal["train", "val", "test", "eval"]
Parts = Mapping[str, Callable[[], ImageSet]]
"""The parts that a data set has of itself: any of ``train``, ``val``, ``test``, or ``all`` where it
is in one piece.
"""

TEST_FRACTION = 0.2
RULE = "a hash of each image"
"""How splits are drawn, on record: earlier versions drew positions, which an added image moved."""


def hold_out(
    keys: np.ndarray, fraction: float, seed: int, stream: str = "val"
) -> tuple[np.ndarray, np.ndarray]:
    """Positions that stay and positions that are held out, both sorted: disjoint, together
    everything.

    Each image is held out or not by a hash of its own key: whatever images are added, removed,
    renamed or moved to another row, no other image changes sides, and exact copies stay together.
    The share of each class is right to within chance (binomial), so a small class may have none.
    Where the draw takes no image or every image, the one with the smallest or the largest draw (and
    its copies) goes to the other side: only then can a further image move another one.

    Args:
        keys: ``(N,)`` uint64, one an image, as ``keys.keys_of`` makes them.
        fraction: In [0, 1). Above 0, at least one image is held out, and one stays, where there are
            two different ones.
        seed: Another seed, another draw.
        stream: What is drawn: test and validation images are drawn independently.
    """
    draws = uniforms_of(keys, seed, stream)
    held = draws < fraction
    if fraction > 0 and len(np.unique(draws)) > 1:
        if not held.any():
            held = draws == draws.min()
        elif held.all():
            held = draws < draws.max()
    return np.flatnonzero(~held), np.flatnonzero(held)


def choose(parts: Parts, split: Split, spec: str, seed: int, val_fraction: float) -> ImageSet:
    """One split of a data set, from the parts it has.

    ``train`` and ``val`` are disjoint: ``val`` is the data set's own only where there is also a
    ``test``; otherwise an own ``val`` is the test (as ImageNet's), and ``val`` is held out of
    ``train``. A data set in one piece, or with ``train`` only, gives a seeded fifth to ``test``.
    ``eval`` is for sets that are never trained on: their own test split, or else every image.

    Raises:
        UserError: For an unknown split, a fraction out of range, or a split that would be empty.
    """
    if split not in get_args(Split):
        raise UserError(f"unknown split {split!r}: {nearest(split, get_args(Split))}")
    if not 0 <= val_fraction < 1:
        raise UserError(f"the validation fraction is {val_fraction}, it must be in [0, 1)")
    own_test = next((parts[name] for name in ("test", "val") if name in parts), None)
    whole = parts.get("train", parts.get("all"))
    if split in ("test", "eval") and own_test:
        return _record(own_test(), spec, split, "the data set's own")
    if whole is None:
        raise UserError(
            f"{spec} has only a test split: it can be evaluated on, not trained on (--ood "
            f"NAME={spec})"
        )
    if split == "eval":
        return _record(whole(), spec, split, "every image")
    if split == "val" and "val" in parts and "test" in parts:
        return _record(parts["val"](), spec, split, "the data set's own")
    image_set, how = whole(), []
    rest = np.arange(len(image_set))
    if own_test is None:
        rest, test = hold_out(keys_of(image_set), TEST_FRACTION, seed, "test")
        how.append(f"test: seeded {TEST_FRACTION:g} of all")
        if split == "test":
            return _cut(image_set, test, spec, split, how, seed)
        image_set = image_set.with_note(test_images=len(test))
    if split == "train" and (val_fraction == 0 or ("val" in parts and "test" in parts)):
        return _cut(image_set, rest, spec, split, how or ["the data set's own"], seed)
    kept, held = hold_out(keys_of(image_set)[rest], val_fraction, seed, "val")
    how.append(f"val: seeded {val_fraction:g} of train")
    return _cut(image_set, rest[kept if split == "train" else held], spec, split, how, seed)


def one_or_two(names: list[str], read: Callable[[str], ImageSet]) -> Parts:
    """The parts of a data set in one file, or in a training file and a test file."""
    if len(names) == 1:
        return {"all": lambda: read(names[0])}
    return {"train": lambda: read(names[0]), "test": lambda: read(names[1])}


def _cut(
    image_set: ImageSet, positions: np.ndarray, spec: str, split: Split, how: list[str], seed: int
) -> ImageSet:
    if len(positions) == 0:
        copies = len(image_set) > 1 and len(np.unique(keys_of(image_set))) == 1
        raise UserError(
            f"{spec}: no image is left for the {split} split of {len(image_set)} images "
            f"({'; '.join(how)})" + "; they are copies of one picture" * copies
        )
    if not any("seeded" in part for part in how):
        return _record(image_set.take(positions), spec, split, "; ".join(how))
    cut = image_set.take(positions, split_seed=seed, split_rule=RULE)
    empty = np.setdiff1d(image_set.labels, cut.labels)
    if split != "val" and len(empty):
        names = tuple(image_set.class_names[label] for label in empty)
        _warn_of_empty(spec, split, seed, names)
        cut = cut.with_note(classes_without_images=list(names))
    return _record(cut, spec, split, "; ".join(how))


@functools.cache  # once a process, however often the set is read
def _warn_of_empty(spec: str, split: str, seed: int, names: tuple[str, ...]) -> None:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    if first():
        say(
            f"warning: {spec}: no image of {shown} is in the {split} split: each image is drawn on "
            "its own, and these classes are small; give a test set of your own (TRAIN+TEST), or "
            f"another --split-seed than {seed}"
        )


def _record(image_set: ImageSet, spec: str, split: Split, how: str) -> ImageSet:
    note = image_set.note | {"spec": spec, "split": split, "how": how, "n": len(image_set)}
    return replace(
        image_set, spec=spec, split=split, note=note | {"classes": len(image_set.class_names)}
    )
