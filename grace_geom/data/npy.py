"""``npy:IMAGES`` and ``npy:IMAGES,LABELS``: images and labels in two NumPy arrays, read row by row.

What ``.npy`` headers declare, and which arrays are images and labels, is judged here for archives
(``npz:``) and published arrays (CIFAR-C) too.
"""

import functools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from grace_geom.data.base import ImageSet
from grace_geom.data.classes import class_list
from grace_geom.data.names import content_digest, existing, existing_file, file_record
from grace_geom.data.pictures import check_sides
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts, one_or_two
from grace_geom.data.text import shown
from grace_geom.errors import UserError

IMAGE_WORDS = "images?|imgs?|data|x"
LABEL_WORDS = ("labels", "label", "targets", "target", "y")
MAX_LABELS = 2**30  # bytes: more labels than any data set has


@dataclass(frozen=True)
class Header:
    """What a ``.npy`` file says of its array.

    Attributes:
        shape, dtype: Of the array.
        columns: It is stored column by column (Fortran's order).
        offset: Where its bytes begin.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    columns: bool
    offset: int


def parts(request: Request) -> Parts:
    """One pair of arrays, or one for training and one for testing, which must agree in class names
    and image size.

    Raises:
        UserError: If an array is missing or broken, or has another type or shape; if it cannot be
            told where the labels are.
    """
    names = request.names("images")
    pairs = {name: _pair(request, name) for name in names}
    if len(names) == 2:
        _agree(*pairs.values())
    return one_or_two(names, lambda name: read(*pairs[name], request.spec))


def _pair(request: Request, name: str) -> tuple[Path, Path]:
    """The files of the images and of their labels."""
    if "," in name and not request.located(name).exists():
        images, labels = (existing_file(request.located(n)) for n in name.split(",", 1))
        return images, labels
    images = existing_file(request.located(name))
    return images, _labels_beside(images)


def _labels_beside(images: Path) -> Path:
    """The file beside the images that is called like them, with a word for labels in the place of
    that for images: ``x_train.npy`` and ``y_train.npy``, ``v6_data.npy`` and ``v6_labels.npy``.

    Raises:
        UserError: If there is none, or more than one.
    """
    words = re.split(r"([^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z]))", images.stem)
    places = [k for k, word in enumerate(words) if re.fullmatch(IMAGE_WORDS, word.lower())]
    wanted = {
        "".join([*words[:k], label, *words[k + 1 :]]).lower()
        for k in places
        for label in LABEL_WORDS
    }
    found = sorted(
        path
        for path in images.parent.glob("*.npy")
        if path.stem.lower() in wanted and path != images
    )
    if len(found) == 1:
        return existing_file(found[0])
    both = " and ".join(shown(path.name) for path in found)
    why = f"{both} could both be its labels" if found else "there is no array of labels beside it"
    raise UserError(
        f"{shown(images)}: {why} (such as y_train.npy for x_train.npy): name the one that is meant, "
        f"npy:{shown(images)},LABELS.npy"
    )


def read(images: Path, labels: Path, spec: str) -> ImageSet:
    """Every image of a pair of arrays.

    Args:
        images: uint8 (N,H,W,3), (N,H,W,1) or (N,H,W), in C order.
        labels: Integers (N,) from 0.
        spec: For the record.

    Raises:
        UserError: As :func:`parts`; and if labels do not fit the class names, or there are none.
    """
    header = image_header(images)
    found = read_labels(labels)
    check_kinds(shown(images), header.shape, header.dtype, found.shape, found.dtype)
    class_names = class_list(images)
    if found.min() < 0 or found.max() >= len(class_names):
        raise UserError(
            f"{shown(labels)}: labels go from {found.min()} to {found.max()}, but there are "
            f"{len(class_names)} class names. Labels count from 0."
        )
    key, templates = templates_for(images.stem)
    note = {
        "files": [file_record(path) for path in (images, labels)],
        "content": content_digest([("", images)]),
        "templates": key,
    }
    reader = ArrayRows.of([(images, 0, len(found))])
    return ImageSet(images.stem, spec, "all", found, class_names, templates, reader, note)


@dataclass(frozen=True)
class ArrayRows:
    """Reads images out of ``.npy`` files, a row at a time, so that no array has to fit into memory.

    Attributes:
        paths: One file a run of rows.
        first: ``(K,)`` int64, the row that a run begins with.
        start: ``(K + 1,)`` int64, the image that a run begins with, and the number of images.
    """

    paths: tuple[str, ...]
    first: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[tuple[Path, int, int]]) -> "ArrayRows":
        """A reader of runs of rows, each the file, the first row and the number of rows."""
        counts = np.cumsum([0, *(n for _, _, n in runs)])
        return cls(
            tuple(str(path) for path, _, _ in runs), np.array([r for _, r, _ in runs]), counts
        )

    def __call__(self, i: int) -> np.ndarray:
        run = int(np.searchsorted(self.start, i, side="right")) - 1
        path = self.paths[run]
        header = image_header(Path(path))
        shape = header.shape[1:]
        size = math.prod(shape)
        row = int(self.first[run] + i - self.start[run])
        try:
            with open(path, "rb", buffering=0) as file:
                content = os.pread(file.fileno(), size, header.offset + row * size)
        except OSError as error:
            raise UserError(f"{shown(path)} cannot be read ({error.strerror})") from None
        if len(content) != size:
            raise UserError(f"{shown(path)} was cut short after it was opened: fetch it again")
        image = np.frombuffer(content, dtype=np.uint8).reshape(shape)
        return image if image.ndim == 3 else image[..., None]

    @property
    def channels(self) -> int:
        """3 or 1."""
        return 3 if image_header(Path(self.paths[0])).shape[-1] == 3 else 1

    def called(self, i: int) -> str:
        """The file and the row in it."""
        run = int(np.searchsorted(self.start, i, side="right")) - 1
        return f"{self.paths[run]}, row {int(self.first[run] + i - self.start[run])}"


def image_header(path: Path) -> Header:
    """The header of an array of images, checked: uint8, in C order, of a shape that images have.

    Raises:
        UserError: If it is something else, or the file is broken or missing.
    """
    status = existing(path).stat()
    return _image_header(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)  # asked for each image; a change of the file is noticed
def _image_header(path: Path, size: int, modified: int) -> Header:
    header = _file_header(path, size)
    n = header.shape[:1]
    check_kinds(shown(path), header.shape, header.dtype, n, np.dtype(np.int64))
    if header.columns:
        raise UserError(
            f"{shown(path)} is stored column by column (Fortran's order): save "
            "numpy.ascontiguousarray(images)"
        )
    return header


def read_labels(path: Path) -> np.ndarray:
    """``(N,)`` integers from a ``.npy`` file.

    Raises:
        UserError: If it holds something else, or is broken or missing.
    """
    header = _file_header(existing_file(path), path.stat().st_size)
    if header.dtype.hasobject:
        raise pickled(path)
    if len(header.shape) != 1 or header.dtype.kind not in "iu":
        raise UserError(
            f"{shown(path)}: labels are {header.dtype} of shape {header.shape}, expected int64 of "
            "shape (N,)"
        )
    if math.prod(header.shape) * header.dtype.itemsize > MAX_LABELS:
        raise UserError(f"{shown(path)}: {header.shape[0]:,} labels are more than a data set has")
    try:
        return np.load(path, allow_pickle=False).astype(np.int64)
    except (OSError, ValueError) as error:
        raise _broken(path, error) from None


def _file_header(path: Path, size: int) -> Header:
    try:
        with path.open("rb") as file:
            if (head := file.read(6))[:1] == b"\x80":  # as pickles of protocol 2 and later begin
                raise pickled(path)
            if head != b"\x93NUMPY":
                raise UserError(f"{shown(path)} is not an array saved by numpy.save")
            file.seek(0)
            return read_header(file, size, shown(path))
    except UserError:
        raise
    except Exception as error:  # numpy and the system each raise their own
        raise _broken(path, error) from None


def read_header(file: IO[bytes], size: int, where: str) -> Header:
    """The header of an array; its bytes must be as many as it declares.

    Args:
        file: At the beginning of the array's file.
        size: Number of bytes of that file.
        where: Names it in errors.

    Raises:
        UserError: If they are not, or the header is of another kind.
        ValueError: If there is no header of an array.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):  # 3.0 is for field names, which these arrays lack
        raise UserError(f"{where} has the format {version}: save plain arrays with numpy.savez")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, columns, dtype = read(file)
    held = size - file.tell()
    if any(side < 0 for side in shape):
        raise UserError(f"{where} declares the shape {shape}")
    declared = math.prod(shape) * dtype.itemsize
    if declared != held and not dtype.hasobject:
        raise UserError(
            f"{where} declares {declared} bytes (shape {shape}) and holds {held}: it is broken or "
            "cut short"
        )
    return Header(tuple(map(int, shape)), dtype, columns and len(shape) > 1, file.tell())


def check_kinds(
    where: str,
    images: tuple[int, ...],
    images_type: np.dtype,
    labels: tuple[int, ...],
    labels_type: np.dtype,
) -> None:
    """Refuse shapes and types that are not images and labels.

    Raises:
        UserError: With what was expected; ``where`` names the file.
    """
    if images_type.hasobject or labels_type.hasobject:
        raise pickled(where)
    if images_type != np.uint8:
        raise UserError(
            f"{where}: images are {images_type}, expected uint8 in 0..255. "
            f"Save (images * 255).round().astype('uint8') if they lie in [0, 1]."
        )
    whole = images if len(images) == 4 else (*images, 1)
    if len(whole) != 4 or whole[-1] not in (1, 3) or 0 in whole:
        raise UserError(
            f"{where}: images have shape {images}, expected (N,H,W,3), (N,H,W,1) or (N,H,W), N > 0"
        )
    if len(labels) != 1 or labels_type.kind not in "iu":
        raise UserError(
            f"{where}: labels are {labels_type} of shape {labels}, expected int64 of shape (N,)"
        )
    if images[0] != labels[0]:
        raise UserError(f"{where}: {images[0]} images but {labels[0]} labels")
    check_sides((whole[2], whole[1]), where)


def pickled(path: Path | str) -> UserError:
    """What a file of Python objects is refused with."""
    return UserError(
        f"{shown(path)} holds pickled objects, which can run code: refused. "
        f"Save plain arrays: images uint8, labels int64."
    )


def _broken(path: Path, error: Exception) -> UserError:
    why = shown(str(error) or type(error).__name__)[:200]
    return UserError(
        f"{shown(path)} cannot be read as .npy ({why}): it is broken or cut short. Fetch or write it "
        "again."
    )


def _agree(train: tuple[Path, Path], test: tuple[Path, Path]) -> None:
    """Raise UserError unless both pairs have the same class names in the same order, and images of
    one size.
    """
    names = [class_list(images) for images, _ in (train, test)]
    if names[0] != names[1]:
        raise UserError(
            f"{shown(train[0])} and {shown(test[0])} have different class names, or the same in "
            "another order: train on the first and evaluate on the second with --ood NAME=npy:..."
        )
    sizes = [image_header(images).shape[1:3] for images, _ in (train, test)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{shown(train[0])} has images of {sizes[0]} pixels and {shown(test[0])} of {sizes[1]}: "
            "train and test must be one size. A set of another size can be evaluated on: --ood "
            "NAME=npy:..."
        )
