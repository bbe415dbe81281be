"""``shapes`` and ``shapes:VARIANT``: the embedded benchmark, painted when asked for and
remembered."""

import functools

import numpy as np

from grace_geom.data.base import ImageSet
from grace_geom.data.request import Request
from grace_geom.data.shapes.paint import SIDE
from grace_geom.data.shapes.sets import SHAPES_SETS, VERSION, ids_of, labels_of, render
from grace_geom.data.splits import Parts
from grace_geom.errors import UserError, nearest

BENCHMARK_SEED = (
    0  # one benchmark for everybody: the seed of a run or of a split does not change it
)


class Painted:
    """Reads pictures of the benchmark; each is painted once a process.

    Args:
        name: Key of ``SHAPES_SETS``.
        split: Stream of the pictures.
        ids: ``(N,)`` int64 picture numbers.
    """

    def __init__(self, name: str, split: str, ids: np.ndarray) -> None:
        self.name, self.split, self.ids = name, split, ids
        self.images = np.empty((len(ids), SIDE, SIDE, 3), dtype=np.uint8)
        self.done = np.zeros(len(ids), dtype=bool)

    def __call__(self, i: int) -> np.ndarray:
        return self.many(np.array([i]))[0]

    def published(self, i: int) -> str:
        """Set, stream and number: all that a picture depends on."""
        return f"{self.name}/{self.split}/{self.ids[i]}"

    def many(self, positions: np.ndarray) -> np.ndarray:
        """``(B, H, W, 3)`` uint8."""
        missing = np.unique(positions[~self.done[positions]])
        if len(missing):
            self.images[missing] = render(self.name, self.split, self.ids[missing], BENCHMARK_SEED)[
                0
            ]
            self.done[missing] = True
        return self.images[positions]


def parts(request: Request) -> Parts:
    """The streams of a variant: train, val and test; ``shapes:hard`` was filtered from one stream,
    so has a test only.

    Raises:
        UserError: If there is no such variant.
    """
    name = request.spec.rstrip(":")
    if name not in SHAPES_SETS:
        raise UserError(f"unknown data set {request.spec!r}: {nearest(name, SHAPES_SETS)}")
    splits = ("test",) if name == "shapes:hard" else ("train", "val", "test")
    return {split: functools.partial(_read, name, split) for split in splits}


@functools.lru_cache(maxsize=16)  # several runs in one process share what was painted
def _read(name: str, split: str) -> ImageSet:
    kind = SHAPES_SETS[name]
    ids = ids_of(name, split)
    note = {
        "source": "procedural",
        "version": VERSION,
        "benchmark_seed": BENCHMARK_SEED,
        "licence": "Apache-2.0",
    }
    note["content"] = f"{name} {split} {VERSION} {BENCHMARK_SEED}"
    reader = Painted(name, split, ids)
    return ImageSet(
        name,
        name,
        split,
        labels_of(name, ids),
        kind.class_names,
        kind.templates,
        reader,
        note,
        index=ids,
    )
