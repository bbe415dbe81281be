"""Class subsets: fewer classes than the model's head, or the same in another order."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grace_geom.data.base import ClassIds, ImageSet
from grace_geom.data.text import nfc
from grace_geom.errors import UserError, nearest


def restrict_classes(image_set: ImageSet, classes: Sequence[int | str]) -> ImageSet:
    """The images of some classes, relabelled 0, 1, ... in the order given; ``class_ids`` says where
    these stand.

    Args:
        image_set: The whole set.
        classes: Labels or class names.

    Raises:
        UserError: If a class is unknown or named twice, or has a name that two classes share.
    """
    ids = [_class_id(image_set, c) for c in classes]
    if len(set(ids)) < len(ids) or not ids:
        raise UserError(
            f"{image_set.spec}: the class subset {list(classes)} is empty or names a class twice"
        )
    new = np.full(len(image_set.class_names), -1, dtype=np.int64)
    new[ids] = np.arange(len(ids))
    positions = np.flatnonzero(new[image_set.labels] >= 0)
    if len(positions) == 0:
        raise UserError(f"{image_set.spec}: no image of the classes {list(classes)}")
    outer: ClassIds = image_set.class_ids or tuple(range(len(image_set.class_names)))
    class_ids = tuple(outer[i] for i in ids)
    kept = image_set.take(positions, class_ids=list(class_ids), classes=len(ids))
    names = tuple(image_set.class_names[i] for i in ids)
    return replace(kept, labels=new[kept.labels], class_names=names, class_ids=class_ids)


def _class_id(image_set: ImageSet, c: int | str) -> int:
    names = image_set.class_names
    if isinstance(c, str):
        c = nfc(c)
        if names.count(c) > 1:
            raise UserError(
                f"{image_set.spec} has {names.count(c)} classes called {c!r}: give their numbers "
                "instead"
            )
        if c not in names:
            raise UserError(f"{image_set.spec} has no class {c!r}: {nearest(c, names)}")
        return names.index(c)
    if not 0 <= c < len(names):
        raise UserError(f"{image_set.spec} has classes 0 to {len(names) - 1}, not {c}")
    return int(c)
