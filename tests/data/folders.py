"""Folders of pictures whose grey level tells which they are."""

import csv
from pathlib import Path

import numpy as np

from grace_geom.data import ImageSet
from tests.data.makers import encoded


def grey(level: int) -> bytes:
    """A picture whose level tells which it is."""
    return encoded(np.full((4, 4, 3), level, dtype=np.uint8))


def put(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(grey(level))
    return path


def seen(image_set: ImageSet) -> dict[int, str]:
    """Level of each picture -> the name of the class it is read as."""
    return {
        int(np.asarray(image_set.fetch(i))[0, 0, 0]): image_set.class_names[label]
        for i, label in enumerate(image_set.labels)
    }


def table(path: Path, *rows: tuple[str, ...], mark: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=mark).writerows(rows)


def tree(root: Path, train: str = "train", test: str = "test") -> Path:
    """Levels 0 and 1 are cat and dog of train, 10 and 11 those of test."""
    for part, base in ((train, 0), (test, 10)):
        for label, name in enumerate(("cat", "dog")):
            put(root / part / name / "0.png", base + label)
    return root
