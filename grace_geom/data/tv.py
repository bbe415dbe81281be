"""``torchvision:NAME``: the data sets of torchvision, with class names, official splits and labels
without decoding.
"""

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from grace_geom.data.base import Array, ImageSet, Pixels
from grace_geom.data.listing import hidden, hidden_path, visible
from grace_geom.data.names import content_digest
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.data.tv_names import DIGITS, EUROSAT, FASHION, GTSRB, KMNIST, PCAM, countries
from grace_geom.errors import UserError, nearest


@dataclass(frozen=True)
class Known:
    """How torchvision's class of this name is called.

    Attributes:
        splits: Our part -> the arguments that select it. ``all`` where there is no official split.
        names: Class names where torchvision has none fit for a sentence, in label order or by
            torchvision's name.
        extra: Further arguments.
        folder: Where it lies under the data root, for messages and the check.
        downloads: Whether torchvision can still fetch it.
        alias: Folder of its own that it may lie in under the data root.
    """

    splits: dict[str, dict[str, Any]]
    folder: str
    names: tuple[str, ...] | dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    downloads: bool = True
    alias: str = ""


_TRAIN_FLAG = {"train": {"train": True}, "test": {"train": False}}
_ALL: dict[str, dict[str, Any]] = {"all": {}}


def _split(*official: str) -> dict[str, dict[str, Any]]:
    ours = {"trainval": "train", "valid": "val"}
    return {ours.get(name, name): {"split": name} for name in official}


KNOWN: dict[str, Known] = {
    "CIFAR10": Known(_TRAIN_FLAG, "cifar-10-batches-py"),
    "CIFAR100": Known(_TRAIN_FLAG, "cifar-100-python"),
    "MNIST": Known(_TRAIN_FLAG, "MNIST", DIGITS),
    "FashionMNIST": Known(_TRAIN_FLAG, "FashionMNIST", FASHION),
    "KMNIST": Known(_TRAIN_FLAG, "KMNIST", KMNIST),
    "USPS": Known(_TRAIN_FLAG, "usps.bz2", DIGITS),
    "SVHN": Known(_split("train", "test"), "train_32x32.mat", DIGITS),
    "STL10": Known(_split("train", "test"), "stl10_binary"),
    "DTD": Known(_split("train", "val", "test"), "dtd"),
    "Food101": Known(_split("train", "test"), "food-101"),
    "Flowers102": Known(_split("train", "val", "test"), "flowers-102", alias="flowers"),
    "FGVCAircraft": Known(
        _split("train", "val", "test"),
        "fgvc-aircraft-2013b",
        extra={"annotation_level": "variant"},
        alias="fgvc_aircraft",
    ),
    "OxfordIIITPet": Known(
        _split("trainval", "test"),
        "oxford-iiit-pet",
        extra={"target_types": "category"},
        alias="pets",
    ),
    "StanfordCars": Known(_split("train", "test"), "stanford_cars", downloads=False, alias="cars"),
    "EuroSAT": Known(_ALL, "eurosat", EUROSAT),
    "Caltech101": Known(_ALL, "caltech101", extra={"target_type": "category"}),
    "SUN397": Known(_ALL, "SUN397"),
    "Country211": Known(_split("train", "valid", "test"), "country211", countries()),
    "GTSRB": Known(_split("train", "test"), "gtsrb", GTSRB),
    "PCAM": Known(_split("train", "val", "test"), "pcam", PCAM),
    "RenderedSST2": Known(_split("train", "val", "test"), "rendered-sst2"),
}


@dataclass(frozen=True)
class Items:
    """Reads pictures of a torchvision data set, whose order may have been changed."""

    data: Any
    where: str
    rank: np.ndarray

    def __call__(self, i: int) -> Pixels:
        try:
            image = self.data[int(self.rank[i])][0]
        except Exception as error:  # torchvision lets through whatever its decoders and files raise
            raise UserError(
                f"{self.where}, image {i}: cannot be read ({type(error).__name__}: {error})"
            ) from None
        if not isinstance(image, Image.Image):
            raise UserError(
                f"{self.where}, image {i}: torchvision gives a {type(image).__name__}, not a "
                "picture"
            )
        return image

    def called(self, i: int) -> str:
        """The image's place in torchvision's own order."""
        return f"{self.where}, image {int(self.rank[i])}"


@dataclass(frozen=True)
class FileItems(Items):
    """Reads pictures of a torchvision data set that lie in files of their own.

    Attributes:
        files: In torchvision's order.
    """

    files: tuple[str, ...]

    def place(self, i: int) -> tuple[str, int, int | None]:
        """File, offset and number of bytes of an image: it begins at 0 and takes the whole file."""
        return self.files[int(self.rank[i])], 0, None

    def called(self, i: int) -> str:
        """The image's file."""
        return self.files[int(self.rank[i])]


def parts(request: Request) -> Parts:
    """The official splits of a torchvision set.

    Raises:
        UserError: If the name is unknown or the set is not under the data root.
    """
    name = request.rest
    if name not in KNOWN:
        match = {known.lower(): known for known in KNOWN}.get(
            name.lower().replace("-", "").replace("_", "")
        )
        hint = f"did you mean {match!r}?" if match else nearest(name, KNOWN)
        raise UserError(f"unknown torchvision data set {name!r}: {hint}")
    if request.data_root is None:
        raise UserError(
            f"{request.spec} needs --data-root DIR, the folder that holds {KNOWN[name].folder}"
        )
    return {split: functools.partial(read, name, split, request) for split in KNOWN[name].splits}


def read(name: str, split: str, request: Request) -> ImageSet:
    """One official part, its labels read without decoding a picture.

    Raises:
        UserError: If it is absent (and not to be downloaded) or incomplete.
    """
    known = KNOWN[name]
    data = _open(name, split, request)
    _drop_hidden(data)
    labels = _labels(data)
    names = known.names if isinstance(known.names, tuple) else _class_names(data, known.names)
    kind, templates = templates_for(name)
    root = str(home(name, Path(str(request.data_root))))
    note = {"torchvision": name, "arguments": known.splits[split] | known.extra, "root": root}
    rank = _rank(data, len(labels))
    array = _in_memory(data)
    reader = Array(array) if array is not None else _items(data, f"{root}, {name}", rank)
    note |= {
        "templates": kind,
        "torchvision_version": _version(),
        "content": _content(name, array, Path(root)),
    }
    return ImageSet(name, request.spec, "all", labels[rank], names, templates, reader, note)


def home(name: str, root: Path) -> Path:
    """The folder that torchvision is to look in: the data root, or the set's own folder there
    (``pets/`` and such).

    The names of own folders are those of CLIP_benchmark's data tree.
    """
    known = KNOWN[name]
    own = [root, *(root / alias for alias in (known.alias, name, name.lower()) if alias)]
    return next((place for place in own if (place / known.folder).exists()), root)


def _content(name: str, array: np.ndarray | None, root: Path) -> str:
    """Digest of the pixels where they are in memory anyway, else of the files in the set's
    folder."""
    if array is not None:
        return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:16]
    folder = root / KNOWN[name].folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return content_digest((path.relative_to(folder).as_posix(), path) for path in files)


def _version() -> str:
    import torchvision

    return str(torchvision.__version__)


def _open(name: str, split: str, request: Request) -> Any:
    import torchvision.datasets  # takes a second, needed here only

    known = KNOWN[name]
    arguments: dict[str, Any] = known.splits[split] | known.extra
    download = request.download and known.downloads
    if known.downloads:
        arguments["download"] = download
    root = home(name, Path(str(request.data_root)))
    place = root / known.folder
    if (
        not download and not place.exists()
    ):  # asked first: some classes make folders while they look
        raise UserError(f"{request.spec} is not there: no {place}; {_mend(known, download)}")
    try:
        return getattr(torchvision.datasets, name)(root=str(root), **arguments)
    except (
        Exception
    ) as error:  # RuntimeError where files are missing; anything where they are damaged
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        mend = (
            "install the package it names"
            if isinstance(error, ImportError)
            else _mend(known, download)
        )
        raise UserError(
            f"{request.spec} ({split} part) cannot be read from {place}: "
            f"{why.split('. You can')[0]}; {mend}"
        ) from None


def _mend(known: Known, download: bool) -> str:
    if download:
        return "it could not be fetched: check the network and the space on the disk"
    if known.downloads:
        return f"add --download to fetch it, or name the --data-root that holds {known.folder}"
    return "it cannot be downloaded any more: put an existing copy there"


def _drop_hidden(data: Any) -> None:
    """Take hidden files and folders out of what torchvision listed: its ImageFolder makes
    ``.ipynb_checkpoints`` a class, which moves all labels by one.
    """
    root = str(data.root)

    def kept(path: str | Path) -> bool:
        return not hidden_path(os.path.relpath(path, root))

    attribute = next((name for name in ("samples", "_samples") if hasattr(data, name)), None)
    if attribute is not None:
        samples: list[tuple[str, int]] = getattr(data, attribute)
        left = _visible_samples(samples, kept)
        setattr(data, attribute, left)
        if attribute == "samples":
            data.imgs, data.targets = left, [label for _, label in left]
            data.classes = [name for name in data.classes if not hidden(name)]
    elif hasattr(data, "index") and hasattr(data, "categories"):  # Caltech101 counts files
        data.categories = [name for name in data.categories if not hidden(name)]
        homes = [os.path.join(root, "101_ObjectCategories", name) for name in data.categories]
        counts = [len(visible(home)[1]) for home in homes]
        data.index = [i for n in counts for i in range(1, n + 1)]
        data.y = [label for label, n in enumerate(counts) for _ in range(n)]


def _visible_samples(
    samples: list[tuple[str, int]], kept: Callable[[str], bool]
) -> list[tuple[str, int]]:
    """Paths and labels without hidden files, counted without hidden class folders."""
    left = [(path, label) for path, label in samples if kept(path)]
    gone = {label for path, label in samples if hidden(os.path.basename(os.path.dirname(path)))} - {
        label for _, label in left
    }
    return [(path, label - sum(other < label for other in gone)) for path, label in left]


def _labels(data: Any) -> np.ndarray:
    """``(N,)`` int64 labels from whichever attribute this class keeps them in."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if hasattr(data, attribute):
            return np.asarray(getattr(data, attribute), dtype=np.int64)
    if hasattr(data, "_samples"):
        return np.array([label for _, label in data._samples], dtype=np.int64)
    with data.h5py.File(data._base_folder / data._FILES[data._split]["targets"][0]) as file:  # PCAM
        return np.asarray(file["y"], dtype=np.int64).reshape(-1)


def _class_names(data: Any, better: dict[str, str]) -> tuple[str, ...]:
    """Torchvision's own names, read as words: ``apse/indoor`` of SUN397, but not ``F/A-18`` of the
    aircraft.
    """
    names: Sequence[str] = data.categories if hasattr(data, "categories") else data.classes
    return tuple(
        better.get(n, n.replace("_", " ").replace("/", " " if n.islower() else "/").strip())
        for n in names
    )


def _in_memory(data: Any) -> np.ndarray | None:
    """``(N, H, W, C)`` uint8 where the class holds all its pictures in memory."""
    held = getattr(data, "data", None)
    if held is None:
        return None
    array = np.asarray(held)
    if array.ndim == 3:
        array = array[..., None]
    elif array.shape[1] == 3 and array.shape[-1] != 3:  # STL10 and SVHN keep channels first
        array = array.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(array)


def _items(data: Any, where: str, rank: np.ndarray) -> Items:
    """A reader that knows the files, whichever attribute this class keeps them in (PCAM has
    none)."""
    if type(data).__name__ == "Caltech101":
        files = [
            Path(data.root, "101_ObjectCategories", data.categories[y], f"image_{i:04d}.jpg")
            for y, i in zip(data.y, data.index, strict=True)
        ]
    else:
        files = getattr(data, "_image_files", getattr(data, "_images", []))
    files = files or [item[0] for item in getattr(data, "_samples", getattr(data, "samples", []))]
    if len(files) != len(rank):
        return Items(data, where, rank)
    return FileItems(data, where, rank, tuple(map(str, files)))


def _rank(data: Any, n: int) -> np.ndarray:
    """An order of the pictures that is the same on every disk: SUN397 lists its files as the file
    system does.
    """
    files = getattr(data, "_image_files", None)
    if type(data).__name__ != "SUN397" or files is None:
        return np.arange(n)
    keys = [Path(file).as_posix() for file in files]
    return np.array(sorted(range(n), key=keys.__getitem__), dtype=np.int64)
