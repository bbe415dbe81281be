"""SPEC -> ImageSet: which reader answers, and which split is meant."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from grace_geom.data.base import ImageSet
from grace_geom.data.cifar import FOLDERS as CIFARS
from grace_geom.data.cifar import parts as cifar
from grace_geom.data.depth import dim_set
from grace_geom.data.embedded import parts as shapes
from grace_geom.data.folder import parts as folder
from grace_geom.data.folder import table_parts as table
from grace_geom.data.hf import parts as hf
from grace_geom.data.hf_tables import asked as hf_asked
from grace_geom.data.imagenet import RELATIVES
from grace_geom.data.imagenet import parts as imagenet
from grace_geom.data.names import existing
from grace_geom.data.npy import parts as npy
from grace_geom.data.npz import parts as npz
from grace_geom.data.prompts import given_templates, parse_templates
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts, Split, choose
from grace_geom.data.tv import parts as torchvision
from grace_geom.data.wds import parts as wds
from grace_geom.errors import UserError, nearest

READERS: Mapping[str, Callable[[Request], Parts]] = {
    "shapes": shapes,
    "npz": npz,
    "npy": npy,
    "folder": folder,
    "csv": table,
    "wds": wds,
    "hf": hf,
    "torchvision": torchvision,
    "imagenet": imagenet,
} | (dict.fromkeys(RELATIVES, imagenet) | dict.fromkeys(CIFARS, cifar))

PATHS = {"npz": "file", "npy": "images", "folder": "dir", "csv": "file"}
"""Forms of one or two paths, and what these are called."""

FORMS = (
    "shapes[:VARIANT], npz:FILE or npz:TRAIN+TEST, npy:IMAGES[,LABELS], folder:DIR, csv:FILE, "
    "wds:PATTERN, hf:NAME_OR_DIR[:SPLIT], torchvision:NAME, imagenet, "
    + ", ".join([*RELATIVES, *CIFARS])
)


def resolve(
    spec: str,
    split: Split,
    *,
    data_root: Path | str | None = None,
    seed: int = 0,
    val_fraction: float = 0.1,
    download: bool = False,
    templates: str | Path | tuple[str, ...] | None = None,
    captions: bool = False,
    stream: bool = False,
) -> ImageSet:
    """One split of the data set that a SPEC names.

    Args:
        spec: ``shapes[:VARIANT]``, ``npz:FILE``, ``npz:TRAIN+TEST``, ``npy:IMAGES[,LABELS]``,
            ``folder:DIR``, ``csv:FILE``, ``wds:PATTERN``, ``wds:TRAIN+TEST``,
            ``hf:NAME_OR_DIR[:SPLIT]``, ``torchvision:NAME``, ``imagenet`` or one of its
            relatives, ``cifar10-c`` or another of CIFAR's.
        split: ``train``, ``val`` and ``test`` are disjoint. ``eval`` is for sets that are only
            evaluated on (OOD, zero-shot): their own test split if they have one, otherwise every
            image.
        data_root: Folder of the torchvision and ImageNet sets; relative files are looked for here
            too.
        seed: Of the splits that have to be drawn. Not the seed of a run: keep it, and runs share
            their test set.
        val_fraction: Share of the training images that ``val`` takes where the data set has no own
            one.
        download: Download missing torchvision data sets.
        templates: Prompt templates: a kind from ``prompts.TEMPLATES``, a text file with one a line,
            or the sentences.
        captions: Also read captions, where shards and tables (``csv:``) have some. Images that have
            them need no labels, and then no class names.
        stream: Leave shards of a store (``wds:s3://...``) there, and fetch each picture when it is
            wanted; else they are copied to the cache.

    Raises:
        UserError: For an unknown form, name or split, and for files that are missing or broken.
    """
    scheme, request = _asked(spec, data_root, download)
    request = replace(request, captions=captions, stream=stream)
    image_set = choose(READERS[scheme](request), split, spec, seed, val_fraction)
    if image_set.labelled and len(image_set.class_names) < 2:
        raise UserError(
            f"{spec} has one class only ({image_set.class_names[0]}), in which every classifier is "
            "right: classification needs two"
        )
    if dim := _dim(image_set.note.get("content"), image_set):
        told = (*image_set.note.get("told", ()), dim)
        image_set = image_set.with_note(told=told)
    if templates is None:
        return image_set
    if isinstance(templates, tuple):
        kind, sentences = "given", parse_templates("\n".join(templates), "templates")
    else:
        kind, sentences = given_templates(templates)
    return replace(image_set, templates=sentences, note=image_set.note | {"templates": kind})


def check_spec(spec: str, *, data_root: Path | str | None = None, surely: bool = True) -> None:
    """Refuse, without opening anything, what :func:`resolve` would refuse at once: an unknown form,
    and archives and folders that are not there.

    Args:
        spec: As for :func:`resolve`; shards and published sets are not looked for.
        data_root: As for :func:`resolve`.
        surely: A relative path lies here or in ``data_root``. Else it may be elsewhere, and only
            absolute ones are looked for.

    Raises:
        UserError: As :func:`resolve`.
    """
    scheme, request = _asked(spec, data_root)
    if scheme == "hf" and (surely or Path(request.rest).expanduser().is_absolute()):
        hf_asked(request)
    if scheme in PATHS:
        for name in request.names(PATHS[scheme]):
            pair = scheme == "npy" and not request.located(name).exists()
            for file in name.split(",", 1) if pair else [name]:
                if surely or Path(file).expanduser().is_absolute():
                    existing(request.located(file))


def _asked(
    spec: str, data_root: Path | str | None = None, download: bool = False
) -> tuple[str, Request]:
    """The form of a SPEC and what its reader is asked for.

    Raises:
        UserError: If there is no such form.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in READERS:
        hint = (
            f"did you mean {_as_spec(Path(spec))}?"
            if Path(spec).exists()
            else nearest(scheme, READERS)
        )
        raise UserError(f"unknown data set {spec!r}: {hint}\nforms: {FORMS}")
    root = Path(data_root).expanduser() if data_root is not None else None
    return scheme, Request(spec, rest, root, download)


def _dim(content: str | None, image_set: ImageSet) -> str:
    """:func:`dim_set`, asked once a process, however often a set is read."""
    key = (content, image_set.spec, image_set.split, len(image_set))
    if key not in _LOOKED:
        _LOOKED[key] = dim_set(image_set)
    return _LOOKED[key]


_LOOKED: dict[tuple[str | None, str, str, int], str] = {}


def _as_spec(path: Path) -> str:
    kind = "folder" if path.is_dir() else BY_ENDING.get(path.suffix.lower(), "npz")
    return f"'{kind}:{path}'"


BY_ENDING = {
    ".npy": "npy",
    ".parquet": "hf",
    ".arrow": "hf",
    ".tar": "wds",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "csv",
}
"""The form of a file that stands where a SPEC should."""
