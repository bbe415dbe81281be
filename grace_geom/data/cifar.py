"""CIFAR's relatives in the files that their authors publish: CIFAR-10-C and CIFAR-100-C
(Hendrycks & Dietterich 2019), CIFAR-10.1 (Recht et al. 2018) and CIFAR-10.2 (Lu et al. 2020).
"""

import functools
import json
import re
from pathlib import Path

import numpy as np

from grace_geom.data.base import Array, ImageSet, Note, digest_text
from grace_geom.data.corruptions import asked_for
from grace_geom.data.names import content_digest, existing_file, file_record
from grace_geom.data.npy import ArrayRows, check_kinds, image_header, read_labels
from grace_geom.data.npz import arrays
from grace_geom.data.prompts import TEMPLATES
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.data.text import shown, warn
from grace_geom.data.tv_names import CIFAR10, CIFAR100
from grace_geom.errors import UserError, nearest

EACH = 10_000
"""Images of one corruption and severity: CIFAR's test set."""
SIDE = 32

FOLDERS = {
    "cifar10-c": ("CIFAR-10-C", "labels.npy"),
    "cifar100-c": ("CIFAR-100-C", "labels.npy"),
    "cifar10.1": ("CIFAR-10.1", "cifar10.1_v*_labels.npy"),
    "cifar10.2": ("CIFAR-10.2", "cifar102_*.npz"),
}
"""The folder that each is published in, and a file by which it is recognised."""

VERSIONS = {"v4": 2_021, "v6": 2_000}
"""Images of CIFAR-10.1's two versions; v6 is balanced, and the one that is usually meant."""
PARTS = {"train": 10_000, "test": 2_000}
"""Images of CIFAR-10.2."""


def home(name: str, root: Path) -> Path | None:
    """The folder of a relative under the data root, however its name is written (``cifar10c``), or
    ``datasets`` in it, as in CIFAR-10.1's repository; ``None`` where it is absent.
    """
    folder, mark = FOLDERS[name]
    wanted = _plain(folder)
    named = sorted(p for p in root.iterdir() if _plain(p.name) == wanted) if root.is_dir() else []
    loose = [root] if mark != "labels.npy" else []  # which could be anybody's
    places = [place for p in named for place in (p, p / "datasets")] + loose
    return next((place for place in places if any(place.glob(mark))), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("master").removesuffix("main")


def parts(request: Request) -> Parts:
    """The test images of CIFAR-10-C, CIFAR-100-C or CIFAR-10.1; train and test of CIFAR-10.2.

    Raises:
        UserError: If it is not there, or what follows the name is unknown.
    """
    name, rest, root = request.spec.partition(":")[0], request.rest, request.data_root
    if root is None:
        raise UserError(f"{request.spec} needs --data-root DIR, the folder that holds it")
    if name.endswith("-c"):
        asked_for(request.spec, rest)
    elif rest and (name != "cifar10.1" or rest not in VERSIONS):
        hint = nearest(rest, VERSIONS) if name == "cifar10.1" else "nothing follows cifar10.2"
        raise UserError(f"{request.spec}: unknown version {rest!r}; {hint}")
    here = home(name, root)
    if here is None:
        folder, mark = FOLDERS[name]
        raise UserError(f"{request.spec} is not under {root}: it belongs to {root / folder / mark}")
    if name.endswith("-c"):
        return {"test": functools.partial(read_corrupted, name, here, request.spec, rest)}
    if name == "cifar10.1":
        return {"test": functools.partial(read_version, here, request.spec, rest or "v6")}
    there = [part for part in PARTS if (here / f"cifar102_{part}.npz").is_file()]
    return {part: functools.partial(read_part, here, request.spec, part) for part in there}


def read_corrupted(name: str, folder: Path, spec: str, rest: str = "") -> ImageSet:
    """Some or all corruptions and severities one after another: rows of one array a corruption,
    severity 1 first.

    Args:
        name: ``cifar10-c`` or ``cifar100-c``.
        folder: Holds ``CORRUPTION.npy`` and ``labels.npy``.
        spec: For the record.
        rest: ``CORRUPTION`` or ``CORRUPTION:SEVERITY``; all 15 and all severities by default.

    Raises:
        UserError: If an array is missing, broken or of another shape, or the labels are those of
            another data set.
    """
    corruptions, severities = asked_for(spec, rest)
    class_names = CIFAR100 if name == "cifar100-c" else CIFAR10
    labels = _labels(folder / "labels.npy", len(class_names))
    runs, groups = [], []
    for corruption in corruptions:
        path = folder / f"{corruption}.npy"
        if not path.is_file():
            raise UserError(
                f"{spec}: no file {shown(path)}; {name}:CORRUPTION reads one that is there"
            )
        expected = (5 * EACH, SIDE, SIDE, 3)
        if (shape := image_header(path).shape) != expected:
            raise UserError(
                f"{shown(path)} has the shape {shape}, expected {expected}: {EACH:,} images a "
                "severity, severity 1 first"
            )
        for severity in severities:
            runs.append((path, (int(severity) - 1) * EACH, EACH))
            groups.append(f"{corruption}/{severity}")
    files = content_digest((f"{c}.npy", folder / f"{c}.npy") for c in corruptions)
    note = {
        "folder": str(folder),
        "parts": groups,
        "content": digest_text(json.dumps([*groups, files])),
        "templates": "cifar",
    }
    return ImageSet(
        name, spec, "all", np.concatenate([labels[first : first + EACH] for _, first, _ in runs]),
        class_names, TEMPLATES["cifar"], ArrayRows.of(runs), note,
        group_names=tuple(groups), group=np.repeat(np.arange(len(groups)), EACH),
    )  # fmt: skip


def _labels(path: Path, classes: int) -> np.ndarray:
    """``(5 * EACH,)`` int64; some copies hold those of one severity, as all have the same.

    Raises:
        UserError: If they are not so many, or not of so many classes.
    """
    labels = read_labels(path)
    if len(labels) == EACH:
        labels = np.tile(labels, 5)
    if len(labels) != 5 * EACH:
        raise UserError(f"{shown(path)} has {len(labels):,} labels, expected {5 * EACH:,}")
    if (k := len(np.unique(labels))) != classes or labels.min() != 0:
        raise UserError(f"{shown(path)} has labels of {k} classes, expected 0 to {classes - 1}")
    return labels


def read_version(folder: Path, spec: str, version: str) -> ImageSet:
    """One version of CIFAR-10.1: ``cifar10.1_VERSION_data.npy`` and ``..._labels.npy``.

    Raises:
        UserError: If an array is missing or broken, or has another type or shape.
    """
    files = [
        existing_file(folder / f"cifar10.1_{version}_{what}.npy") for what in ("data", "labels")
    ]
    header, labels = image_header(files[0]), read_labels(files[1])
    check_kinds(shown(files[0]), header.shape, header.dtype, labels.shape, labels.dtype)
    reader = ArrayRows.of([(files[0], 0, len(labels))])
    return _natural("cifar10.1", spec, labels, reader, files, VERSIONS[version])


def read_part(folder: Path, spec: str, part: str) -> ImageSet:
    """``train`` or ``test`` of CIFAR-10.2: ``cifar102_PART.npz``.

    Raises:
        UserError: If the archive is missing or broken, or an array has another type or shape.
    """
    path = existing_file(folder / f"cifar102_{part}.npz")
    images, labels = arrays(path)
    return _natural("cifar10.2", spec, labels, Array(images), [path], PARTS[part])


def _natural(
    name: str,
    spec: str,
    labels: np.ndarray,
    reader: ArrayRows | Array,
    files: list[Path],
    published: int,
) -> ImageSet:
    """A set labelled as CIFAR-10; another number of images than the published one is warned of."""
    note: Note = {
        "files": [file_record(path) for path in files],
        "content": content_digest([("", files[0])]),
        "templates": "cifar",
    }
    if len(labels) != published:
        warn(f"{spec} has {len(labels):,} images here, the published set has {published:,}")
        note["published_images"] = published
    return ImageSet(name, spec, "all", labels, CIFAR10, TEMPLATES["cifar"], reader, note)
