"""``folder:DIR``: one folder of pictures a class, as ImageFolder has it, with or without
train/val/test above.
"""

import functools
import os
from pathlib import Path

import numpy as np

from grace_geom.data.base import ImageSet, digest_text
from grace_geom.data.names import content_digest, existing, read_class_names
from grace_geom.data.pictures import EXTENSIONS, Files
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.errors import UserError, nearest

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def parts(request: Request) -> Parts:
    """``DIR/train``, ``DIR/val`` and ``DIR/test`` where they hold class folders, or TRAIN+TEST;
    else DIR in one piece.

    Classes are those of ``train``, whichever part is read, so that labels mean the same everywhere.
    """
    places = [existing(request.located(name)) for name in request.names("dir")]
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is a file, not a folder of class folders")
    if len(places) == 2:
        found = dict(zip(("train", "test"), places, strict=True))
    else:
        found = {
            name: path
            for name in SPLIT_FOLDERS
            if (path := _split_folder(places[0], name)) is not None
        }
    if not found:
        return {"all": functools.partial(read, places[0], request.spec)}
    folders = class_folders(next(iter(found.values())))
    return {
        name: functools.partial(read, path, request.spec, folders, places[0])
        for name, path in found.items()
    }


def _split_folder(folder: Path, name: str) -> Path | None:
    """The folder of a split. A *class* may be called "train" too: then it holds pictures, not
    folders.
    """
    for alias in SPLIT_FOLDERS[name]:
        path = folder / alias
        if path.is_dir() and any(entry.is_dir() for entry in os.scandir(path)):
            return path
    return None


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted: a class's label is its rank.

    Raises:
        UserError: If there is none.
    """
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        loose = sum(Path(entry.name).suffix.lower() in EXTENSIONS for entry in os.scandir(folder))
        held = f"{loose} loose pictures" if loose else "no pictures"
        raise UserError(
            f"{folder} has no class folders ({held} in it): put each class into a folder of its own"
        )
    return names


def read(
    folder: Path,
    spec: str,
    folders: list[str] | None = None,
    top: Path | None = None,
    only: list[str] | None = None,
) -> ImageSet:
    """Every picture under the class folders of ``folder``, sorted by class, then by name.

    Args:
        folder: Holds one folder a class; pictures may lie deeper.
        spec: For the record.
        folders: The class folders in label order; default: those that are here.
        top: Where ``classes.json`` lies if not in ``folder``: a list in the sorted folders' order,
            or an object from folder name to class name. Without it the folder names are the class
            names.
        only: Read these class folders and leave the others alone; default: all that are here.

    Raises:
        UserError: If a class folder is empty or unknown, or ``classes.json`` does not fit the
            folders.
    """
    here = only or class_folders(folder)
    folders = folders or here
    label_of = {name: label for label, name in enumerate(folders)}
    names: list[str] = []
    labels: list[int] = []
    for name in here:
        if name not in label_of:
            raise UserError(
                f"{folder / name} is a class that the training folder does not have; "
                f"{nearest(name, folders)}"
            )
        pictures = _pictures(folder, name)
        if not pictures:
            raise UserError(
                f"{folder / name} holds no pictures ({', '.join(sorted(EXTENSIONS))}): fill or "
                "remove it"
            )
        names += pictures
        labels += [label_of[name]] * len(pictures)
    class_names = _class_names(folders, [folder] if top is None else [top, folder])
    label = (top or folder).resolve().name
    kind, templates = templates_for(label)
    note = {
        "folder": str(folder),
        "files": len(names),
        "names_sha256": digest_text("\n".join(names)),
        "content": content_digest((name, folder / name) for name in names),
        "templates": kind,
    }
    reader = Files(str(folder), tuple(names))
    return ImageSet(label, spec, "all", np.array(labels), class_names, templates, reader, note)


def _pictures(folder: Path, name: str) -> list[str]:
    """Pictures below a class folder, relative to ``folder``, sorted: a file system's own order is
    no order.
    """
    found = []
    for directory, _, files in os.walk(folder / name, followlinks=True):
        relative = os.path.relpath(directory, folder)
        found += [
            f"{relative}/{file}"
            for file in files
            if os.path.splitext(file)[1].lower() in EXTENSIONS
        ]
    return sorted(found)


def _class_names(folders: list[str], places: list[Path]) -> tuple[str, ...]:
    path = next(
        (place / "classes.json" for place in places if (place / "classes.json").is_file()), None
    )
    if path is None:
        return tuple(folders)
    names = read_class_names(path, path.parent, keys=folders)
    if len(names) != len(folders):
        raise UserError(f"{path} has {len(names)} class names for {len(folders)} class folders")
    return names
