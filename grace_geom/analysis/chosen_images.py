"""Which images of a sample are shown: the same for every run of a study, some of them hard."""

import hashlib
from collections.abc import Sequence

import numpy as np

from grace_geom.data import ImageSet


def digests(image_set: ImageSet) -> list[str]:
    """16 hexadecimal digits for each image: of its pixels as they are stored, before resizing."""
    found = []
    for i in range(len(image_set)):
        pixels = np.ascontiguousarray(np.asarray(image_set.fetch(i)))
        found.append(hashlib.sha256(f"{pixels.shape};".encode() + pixels.tobytes()).hexdigest())
    return [digest[:16] for digest in found]


def in_turn(
    keys: Sequence[str], labels: Sequence[int] | np.ndarray, most: int, seed: int
) -> list[int]:
    """Positions of at most ``most`` images, one of each class in turn.

    Within a class the order is that of SHA-256 of seed and digest, so that it depends on the images
    and on nothing else; equal images count once.

    Args:
        keys: A digest for each image.
        labels: Its class.
        most: How many to choose.
        seed: Another one chooses others.
    """
    place = {key: i for i, key in reversed(list(enumerate(keys)))}
    drawn = sorted(place, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).hexdigest())
    turns: dict[int, int] = {}
    ranked = []
    for key in drawn:
        label = int(labels[place[key]])
        turns[label] = turns.get(label, -1) + 1
        ranked.append((turns[label], label, place[key]))
    return [i for *_, i in sorted(ranked)[:most]]


def chosen(
    keys: Sequence[str], labels: np.ndarray, wrong: np.ndarray | None, most: int, seed: int
) -> np.ndarray:
    """``(M,)`` positions: half of them hard, that is wrong for a reference model, where there are
    so many; the others are drawn from all images that are left.

    Args:
        keys: A digest for each image.
        labels: ``(N,)`` its class.
        wrong: ``(N,)`` whether the reference is wrong; ``None`` where there is no reference.
        most: How many to choose.
        seed: Of the draw.
    """
    hard: list[int] = []
    if wrong is not None:
        at = np.flatnonzero(wrong).tolist()
        hard = [at[i] for i in in_turn([keys[i] for i in at], labels[at], most // 2, seed)]
    taken = {keys[i] for i in hard}
    rest = [i for i, key in enumerate(keys) if key not in taken]
    free = in_turn([keys[i] for i in rest], labels[rest], most - len(hard), seed)
    return np.sort(np.array([*hard, *(rest[i] for i in free)], dtype=np.int64))
