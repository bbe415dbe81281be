"""``imagenet``: the usual folder layouts of ImageNet-1k. Labels are ranks of the sorted WordNet ids."""

import functools
from dataclasses import replace
from pathlib import Path

from grace_geom.data.base import ImageSet
from grace_geom.data.folder import class_folders, read
from grace_geom.data.prompts import imagenet_class_names, imagenet_templates
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.errors import UserError

HOMES = ("imagenet", "ILSVRC2012", "ilsvrc", "imagenet-1k", ".")
SPLITS = {"train": ("train",), "val": ("val", "val_in_folder", "val_dirs")}
CLASSES = 1000

# Name -> folders under the data root that it may lie in.
RELATIVES: dict[str, tuple[str, ...]] = {
    "imagenet-v2": ("imagenetv2-matched-frequency-format-val", "ImageNetV2-matched-frequency"),
    "imagenet-a": ("imagenet-a",),
    "imagenet-a-plus": ("imagenet-a-plus/IN-A-Plus", "imagenet-a-plus"),
    "imagenet-r": ("imagenet-r",),
    "imagenet-sketch": ("sketch", "imagenet-sketch", "imagenet-s"),
    "imagenet-c": ("imagenet-c",),
}


def find(root: Path) -> dict[str, Path]:
    """The folders of class folders of ImageNet-1k under the data root: any of ``train`` and ``val``."""
    for home in HOMES:
        found = {
            split: path
            for split, names in SPLITS.items()
            for path in [next((root / home / name for name in names if (root / home / name).is_dir()), None)]
            if path is not None
        }
        if found:
            return found
    return {}


def parts(request: Request) -> Parts:
    """ImageNet-1k's train and val; the val is the test, a validation set is held out of the training set.

    Raises:
        UserError: If it is not there, or does not have its 1,000 class folders.
    """
    if request.data_root is None:
        raise UserError(f"{request.spec} needs --data-root DIR, the folder that holds it")
    if request.spec in RELATIVES:
        places = " or ".join(f"{request.data_root}/{place}" for place in RELATIVES[request.spec])
        raise UserError(
            f"{request.spec} has no reader yet: it belongs to {places}. "
            f"With class folders named as the head's classes, --ood NAME=folder:DIR evaluates on it."
        )
    found = find(request.data_root)
    if not found:
        homes = ", ".join(f"{home}/" for home in HOMES[:-1])
        raise UserError(
            f"{request.spec} is not under {request.data_root}: it must hold train/<wnid>/ and val/<wnid>/, "
            f"directly or in one of {homes}"
        )
    return {split: functools.partial(_read, path, request.spec) for split, path in found.items()}


def _read(path: Path, spec: str) -> ImageSet:
    wnids = class_folders(path)
    if len(wnids) != CLASSES or not all(name[0] == "n" and name[1:].isdigit() for name in wnids):
        raise UserError(f"{path} has {len(wnids)} class folders, ImageNet-1k has {CLASSES} named n01440764 ...")
    image_set = read(path, spec)
    note = image_set.note | {"class_names": "open_clip", "templates": "imagenet"}
    return replace(
        image_set, name="imagenet", class_names=imagenet_class_names(), templates=imagenet_templates(), note=note
    )
