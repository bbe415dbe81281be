"""``npz:FILE``: images and labels in a NumPy archive, class names in ``.classes.json`` beside
it."""

import functools
import math
import os
import zipfile
from pathlib import Path

import numpy as np

from grace_geom.data.base import Array, ImageSet
from grace_geom.data.names import content_digest, existing_file, file_record, read_class_names
from grace_geom.data.npy import check_kinds, pickled, read_header
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts, one_or_two
from grace_geom.data.text import shown
from grace_geom.errors import UserError


def parts(request: Request) -> Parts:
    """One archive, or one for training and one for testing, which must agree in class names and
    image size.
    """
    names = request.names("file")
    paths = [existing_file(request.located(name)) for name in names]
    if len(paths) == 2:
        _agree(*paths)
    return one_or_two(names, lambda name: read(request.located(name), request.spec))


def read(path: Path, spec: str) -> ImageSet:
    """Every image of an archive.

    Args:
        path: ``images`` uint8 (N,H,W,3), (N,H,W,1) or (N,H,W); ``labels`` integer (N,) from 0.
        spec: For the record.

    Raises:
        UserError: If the file is missing or broken, an array is missing or has another type or
            shape, labels do not fit the images or the class names, or there are no class names.
            Pickled objects are never loaded.
    """
    path = existing_file(path)
    class_names = read_class_names(path.with_suffix(".classes.json"), path)
    images, labels = arrays(path)
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise UserError(
            f"{path}: labels go from {labels.min()} to {labels.max()}, but "
            f"{path.with_suffix('.classes.json').name} has {len(class_names)} class names. Labels "
            "count from 0."
        )
    key, templates = templates_for(path.stem)
    note = {"files": [file_record(path)], "content": content_digest([("", path)]), "templates": key}
    return ImageSet(path.stem, spec, "all", labels, class_names, templates, Array(images), note)


def arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, H, W, C)`` uint8 and labels ``(N,)`` int64 of an archive, read-only.

    Raises:
        UserError: As :func:`read`, but for class names.
    """
    status = path.stat()
    return _arrays(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=2)  # train and val are cut from one file, and LZMA takes seconds
def _arrays(path: Path, modified: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``(N, H, W, C)`` uint8 and ``(N,)`` int64, read-only as they are shared."""
    _check_headers(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except Exception as error:  # zip, zlib, lzma, numpy and the system each raise their own
        raise _broken(path, error) from error
    if images.ndim == 3:
        images = images[..., None]
    images, labels = np.ascontiguousarray(images), labels.astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


def _broken(path: Path, error: Exception) -> UserError:
    why = shown(str(error) or type(error).__name__)[:200]
    return UserError(
        f"{shown(path)} cannot be read as .npz ({why}): it is broken or cut short. Fetch or write it "
        "again."
    )


Header = tuple[tuple[int, ...], np.dtype]


def _check_headers(path: Path) -> None:
    """Refuse an archive by what its arrays declare, before memory is taken for them.

    Raises:
        UserError: As :func:`read` tells.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = archive.namelist()
            found = {
                name: _header(archive, f"{name}.npy")
                for name in ("images", "labels")
                if f"{name}.npy" in held
            }
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}") from None
    except Exception as error:  # zip, zlib, lzma, numpy and the system each raise their own
        if isinstance(error, zipfile.BadZipFile):
            _other_kind(path)
        raise _broken(path, error) from error
    missing = [name for name in ("images", "labels") if name not in found]
    if missing:
        names = ", ".join(shown(name.removesuffix(".npy")) for name in held[:20]) or "nothing"
        raise UserError(
            f"{shown(path)} has no array {' or '.join(map(repr, missing))}; it holds: {names}"
        )
    check_kinds(shown(path), *found["images"], *found["labels"])
    check_memory(path, math.prod(found["images"][0]) + 8 * found["labels"][0][0])


def _other_kind(path: Path) -> None:
    """Raise UserError for a file that is no zip, if it can be told what it is."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x80"):  # as pickles of protocol 2 and later begin
        raise pickled(path)
    if head == b"\x93NUMPY":
        raise UserError(
            f"{shown(path)} is a single array, not an .npz archive with 'images' and 'labels': "
            "npy:IMAGES,LABELS reads two of them"
        )
    if head and not head.startswith(b"PK"):
        raise UserError(f"{shown(path)} is not an .npz archive with 'images' and 'labels'")


def _header(archive: zipfile.ZipFile, name: str) -> Header:
    """Shape and type of an array; its bytes must be as many as these need.

    Raises:
        UserError: If they are not, or the archive has the array twice.
        ValueError: If it has no header of an array.
    """
    if archive.namelist().count(name) > 1:
        raise UserError(f"holds {name} twice")
    with archive.open(name) as file:
        header = read_header(file, archive.getinfo(name).file_size, name)
    return header.shape, header.dtype


def check_memory(path: Path, need: int) -> None:
    """Refuse arrays that do not fit into the memory of this machine: a small file may unpack to any
    size.
    """
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > there:
        raise UserError(
            f"{shown(path)} unpacks to {need / 2**30:.1f} GiB, this machine has "
            f"{there / 2**30:.1f} GiB of memory: use a folder or shards, which are read one by one"
        )


def _agree(train: Path, test: Path) -> None:
    """Raise UserError unless both archives hold images of one size and the same class names in the
    same order.
    """
    first, second = (
        read_class_names(path.with_suffix(".classes.json"), path) for path in (train, test)
    )
    if first != second:
        raise UserError(
            f"{train} and {test} have different class names, or the same in another order. "
            f"Train on the first and evaluate on the second: --data npz:{train} --ood "
            f"NAME=npz:{test}"
        )
    sizes = [_image_size(path) for path in (train, test)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{train} has images of {sizes[0]} pixels and {test} of {sizes[1]}: train and test "
            f"must be one size. A set of another size can be evaluated on: --ood NAME=npz:{test}"
        )


def _image_size(path: Path) -> tuple[int, ...]:
    """Height and width, from the header alone."""
    _check_headers(path)
    with zipfile.ZipFile(path) as archive:
        return _header(archive, "images.npy")[0][1:3]
