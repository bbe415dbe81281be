"""``npz:FILE``: images and labels in a NumPy archive, class names in ``.classes.json`` beside
it."""

import functools
import zipfile
from pathlib import Path

import numpy as np

from grace_geom.data.base import Array, ImageSet
from grace_geom.data.names import content_digest, existing, file_record, read_class_names
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts, one_or_two
from grace_geom.errors import UserError


def parts(request: Request) -> Parts:
    """One archive, or one for training and one for testing, which must agree in class names and
    image size.
    """
    names = request.names("file")
    paths = [existing(request.located(name)) for name in names]
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
    path = existing(path)
    class_names = read_class_names(path.with_suffix(".classes.json"), path)
    status = path.stat()
    images, labels = _arrays(path, status.st_mtime_ns, status.st_size)
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise UserError(
            f"{path}: labels go from {labels.min()} to {labels.max()}, but "
            f"{path.with_suffix('.classes.json').name} has {len(class_names)} class names. Labels "
            "count from 0."
        )
    key, templates = templates_for(path.stem)
    note = {"files": [file_record(path)], "content": content_digest([("", path)]), "templates": key}
    return ImageSet(path.stem, spec, "all", labels, class_names, templates, Array(images), note)


@functools.lru_cache(maxsize=2)  # train and val are cut from one file, and LZMA takes seconds
def _arrays(path: Path, modified: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``(N, H, W, C)`` uint8 and ``(N,)`` int64, read-only as they are shared."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UserError(
                    f"{path} is a single array, not an .npz archive with 'images' and 'labels'"
                )
            missing = {"images", "labels"} - set(archive.files)
            if missing:
                held = ", ".join(archive.files) or "nothing"
                raise UserError(
                    f"{path} has no array {' or '.join(map(repr, sorted(missing)))}; it holds: "
                    f"{held}"
                )
            images, labels = archive["images"], archive["labels"]
    except UserError:
        raise
    except (
        Exception
    ) as error:  # zip, zlib, lzma, numpy and the system each raise their own on bad bytes
        if "pickle" in str(error).lower() and not (zipfile.is_zipfile(path) or _pickled(path)):
            raise UserError(f"{path} is not an .npz archive with 'images' and 'labels'") from None
        if "pickle" in str(error).lower():
            raise UserError(
                f"{path} holds pickled objects, which can run code: refused. "
                f"Save plain arrays: images uint8, labels int64."
            ) from None
        raise UserError(
            f"{path} cannot be read as .npz ({error}): it is broken or cut short. Fetch or write "
            "it again."
        ) from error
    images, labels = _checked(path, images, labels)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


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
    """Height and width, from the header alone; unreadable files give ``()`` and are reported when
    they are read.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
            version = np.lib.format.read_magic(file)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            return tuple(header(file)[0][1:3])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return ()


def _checked(path: Path, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if images.dtype != np.uint8:
        raise UserError(
            f"{path}: images are {images.dtype}, expected uint8 in 0..255. "
            f"Save (images * 255).round().astype('uint8') if they lie in [0, 1]."
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise UserError(
            f"{path}: images have shape {images.shape}, expected (N,H,W,3), (N,H,W,1) or (N,H,W), "
            "N > 0"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"{path}: labels are {labels.dtype} of shape {labels.shape}, expected int64 of shape "
            "(N,)"
        )
    if len(images) != len(labels):
        raise UserError(f"{path}: {len(images)} images but {len(labels)} labels")
    return images, labels.astype(np.int64)


def _pickled(path: Path) -> bool:
    """Whether the file begins as pickles of protocol 2 and later do; numpy takes whatever it does
    not know for one.
    """
    with path.open("rb") as file:
        return file.read(1) == b"\x80"
