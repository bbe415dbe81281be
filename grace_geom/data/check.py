"""What lies under a data root: the torchvision sets, the ImageNet family and CIFAR's relatives,
with counts, and what is missing.
"""

import contextlib
import functools
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grace_geom.data.cifar as cifar
import grace_geom.data.imagenet as imagenet
import grace_geom.data.tv as tv
from grace_geom.data.base import ImageSet
from grace_geom.data.pictures import EXTENSIONS
from grace_geom.data.request import Request
from grace_geom.errors import UserError

PUBLISHED = {"train": 1_281_167, "val": 50_000}
"""Images of ImageNet-1k."""


@dataclass(frozen=True)
class DataSetStatus:
    """A known data set under the data root.

    Attributes:
        name: As in ``--data``.
        place: Where it lies or would have to lie.
        parts: Part -> (classes, images) of what can be read.
        problem: Why it cannot be read; empty where it can.
        absent: Nothing of it is there.
    """

    name: str
    place: str
    parts: dict[str, tuple[int, int]]
    problem: str = ""
    absent: bool = False


def survey(root: Path) -> list[DataSetStatus]:
    """Every known data set, in a fixed order.

    Raises:
        UserError: If the root is not a folder.
    """
    if not root.is_dir():
        raise UserError(f"--data-root {root} is not a folder")
    return (
        [_torchvision(name, root) for name in tv.KNOWN]
        + [_imagenet(root)]
        + [_relative(name, root) for name in imagenet.RELATIVES]
        + [_cifar(name, root) for name in cifar.FOLDERS]
    )


def _torchvision(name: str, root: Path) -> DataSetStatus:
    spec, place = f"torchvision:{name}", str(tv.home(name, root) / tv.KNOWN[name].folder)
    if not os.path.exists(place):
        return DataSetStatus(spec, place, {}, absent=True)
    counts = {}
    try:
        for part, read in tv.parts(Request(spec, name, root)).items():
            image_set = read()
            counts[part] = (len(image_set.class_names), len(image_set))
    except UserError as error:
        return DataSetStatus(spec, place, counts, str(error))
    return DataSetStatus(spec, place, counts)


def _imagenet(root: Path) -> DataSetStatus:
    found = imagenet.find(root)
    if not found:
        return DataSetStatus("imagenet", f"{root}/imagenet/{{train,val}}/<wnid>", {}, absent=True)
    counts, wrong = {}, []
    for part, path in found.items():
        read = functools.partial(imagenet.read_imagenet, path, "imagenet")
        counts[part], problem = _read(read, path)
        wrong += [problem] if problem else _short(part, counts[part][1], PUBLISHED[part])
    wrong += [f"no {part} folder" for part in imagenet.SPLITS if part not in counts]
    return DataSetStatus(
        "imagenet", str(next(iter(found.values())).parent), counts, "; ".join(wrong)
    )


def _relative(name: str, root: Path) -> DataSetStatus:
    relative, here = imagenet.RELATIVES[name], imagenet.find_relative(name, root)
    if here is None:
        return DataSetStatus(name, str(root / relative.places[0]), {}, absent=True)
    with contextlib.redirect_stderr(
        io.StringIO()
    ):  # the reader's warning about the number of images is a row below
        counts, problem = _read(lambda: imagenet.read_relative(name, here, name), here)
    short = (
        [] if problem or relative.images is None else _short("the set", counts[1], relative.images)
    )
    return DataSetStatus(name, str(here), {"test": counts}, problem or "; ".join(short))


def _cifar(name: str, root: Path) -> DataSetStatus:
    folder, mark = cifar.FOLDERS[name]
    here = cifar.home(name, root)
    if here is None:
        return DataSetStatus(name, str(root / folder / mark), {}, absent=True)
    rest = list(cifar.VERSIONS) if name == "cifar10.1" else [""]
    published = cifar.VERSIONS if name == "cifar10.1" else cifar.PARTS
    counts, wrong = {}, []
    for asked in rest:
        spec = f"{name}:{asked}".rstrip(":")
        for part, read in cifar.parts(Request(spec, asked, root)).items():
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # its warning is a row below
                    image_set = read()
            except UserError as error:
                wrong.append(str(error))
                continue
            what = asked or part
            counts[what] = (len(image_set.class_names), len(image_set))
            if not name.endswith("-c"):  # of which every reader demands the published number
                wrong += _short(what, len(image_set), published[what])
    if name == "cifar10.2":
        wrong += [f"no cifar102_{part}.npz" for part in cifar.PARTS if part not in counts]
    return DataSetStatus(name, str(here), counts, "; ".join(wrong))


def _read(read: Callable[[], ImageSet], path: Path) -> tuple[tuple[int, int], str]:
    """Classes and images as the reader sees them, or as they lie there and why it cannot read
    them."""
    try:
        image_set = read()
    except UserError as error:
        return _count(path), str(error)
    return (len(image_set.class_names), len(image_set)), ""


def _short(part: str, images: int, published: int) -> list[str]:
    return (
        []
        if images == published
        else [f"{part} has {images:,} images, the published one {published:,}"]
    )


def _count(folder: Path) -> tuple[int, int]:
    """Classes and pictures below a folder: a class is a name of folders that hold pictures, at
    whatever depth.

    So ImageNet-C, ``<corruption>/<severity>/<wnid>``, has as many classes as the others.
    """
    classes: set[str] = set()
    pictures = 0
    for directory, _, files in os.walk(folder, followlinks=True):
        here = sum(os.path.splitext(file)[1].lower() in EXTENSIONS for file in files)
        if here:
            classes.add(os.path.basename(directory))
            pictures += here
    return len(classes), pictures


def table(found: list[DataSetStatus]) -> str:
    """The survey as text: what is there, what is there but not whole, what is missing."""
    lines = []
    for row in (row for row in found if not row.absent):
        counts = ", ".join(
            f"{part} {images:,} images of {k:,} classes" for part, (k, images) in row.parts.items()
        )
        lines.append(
            f"{'incomplete' if row.problem else 'present':<11}{row.name:<27}{counts or row.place}"
        )
        if row.problem:
            lines.append(f"{'':<38}{row.problem}")
    lines += [f"{'missing':<11}{row.name:<27}would be {row.place}" for row in found if row.absent]
    present = sum(not row.absent and not row.problem for row in found)
    return "\n".join([*lines, f"{present} of {len(found)} known data sets are there and whole"])
