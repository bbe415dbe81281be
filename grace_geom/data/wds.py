"""``wds:PATTERN``: webdataset shards, indexed once so that any image can be read and the order is
ours.

Streaming shards in a shuffled buffer, as webdataset itself does, makes the order depend on the
number of workers.
"""

import functools
import glob
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from grace_geom.data.base import ImageSet
from grace_geom.data.fetch import cached, cached_if_there, is_url
from grace_geom.data.names import content_digest, existing, file_record, parse_class_names
from grace_geom.data.pictures import EXTENSIONS, decode
from grace_geom.data.prompts import Templates, parse_templates, templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts, one_or_two
from grace_geom.data.tarball import Member, content, members
from grace_geom.errors import UserError

LABEL_KEYS = ("cls", "label", "class_id", "target")
CLASSNAMES, TEMPLATES, NSHARDS = (
    "classnames.txt",
    "zeroshot_classification_templates.txt",
    "nshards.txt",
)


@dataclass(frozen=True)
class Shards:
    """Reads pictures out of tar files.

    Attributes:
        paths: Of the tars.
        shard: ``(N,)`` which tar an image is in.
        offset, size: ``(N,)`` where its bytes are.
        names: Member names, for messages.
    """

    paths: tuple[str, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    names: tuple[str, ...]

    def __call__(self, i: int) -> Image.Image:
        path = self.paths[self.shard[i]]
        member = Member(self.names[i], int(self.offset[i]), int(self.size[i]))
        return decode(content(Path(path), member), f"{path}, member {member.name}")

    def place(self, i: int) -> tuple[str, int, int | None]:
        """Tar, offset and number of bytes of an image."""
        return self.paths[self.shard[i]], int(self.offset[i]), int(self.size[i])

    def called(self, i: int) -> str:
        """The tar and the member in it."""
        return f"{self.paths[self.shard[i]]}, member {self.names[i]}"


@dataclass(frozen=True)
class Sample:
    """A picture and its label in one shard."""

    image: Member
    label: int


def parts(request: Request) -> Parts:
    """One pattern, or one for training and one for testing, which must agree in class names.

    A folder stands for the shards that its ``train/nshards.txt`` and ``test/nshards.txt`` count, as
    CLIP_benchmark lays them out.
    """
    local = [_local(request, pattern) for pattern in request.names("pattern")]
    if len(local) == 1 and not local[0].endswith(".tar") and (counted := _counted(local[0])):
        return {
            split: functools.partial(read, pattern, request.spec)
            for split, pattern in counted.items()
        }
    if len(local) == 2:
        first, second = (class_names(expand(pattern)) for pattern in local)
        if first != second:
            raise UserError(
                f"{local[0]} and {local[1]} have different class names, or the same in another "
                f"order. Train on the first and evaluate on the second: --data wds:{local[0]} "
                f"--ood NAME=wds:{local[1]}"
            )
    return one_or_two(local, lambda pattern: read(pattern, request.spec))


def _local(request: Request, pattern: str) -> str:
    """The pattern as meant from here, or from the data root where only that one finds a shard."""
    if is_url(pattern) or request.data_root is None:
        return str(Path(pattern).expanduser()) if not is_url(pattern) else pattern
    here, there = (str(place / Path(pattern).expanduser()) for place in (Path(), request.data_root))
    return there if not glob.glob(_braces(here)[0]) and glob.glob(_braces(there)[0]) else here


def _counted(folder: str) -> dict[str, str]:
    """Split -> pattern for the splits of a folder that say how many shards they have; none where it
    is no such folder.

    Raises:
        UserError: If the count is not a number.
    """
    found = {}
    for split in ("train", "test"):
        path = _there(f"{folder.rstrip('/')}/{split}/{NSHARDS}")
        if path is not None:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if not text.isdigit() or int(text) == 0:
                raise UserError(
                    f"{folder}/{split}/{NSHARDS} holds {text[:20]!r}, not a number of shards"
                )
            found[split] = f"{folder.rstrip('/')}/{split}/{{0..{int(text) - 1}}}.tar"
    return found


def _braces(pattern: str) -> list[str]:
    from webdataset.shardlists import expand_urls  # imports torch: needed for shards only

    try:
        return expand_urls(pattern)
    except (ValueError, AssertionError) as error:
        raise UserError(f"the pattern {pattern!r} cannot be expanded: {error}") from None


def expand(pattern: str) -> list[str]:
    """Shard names of a pattern with ``{000..099}``, ``{a,b}`` or ``*`` (the last only for files).

    Raises:
        UserError: If a file is missing or nothing fits.
    """
    names = [name for name in _braces(pattern) if name]
    if any(":" in name.split("/")[0] and not is_url(name) for name in names):
        raise UserError(f"{pattern!r}: shards are local files or http(s) addresses")
    found = [hit for name in names for hit in (_matches(name) if not is_url(name) else [name])]
    if not found:
        raise UserError(f"no shard fits the pattern {pattern!r}")
    return found


def _matches(name: str) -> list[str]:
    if any(c in name for c in "*?[") and not os.path.exists(name):
        return sorted(glob.glob(name))
    path = existing(Path(name))
    if path.is_dir():
        raise UserError(
            f"{path} is a folder without test/{NSHARDS}: name its shards, such as "
            f"{path / '{000..099}.tar'} or {path / '*.tar'}"
        )
    return [name]


def read(pattern: str, spec: str) -> ImageSet:
    """Every labelled picture of the shards, in their order.

    Args:
        pattern: Local files or http(s) addresses; the latter are copied to the cache.
        spec: For the record.

    Raises:
        UserError: If a shard is missing or broken, a sample has no picture or no label, a label has
            no class name, or there are no class names.
    """
    names = expand(pattern)
    classes = class_names(names)
    paths = [cached(name) if is_url(name) else Path(name) for name in names]
    samples = [(k, sample) for k, path in enumerate(paths) for sample in _samples(path)]
    labels = np.array([sample.label for _, sample in samples], dtype=np.int64)
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        k, sample = samples[bad[0]]
        raise UserError(
            f"{paths[k]}: {sample.image.name} has label {sample.label}, but there are "
            f"{len(classes)} class names. Labels count from 0."
        )
    kind, templates = _templates(names)
    content = content_digest([(str(k), path) for k, path in enumerate(paths)])
    note = {"files": [file_record(path) for path in paths], "content": content, "templates": kind}
    if is_url(names[0]):
        note["urls"] = names
    reader = Shards(
        tuple(map(str, paths)),
        np.array([k for k, _ in samples], dtype=np.int32),
        np.array([sample.image.offset for _, sample in samples], dtype=np.int64),
        np.array([sample.image.size for _, sample in samples], dtype=np.int64),
        tuple(sample.image.name for _, sample in samples),
    )
    return ImageSet(_stem(names[0]), spec, "all", labels, classes, templates, reader, note)


def _samples(path: Path) -> Iterator[Sample]:
    """Pictures with their labels: neighbouring members that share the name before the first dot are
    one sample.
    """
    from webdataset.tariterators import base_plus_ext

    group: dict[str, Member] = {}
    current: str | None = None
    for member in members(path):
        key, extension = base_plus_ext(member.name)
        if key is None or PurePosixPath(member.name).name.startswith("."):
            continue
        if key != current and group:
            yield _sample(path, current or "", group)
            group = {}
        current = key
        group[extension.lower()] = member
    if group:
        yield _sample(path, current or "", group)


def _sample(path: Path, key: str, group: dict[str, Member]) -> Sample:
    image = next(
        (member for ext, member in group.items() if f".{ext.split('.')[-1]}" in EXTENSIONS), None
    )
    if image is None:
        raise UserError(f"{path}: sample {key} has no picture, only {', '.join(group)}")
    for extension, member in group.items():
        if extension in ("cls", "json"):
            return Sample(image, _label(path, member, content(path, member)))
    raise UserError(
        f"{path}: sample {key} has no label: it needs {key}.cls or {key}.json beside {image.name}"
    )


def _label(path: Path, member: Member, text: bytes) -> int:
    try:
        if member.name.endswith(".cls"):
            return int(text)
        record = json.loads(text)
        value = (
            next(record[key] for key in LABEL_KEYS if key in record)
            if isinstance(record, dict)
            else record
        )
        if isinstance(value, bool) or int(value) != value:
            raise ValueError(f"{value!r} is not a whole number")
        return int(value)
    except (ValueError, TypeError, StopIteration) as error:
        why = str(error) or f"none of the keys {', '.join(LABEL_KEYS)}"
        raise UserError(f"{path}, member {member.name}: no label in it ({why})") from None


def class_names(shards: list[str]) -> tuple[str, ...]:
    """Names from ``NAME.classes.json`` beside the shard ``NAME.wds.tar``, else ``classnames.txt``
    there or one above.

    Raises:
        UserError: If there is none of them.
    """
    first = shards[0]
    json_name = f"{_parent(first)}/{_stem(first)}.classes.json"
    for name in (json_name, f"{_parent(first)}/classes.json"):
        path = _there(name)
        if path is not None:
            return parse_class_names(path.read_text(encoding="utf-8", errors="replace"), name)
    path = _first_there(_beside(first, CLASSNAMES))
    names = (
        [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if path
        else []
    )
    if not names:
        raise UserError(
            f'{first} has no class names: write {json_name} as {{"class_names": ["...", ...]}}, '
            f"or {_parent(first)}/{CLASSNAMES} with one a line, in label order"
        )
    return tuple(names)


def _templates(shards: list[str]) -> tuple[str, Templates]:
    path = _first_there(_beside(shards[0], TEMPLATES))
    if path is None:
        return templates_for(_stem(shards[0]))
    return str(path), parse_templates(path.read_text(encoding="utf-8"), str(path))


def _beside(shard: str, name: str) -> list[str]:
    return [f"{_parent(shard)}/{name}", f"{_parent(_parent(shard))}/{name}"]


def _first_there(names: Iterable[str]) -> Path | None:
    return next((path for name in names if (path := _there(name)) is not None), None)


def _there(name: str) -> Path | None:
    if is_url(name):
        return cached_if_there(name)
    return Path(name) if Path(name).is_file() else None


def _parent(name: str) -> str:
    return name.rpartition("/")[0] if is_url(name) else str(Path(name).absolute().parent)


def _stem(name: str) -> str:
    """``NAME`` of ``.../NAME.wds.tar`` or ``.../NAME.tar``."""
    return PurePosixPath(name).name.removesuffix(".tar").removesuffix(".wds")
