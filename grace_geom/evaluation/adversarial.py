"""Adversarial images on disk: NPZ (exact) and PNG (to look at), and what another checkpoint says
about them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from grace_geom.data import ImageSet
from grace_geom.data.npz import check_memory
from grace_geom.errors import UserError
from grace_geom.evaluation.class_tables import file_stem
from grace_geom.evaluation.outcomes import SetOutcomes
from grace_geom.files import atomic_folder, atomic_write, sha256
from grace_geom.records import number

FORMAT = "grace_geom.adversarial/1"
ARRAYS = ("adversarial", "labels", "index", "clean_prediction", "prediction", "standing", "about")


class About(msgspec.Struct):
    """Where adversarial images come from."""

    format: str
    run: str
    checkpoint: str
    spec: str
    content: str
    class_names: list[str]
    image_size: int
    attack: dict[str, Any]
    subset: dict[str, Any]


@dataclass(frozen=True)
class AdversarialFile:
    """Adversarial images that were read back.

    Attributes:
        path: The file.
        digest: Its SHA-256.
        about: Where they come from.
        images: ``(N, 3, H, W)`` float32 in [0, 1].
        labels: ``(N,)`` int64.
        index: ``(N,)`` int64, places in the source of the data set.
    """

    path: Path
    digest: str
    about: About
    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray


def save_adversarial(
    folder: Path, run: str, checkpoint: str, image_size: int, found: Sequence[SetOutcomes]
) -> list[Path]:
    """``RUN-adv-DATA-ATTACK-DIGITS.npz`` with the exact images, and a folder of that name with a
    PNG for each, for every attacked set; both replace those of an earlier evaluation.

    The archive holds ``adversarial`` float32 (N, 3, H, W) in [0, 1], ``labels``, ``index`` (places
    in the source), ``clean_prediction``, ``prediction``, ``standing`` (right with and without the
    attack), and ``about``, a JSON text. PNGs are rounded to 8 bits and named
    ``INDEX-LABEL-PREDICTION.png``.

    Returns:
        The archives.

    Raises:
        UserError: If the folder cannot be written.
    """
    written = []
    for some in found:
        if some.accuracy.attack is None:
            continue
        path = folder / f"{file_stem(run, some.accuracy)}.npz"
        images = np.concatenate([moved.numpy() for _, moved in some.moved])
        place = np.concatenate([positions for positions, _ in some.moved])
        images = images[np.argsort(place)]
        about = About(
            FORMAT, run, checkpoint, some.accuracy.spec, str(some.image_set.note.get("content", "")),
            list(some.image_set.class_names), image_size, some.accuracy.attack,
            {key: some.accuracy.subset.get(key) for key in ("of", "seed")},
        )  # fmt: skip
        arrays = {
            "adversarial": images,
            "labels": some.image_set.labels,
            "index": some.image_set.index,
            "clean_prediction": some.seen["clean"],
            "prediction": some.seen["predicted"],
            "standing": some.accuracy.right(),
            "about": np.array(json.dumps(msgspec.to_builtins(about))),
        }
        with atomic_write(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
        _pictures(path.with_suffix(""), images, some)
        written.append(path)
    return written


def _pictures(folder: Path, images: np.ndarray, some: SetOutcomes) -> None:
    pixels = (images.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    each = zip(
        pixels, some.image_set.index, some.image_set.labels, some.seen["predicted"], strict=True
    )
    with atomic_folder(folder, replace=True) as new:  # predictions of an earlier checkpoint go
        for image, index, label, prediction in each:
            Image.fromarray(image).save(new / f"{index:06d}-{label}-{prediction}.png")


def read_adversarial(path: Path) -> AdversarialFile:
    """What :func:`save_adversarial` wrote.

    Raises:
        UserError: If the file is missing, broken, of another kind, or its parts do not fit.
    """
    if not path.is_file():
        raise UserError(f"--from-adversarial {path}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            if missing:
                raise UserError(
                    f"{path} has no {', '.join(missing)}: it was not written by --save-adversarial"
                )
            check_memory(path, sum(info.file_size for info in archive.zip.infolist()))
            arrays = {name: archive[name] for name in ARRAYS}
        about = msgspec.json.decode(str(arrays["about"]), type=About)
    except UserError:
        raise
    except Exception as error:  # zip, zlib, numpy and msgspec each raise their own
        why = str(error)[:160] or type(error).__name__
        raise UserError(
            f"{path} cannot be read as adversarial images ({why}): save them again"
        ) from None
    eps = number(about.attack.get("eps"))
    if not isinstance(about.attack.get("name"), str) or eps is None or eps < 0:
        raise UserError(f"{path}: about does not name an attack and its eps: save the images again")
    images, labels, index = arrays["adversarial"], arrays["labels"], arrays["index"]
    if about.format != FORMAT:
        raise UserError(f"{path}: format {about.format}, this version reads {FORMAT}")
    if images.ndim != 4 or images.dtype != np.float32 or not len(images):
        raise UserError(f"{path}: adversarial is {images.dtype} of shape {images.shape}, expected "
                        "float32 (N, 3, H, W), N > 0")  # fmt: skip
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        raise UserError(f"{path}: adversarial holds values outside [0, 1]")
    for name, found in (("labels", labels), ("index", index)):
        if found.dtype.kind not in "iu" or found.shape != (len(images),):
            raise UserError(f"{path}: {name} is {found.dtype} of shape {found.shape}, expected one "
                            f"whole number for each of {len(images)} images")  # fmt: skip
    return AdversarialFile(path, sha256(path), about, images, labels, index)


@dataclass(frozen=True)
class TransferImages:
    """Adversarial images of a data set, to evaluate another checkpoint on.

    Attributes:
        stored: Where they come from.
        name: Of the data set in tables.
        image_set: The clean images that they were made from.
        images: ``(N, 3, H, W)`` float32, the adversarial ones in the same order.
    """

    stored: AdversarialFile
    name: str
    image_set: ImageSet
    images: Tensor


def match(
    stored: AdversarialFile, image_set: ImageSet, name: str, image_size: int
) -> TransferImages:
    """The clean images of a set that adversarial ones were made from; those that the set lacks
    (because this checkpoint was trained on them) are left out.

    Args:
        stored: The adversarial images.
        image_set: The whole test set.
        name: Of the data set in tables.
        image_size: Side in pixels of this evaluation.

    Raises:
        UserError: If they were made from other data, or at another image size.
    """
    about, path = stored.about, stored.path
    if about.content != str(image_set.note.get("content", "")):
        raise UserError(
            f"{path} was made from {about.spec}, whose images are not those of {image_set.spec}: "
            "name the same data with --data"
        )
    if tuple(about.class_names) != image_set.class_names:
        raise UserError(f"{path} has other class names than {image_set.spec}")
    if about.image_size != image_size:
        raise UserError(
            f"{path} holds images for {about.image_size} pixels, this evaluation uses {image_size}: "
            f"add --image-size {about.image_size}"
        )
    places = {int(index): i for i, index in enumerate(image_set.index)}
    rows = [row for row, index in enumerate(stored.index.tolist()) if index in places]
    if not rows:
        raise UserError(f"{path} shares no image with the test set of {image_set.spec}")
    positions = [places[int(stored.index[row])] for row in rows]
    if (image_set.labels[positions] != stored.labels[rows]).any():
        raise UserError(f"{path} has other labels than {image_set.spec}")
    whole = len(rows) == len(stored.index)
    drawn = about.subset if whole else {"of": len(image_set), "seed": None}
    subset = drawn | {"n": len(rows), "ids": stored.index[rows].tolist()}
    found = image_set.take(positions, subset=subset)
    if not whole:
        left = f"{len(stored.index) - len(rows)} adversarial images of {path.name} are not in the test set"
        found = found.with_note(told=(*found.note.get("told", ()), left))
    return TransferImages(stored, name, found, torch.from_numpy(stored.images[rows]))


def settings_of(stored: AdversarialFile) -> dict[str, Any]:
    """The attack of a transferred accuracy, for its record."""
    attack, about = stored.about.attack, stored.about
    name = f"{attack.get('name', 'attack')} from {about.run}"
    source = {"run": about.run, "checkpoint": about.checkpoint, "sha256": stored.digest}
    return attack | {"name": name, "source": source}
