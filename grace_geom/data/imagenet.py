"""``imagenet`` and its relatives in the folder layouts that public repositories use.

Labels are those of ImageNet-1k: the rank of the sorted WordNet id. Sets with fewer classes carry
``class_ids``, by which the logits of a 1,000-class head are masked.
"""

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from grace_geom.data.base import ClassIds, ImageSet, digest_text
from grace_geom.data.corruptions import asked_for
from grace_geom.data.folder import class_folders, read
from grace_geom.data.imagenet_flat import is_flat, read_flat
from grace_geom.data.imagenet_ids import objectnet, subset, wnids
from grace_geom.data.pictures import Files
from grace_geom.data.prompts import imagenet_class_names, imagenet_templates
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.errors import UserError
from grace_geom.terminal import say
from grace_geom.world import first

HOMES = (
    "imagenet",
    "ILSVRC2012",
    "ilsvrc",
    "imagenet-1k",
    "imagenet/images",
    "imagenet/ILSVRC/Data/CLS-LOC",
    "imagenet-object-localization-challenge/ILSVRC/Data/CLS-LOC",
    "ILSVRC/Data/CLS-LOC",
    ".",
)
SPLITS = {"train": ("train",), "val": ("val", "val_in_folder", "val_dirs")}
BORDER = 2
"""Pixels of ObjectNet's red frame."""


@dataclass(frozen=True)
class Relative:
    """A data set labelled with ImageNet's classes.

    Attributes:
        places: Folders under the data root that it may lie in.
        images: How many images the published set has; ``None``: not known to us.
        layout: How its folders are named: ``wnid``, ``number`` (the label itself), ``corrupt`` or
            ``object``.
        classes: Key of its class subset; ``None``: all 1,000.
    """

    places: tuple[str, ...]
    images: int | None
    layout: str = "wnid"
    classes: str | None = None


V2 = ("imagenetv2-matched-frequency-format-val", "ImageNetV2-matched-frequency")
RELATIVES: dict[str, Relative] = {
    "imagenet-v2": Relative(
        (*V2, *(f"imagenetv2/{name}" for name in V2), "imagenet-v2"), 10_000, "number"
    ),
    "imagenet-a": Relative(
        ("imagenet-a", "imagenet-adversarial/imagenet-a"), 7_500, classes="imagenet-a"
    ),
    "imagenet-a-plus": Relative(
        ("imagenet-a-plus/IN-A-Plus", "imagenet-a-plus"), None, classes="imagenet-a"
    ),
    "imagenet-r": Relative(
        ("imagenet-r", "imagenet-rendition/imagenet-r"), 30_000, classes="imagenet-r"
    ),
    "imagenet-sketch": Relative(
        (
            "sketch",
            "imagenet-sketch/images",
            "imagenet-sketch/sketch",
            "imagenet-sketch",
            "imagenet-s",
        ),
        50_889,
    ),
    "imagenet-c": Relative(("imagenet-c", "ImageNet-C"), 15 * 5 * 50_000, "corrupt"),
    "objectnet": Relative(
        ("objectnet-1.0/images", "objectnet/images", "objectnet/objectnet-1.0/images"),
        18_574,
        "object",
    ),
}


def find(root: Path) -> dict[str, Path]:
    """The folders of class folders of ImageNet-1k under the data root: any of ``train`` and
    ``val``.
    """
    for home in HOMES:
        found = {
            split: path
            for split, names in SPLITS.items()
            for path in [_best([root / home / name for name in names])]
            if path is not None
        }
        if found:
            return found
    return {}


def _best(places: list[Path]) -> Path | None:
    """The first folder that has class folders, else the first that is there."""
    here = [place for place in places if place.is_dir()]
    return next((p for p in here if len(here) == 1 or not is_flat(p)), next(iter(here), None))


def find_relative(name: str, root: Path) -> Path | None:
    """The folder that a relative of ImageNet lies in; ``None`` where it is absent."""
    return next((root / place for place in RELATIVES[name].places if (root / place).is_dir()), None)


def parts(request: Request) -> Parts:
    """ImageNet-1k's train and val, or the test images of a relative. ImageNet's val is its test.

    Raises:
        UserError: If it is not there, or its class folders are not those it must have.
    """
    root = request.data_root
    if root is None:
        raise UserError(f"{request.spec} needs --data-root DIR, the folder that holds it")
    name = request.spec.partition(":")[0]
    if request.rest and name != "imagenet-c":
        raise UserError(
            f"{request.spec!r}: nothing follows {name}; only imagenet-c takes "
            ":CORRUPTION[:SEVERITY]"
        )
    if name in RELATIVES:
        here = find_relative(name, root)
        if here is None:
            places = " or ".join(f"{root}/{place}" for place in RELATIVES[name].places[:3])
            raise UserError(f"{request.spec} is not under {root}: it belongs to {places}")
        return {"test": functools.partial(read_relative, name, here, request.spec, request.rest)}
    found = find(root)
    if not found:
        homes = ", ".join(f"{home}/" for home in HOMES[:-1])
        raise UserError(
            f"{request.spec} is not under {root}: it must hold train/<wnid>/ and val/<wnid>/, "
            f"directly or in one of {homes}"
        )
    return {
        split: functools.partial(read_imagenet, path, request.spec) for split, path in found.items()
    }


def read_imagenet(path: Path, spec: str) -> ImageSet:
    """One split of ImageNet-1k; of Kaggle's archive, whose val has no class folders, too.

    Raises:
        UserError: If its class folders are not the 1,000 WordNet ids, or a list of classes does not
            fit the pictures.
    """
    if path.name in SPLITS["val"] and is_flat(path):
        return _labelled(read_flat(path, spec), "imagenet", None)
    return _labelled(_by_class(path, spec, wnids()), "imagenet", None)


def read_relative(name: str, path: Path, spec: str, rest: str = "") -> ImageSet:
    """Every image of a relative.

    Args:
        name: Key of :data:`RELATIVES`.
        path: The folder it lies in.
        spec: For the record.
        rest: Of ``imagenet-c``: ``CORRUPTION`` or ``CORRUPTION:SEVERITY``; all 15 and all
            severities by default.

    Raises:
        UserError: If its class folders are not those that it must have.
    """
    relative = RELATIVES[name]
    if relative.layout == "object":
        return _objectnet(path, spec)
    if relative.layout == "corrupt":
        return _corrupted(path, spec, rest)
    if relative.layout == "number":
        found = _by_class(path, spec, [str(label) for label in range(len(wnids()))])
    else:
        ids = subset(relative.classes) if relative.classes else range(len(wnids()))
        found = _by_class(path, spec, [wnids()[i] for i in ids])
    return _checked(
        _labelled(found, name, subset(relative.classes) if relative.classes else None),
        relative.images,
    )


def _by_class(path: Path, spec: str, folders: Sequence[str]) -> ImageSet:
    """The pictures of exactly these class folders, labelled by their order here, not by their
    names' order.

    Raises:
        UserError: If one is missing, or there is another.
    """
    here = set(class_folders(path))
    missing = [name for name in folders if name not in here]
    more = sorted(here - set(folders))
    if missing or more:
        wrong = [
            f"{label}: {', '.join(names[:3])}"
            + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            for label, names in (("missing", missing), ("unknown", more))
            if names
        ]
        raise UserError(
            f"{path} has {len(here)} class folders, not the {len(folders)} of "
            f"{spec.partition(':')[0]} ({folders[0]} ... {folders[-1]}); {'; '.join(wrong)}"
        )
    return read(path, spec, list(folders))


def _labelled(image_set: ImageSet, name: str, ids: ClassIds | None) -> ImageSet:
    """With open_clip's class names and templates; ``ids`` are the classes' places among the
    1,000."""
    names = imagenet_class_names()
    note = image_set.note | {"class_names": "open_clip", "templates": "imagenet"}
    if ids is not None:
        names = tuple(names[i] for i in ids if isinstance(i, int))
        note["class_ids"] = list(ids)
    return replace(
        image_set, name=name, class_names=names, templates=imagenet_templates(), class_ids=ids,
        fetch=replace(_files(image_set), collection=name), note=note,
    )  # fmt: skip


def _checked(image_set: ImageSet, images: int | None) -> ImageSet:
    """Warn of a set that is only a part of the published one: its accuracy is another number."""
    if images is not None and len(image_set) != images:
        _warn(image_set.spec, image_set.note["folder"], len(image_set), images)
        return replace(image_set, note=image_set.note | {"published_images": images})
    return image_set


@functools.cache  # once a process, however often a study reads the set
def _warn(spec: str, folder: str, here: int, published: int) -> None:
    if first():
        say(f"warning: {spec} has {here:,} images here, the published set has {published:,}")


def _corrupted(path: Path, spec: str, rest: str) -> ImageSet:
    """Some or all corruptions and severities one after another; the images have 224 pixels and stay
    as they are.
    """
    corruptions, severities = asked_for(spec, rest)
    pieces = []
    for corruption in corruptions:
        home = _corruption_folder(path, corruption, spec)
        for severity in severities:
            if not (home / severity).is_dir():
                raise UserError(
                    f"{spec}: no folder {home / severity}, one of the severities 1 to 5"
                )
            pieces.append(_by_class(home / severity, spec, wnids()))
    folders = [os.path.relpath(piece.note["folder"], path) for piece in pieces]
    groups = tuple("/".join(Path(folder).parts[-2:]) for folder in folders)
    content = digest_text(json.dumps([*groups, *(piece.note["content"] for piece in pieces)]))
    names = [
        f"{folder}/{file}"
        for folder, piece in zip(folders, pieces, strict=True)
        for file in _files(piece).names
    ]
    labels = np.concatenate([piece.labels for piece in pieces])
    joined = replace(
        pieces[0],
        labels=labels,
        fetch=Files(str(path), tuple(names)),
        index=None,  # type: ignore[arg-type]
        note=pieces[0].note
        | {
            "folder": str(path),
            "files": len(names),
            "names_sha256": digest_text("\n".join(names)),
            "content": content,
            "parts": folders,
        },
        group_names=groups,
        group=np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces]),
    )
    return _checked(_labelled(joined, "imagenet-c", None), len(pieces) * 50_000)


def _corruption_folder(path: Path, corruption: str, spec: str) -> Path:
    """``<corruption>``, directly or in the archive's group (noise, blur, weather, digital,
    extra)."""
    for group in ("", "noise", "blur", "weather", "digital", "extra"):
        if (path / group / corruption).is_dir():
            return path / group / corruption
    raise UserError(
        f"{spec}: no folder {path / corruption}; imagenet-c:CORRUPTION reads one that is there"
    )


def _files(image_set: ImageSet) -> Files:
    assert isinstance(image_set.fetch, Files)
    return image_set.fetch


@dataclass(frozen=True)
class WithoutBorder:
    """Reads pictures without the frame that ObjectNet's authors put around each."""

    inner: Files

    def __call__(self, i: int) -> Image.Image:
        image = self.inner(i)
        return image.crop((BORDER, BORDER, image.width - BORDER, image.height - BORDER))

    def published(self, i: int) -> str:
        """The picture's name in the collection."""
        return f"objectnet/{self.inner.names[i]}"

    def called(self, i: int) -> str:
        """The image's file."""
        return self.inner.called(i)


def _objectnet(path: Path, spec: str) -> ImageSet:
    """The 113 classes that ImageNet knows; a class's score is the largest of the logits it stands
    for.

    Raises:
        UserError: If one of their folders is missing.
    """
    here, classes = set(class_folders(path)), objectnet()
    if missing := [name for name in classes if name not in here]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(
            f"{path} lacks {', '.join(missing[:3])}{more} of ObjectNet's 113 classes that ImageNet "
            "has"
        )
    found = read(path, spec, list(classes), only=list(classes))
    ids: ClassIds = tuple(group[0] if len(group) == 1 else group for group in classes.values())
    names = tuple(folder.replace("_", " ") for folder in classes)
    note = found.note | {
        "class_ids": [list(group) for group in classes.values()],
        "templates": "imagenet",
    }
    found = replace(
        found, name="objectnet", class_names=names, templates=imagenet_templates(), class_ids=ids,
        fetch=WithoutBorder(_files(found)), note=note,
    )  # fmt: skip
    return _checked(found, RELATIVES["objectnet"].images)
