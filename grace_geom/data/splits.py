"""Which images train, which are held out, which are the test: a data set's own split, else a seeded
one, on record.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from grace_geom.data.base import ImageSet
from grace_geom.errors import UserError, nearest

Split = Literal["train", "val", "test", "eval"]
Parts = Mapping[str, Callable[[], ImageSet]]
"""The parts that a data set has of itself: any of ``train``, ``val``, ``test``, or ``all`` where it
is in one piece.
"""

TEST_FRACTION = 0.2


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions that stay and positions that are held out, both sorted: disjoint, together
    everything.

    Stratified: images are sorted by class, at random within a class, and every ``1 / fraction``-th
    of that row is held out from a random start, so that each class gives its share to within one
    image, however small the classes.

    Args:
        labels: ``(N,)`` class indices.
        fraction: In [0, 1). Above 0, at least one image is held out where there are two.
        seed: Another seed, another draw.
    """
    rng = np.random.default_rng([seed, 0x5911])  # not the stream of any epoch's order
    row = np.lexsort((rng.random(len(labels)), labels))
    steps = np.floor(np.arange(len(row) + 1) * fraction + rng.random())
    held = steps[1:] > steps[:-1]
    if fraction > 0 and len(row) > 1 and not held.any():
        held[rng.integers(len(row))] = True
    return np.sort(row[~held]), np.sort(row[held])


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
    if own_test is None:
        rest, test = hold_out(image_set.labels, TEST_FRACTION, seed)
        how.append(f"test: seeded {TEST_FRACTION:g} of all")
        if split == "test":
            return _cut(image_set, test, spec, split, how, seed)
        image_set = image_set.take(rest)
    if split == "train" and (val_fraction == 0 or ("val" in parts and "test" in parts)):
        return _cut(
            image_set, np.arange(len(image_set)), spec, split, how or ["the data set's own"], seed
        )
    kept, held = hold_out(image_set.labels, val_fraction, seed)
    how.append(f"val: seeded {val_fraction:g} of train")
    return _cut(image_set, kept if split == "train" else held, spec, split, how, seed)


def one_or_two(names: list[str], read: Callable[[str], ImageSet]) -> Parts:
    """The parts of a data set in one file, or in a training file and a test file."""
    if len(names) == 1:
        return {"all": lambda: read(names[0])}
    return {"train": lambda: read(names[0]), "test": lambda: read(names[1])}


def _cut(
    image_set: ImageSet, positions: np.ndarray, spec: str, split: Split, how: list[str], seed: int
) -> ImageSet:
    if len(positions) == 0:
        raise UserError(
            f"{spec}: no image is left for the {split} split of {len(image_set)} images "
            f"({'; '.join(how)})"
        )
    seeded = {"split_seed": seed} if any("seeded" in part for part in how) else {}
    return _record(image_set.take(positions, **seeded), spec, split, "; ".join(how))


def _record(image_set: ImageSet, spec: str, split: Split, how: str) -> ImageSet:
    note = image_set.note | {"spec": spec, "split": split, "how": how, "n": len(image_set)}
    return replace(
        image_set, spec=spec, split=split, note=note | {"classes": len(image_set.class_names)}
    )
