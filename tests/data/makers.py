"""Small data sets on disk, built from arrays that the tests know."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from grace_geom.data import ImageSet

CLASSES = ("apple", "bear", "car")


def pictures(n: int, side: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    """``(n, side, side, channels)`` uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def turns(n: int, k: int = 3) -> np.ndarray:
    """Labels 0, 1, ..., k-1, 0, 1, ..."""
    return np.arange(n, dtype=np.int64) % k


def write_npz(path: Path, images: object, labels: object, classes: object = CLASSES) -> Path:
    """An archive and its class names; ``classes=None`` leaves the names out."""
    np.savez(path, images=images, labels=labels)  # type: ignore[arg-type]
    if classes is not None:
        path.with_suffix(".classes.json").write_text(json.dumps({"class_names": list(classes)}))  # type: ignore[call-overload]
    return path


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    """Bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A tar of named bytes, in this order."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_shard(path: Path, images: np.ndarray, labels: np.ndarray, first: int = 0) -> Path:
    """A webdataset shard of PNG + cls."""
    members = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True), first):
        members += [(f"{i:06d}.png", encoded(image)), (f"{i:06d}.cls", str(label).encode())]
    return write_tar(path, members)


def write_folder(
    root: Path, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] = CLASSES
) -> Path:
    """One folder of PNG files a class."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / classes[label] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
    return root


def rgb(image_set: ImageSet, i: int) -> np.ndarray:
    """The pixels of an image, as they were written."""
    return np.asarray(image_set.fetch(i))
