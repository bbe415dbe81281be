"""``wds:PATTERN``: webdataset shards, indexed once so that any image can be read and the order is
ours.

Streaming shards in a shuffled buffer, as webdataset itself does, makes the order depend on the
number of workers.
"""

import functools
import glob
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from grace_geom.data.base import ImageSet
from grace_geom.data.captions import settled
from grace_geom.data.far_shards import FarShards, content_of, far_indexes
from grace_geom.data.fetch import cached, cached_if_there, is_url
from grace_geom.data.listing import hidden_path
from grace_geom.data.names import (
    content_digest,
    existing,
    file_record,
    parse_class_names,
    parse_lines,
)
from grace_geom.data.prompts import Templates, parse_templates, templates_for
from grace_geom.data.request import Request
from grace_geom.data.samples import Sample, samples_of
from grace_geom.data.shard_index import indexed, samples_in
from grace_geom.data.shards import Shards
from grace_geom.data.splits import Parts, one_or_two
from grace_geom.data.text import read_text, shown
from grace_geom.errors import UserError

MAX_SHARDS = 1_000_000
CLASSNAMES, TEMPLATES, NSHARDS = (
    "classnames.txt",
    "zeroshot_classification_templates.txt",
    "nshards.txt",
)


def parts(request: Request) -> Parts:
    """One pattern, or one for training and one for testing, which must agree in class names.

    A folder stands for the shards that its ``train/nshards.txt`` and ``test/nshards.txt`` count, as
    CLIP_benchmark lays them out.
    """
    local = [_local(request, pattern) for pattern in request.names("pattern")]
    if len(local) == 1 and not local[0].endswith(".tar") and (counted := _counted(local[0])):
        return {
            split: functools.partial(read, pattern, request.spec, request.captions, request.stream)
            for split, pattern in counted.items()
        }
    if len(local) == 2:
        needed = not request.captions
        first, second = (class_names(expand(pattern), needed) for pattern in local)
        if first != second:
            raise UserError(
                f"{local[0]} and {local[1]} have different class names, or the same in another "
                f"order. Train on the first and evaluate on the second: --data wds:{local[0]} "
                f"--ood NAME=wds:{local[1]}"
            )
    return one_or_two(
        local, lambda pattern: read(pattern, request.spec, request.captions, request.stream)
    )


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
            text = read_text(path, f"{folder}/{split}/{NSHARDS}").strip()
            if not re.fullmatch(r"0*[1-9][0-9]{0,6}", text) or int(text) > MAX_SHARDS:
                raise UserError(
                    f"{folder}/{split}/{NSHARDS} holds {text[:20]!r}, not a number of shards"
                )
            found[split] = f"{folder.rstrip('/')}/{split}/{{0..{int(text) - 1}}}.tar"
    return found


def _braces(pattern: str) -> list[str]:
    from webdataset.shardlists import expand_urls  # imports torch: needed for shards only

    count = math.prod(
        max(0, (abs(int(b) - int(a)) // max(1, abs(int(step or 1))) + 1))
        for a, b, step in re.findall(
            r"\{(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(-?\d{1,18}))?\}", pattern
        )
    )
    if count > MAX_SHARDS or re.search(r"\d{19}", pattern):
        raise UserError(f"the pattern {pattern!r} names more than {MAX_SHARDS:,} shards")
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
        raise UserError(f"{pattern!r}: shards are local files or http(s), s3 or gs addresses")
    found = [hit for name in names for hit in (_matches(name) if not is_url(name) else [name])]
    if not found:
        raise UserError(f"no shard fits the pattern {pattern!r}")
    return found


def _matches(name: str) -> list[str]:
    if any(c in name for c in "*?[") and not os.path.exists(name):
        return sorted(hit for hit in glob.glob(name) if not hidden_path(hit.rpartition("/")[2]))
    path = existing(Path(name))
    if path.is_dir():
        raise UserError(
            f"{path} is a folder without test/{NSHARDS}: name its shards, such as "
            f"{path / '{000..099}.tar'} or {path / '*.tar'}"
        )
    return [name]


@dataclass(frozen=True)
class _Found:
    """Shards, and what lies in them.

    Attributes:
        places: Paths, or addresses of those that are read where they lie.
        samples: Which shard, and what.
        content: Digest of all shards.
        files: A record of each.
        keys: Of the pictures, where they are known already.
    """

    places: Sequence[str | Path]
    samples: list[tuple[int, Sample]]
    content: str
    files: list[dict[str, Any]]
    keys: np.ndarray | None = None

    def reader(self) -> Shards:
        """Reads the pictures, in their order."""
        arrays = (
            tuple(map(str, self.places)),
            np.array([k for k, _ in self.samples], dtype=np.int32),
            np.array([sample.image.offset for _, sample in self.samples], dtype=np.int64),
            np.array([sample.image.size for _, sample in self.samples], dtype=np.int64),
            tuple(sample.image.name for _, sample in self.samples),
        )
        return Shards(*arrays) if self.keys is None else FarShards(*arrays, self.keys)


def _near(names: list[str], captions: bool) -> _Found:
    """Shards on a disk, addresses as copies there."""
    paths = [cached(name) if is_url(name) else Path(name) for name in names]
    samples = [(k, sample) for k, path in enumerate(paths) for sample in indexed(path, captions)]
    content = content_digest([(str(k), path) for k, path in enumerate(paths)])
    return _Found(paths, samples, content, [file_record(path) for path in paths])


def _far(names: list[str], captions: bool) -> _Found:
    """Shards in a store, which stay there."""
    found = far_indexes(names, captions)
    samples = [(k, one) for k, index in enumerate(found) for one in samples_in(index.samples)]
    keys = np.array([key for index in found for key in index.keys], dtype=np.uint64)
    return _Found(names, samples, content_of(found), [x.record() for x in found], keys)


def read(pattern: str, spec: str, with_captions: bool = False, stream: bool = False) -> ImageSet:
    """Every labelled picture of the shards, in their order.

    Args:
        pattern: Local files, or addresses (http, https, s3, gs), which are copied to the cache.
        spec: For the record.
        with_captions: Also read captions. Pictures that have them need no labels, and then no class
            names.
        stream: Leave shards of a store (s3, gs) there: pictures are fetched when they are wanted.

    Raises:
        UserError: If a shard is missing or broken, a sample has no picture or no label, a label has
            no class name, or there are no class names.
    """
    names = expand(pattern)
    classes = class_names(names, needed=not with_captions)
    far = stream and all(is_url(name) and not name.startswith("http") for name in names)
    found = (_far if far else _near)(names, with_captions)
    samples = found.samples
    labels, captions = settled(
        [sample.label for _, sample in samples],
        [sample.captions for _, sample in samples],
        lambda i: f"{shown(found.places[samples[i][0]])}: {shown(samples[i][1].image.name)}",
    )
    labelled = any(sample.label is not None for _, sample in samples)
    if labelled and not classes:
        class_names(names)  # says which file is missing
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if labelled and len(bad):
        k, sample = samples[bad[0]]
        raise UserError(
            f"{found.places[k]}: {sample.image.name} has label {sample.label}, but there are "
            f"{len(classes)} class names. Labels count from 0."
        )
    kind, templates = _templates(names)
    note = {"files": found.files, "content": found.content, "templates": kind}
    if is_url(names[0]):
        note["urls"] = names
    labelled_as = labels, classes, templates, found.reader(), note
    return ImageSet(_stem(names[0]), spec, "all", *labelled_as, captions=captions)


def class_names(shards: list[str], needed: bool = True) -> tuple[str, ...]:
    """Names from ``NAME.classes.json`` beside the shard ``NAME.wds.tar``, else ``classnames.txt``
    there or one above.

    Args:
        shards: Their paths or addresses.
        needed: Refuse shards without any, rather than return nothing.

    Raises:
        UserError: If there is none of them, or shards of different folders have different ones.
    """
    found: dict[str, tuple[str, ...]] = {}
    places = {
        own if _stands(own := _json_beside(shard)) else _parent(shard): shard
        for shard in reversed(shards)
    }
    for shard in {*places.values(), shards[0]}:
        found[shard] = _names_beside(shard, needed)
    first = shards[0]
    other = next((shard for shard in sorted(found) if found[shard] != found[first]), None)
    if other is not None:
        raise UserError(
            f"{first} and {other} have different class names, or the same in another order: read "
            "them as two data sets"
        )
    return found[first]


def _json_beside(shard: str) -> str:
    return f"{_parent(shard)}/{_stem(shard)}.classes.json"


def _stands(name: str) -> bool:
    """Whether a shard has class names of its own; not asked of servers, a question a shard."""
    return not is_url(name) and os.path.isfile(name)


def _names_beside(shard: str, needed: bool) -> tuple[str, ...]:
    json_name = _json_beside(shard)
    for name in (json_name, f"{_parent(shard)}/classes.json"):
        path = _there(name)
        if path is not None:
            return parse_class_names(read_text(path, name), name)
    path = _first_there(_beside(shard, CLASSNAMES))
    names = parse_lines(read_text(path), str(path)) if path else ()
    if not names and needed:
        if not is_url(shard):
            next(samples_of(Path(shard)), None)  # what lacks labels too is told that first
        raise UserError(
            f'{shard} has no class names: write {json_name} as {{"class_names": ["...", ...]}}, '
            f"or {_parent(shard)}/{CLASSNAMES} with one a line, in label order"
        )
    return names


def _templates(shards: list[str]) -> tuple[str, Templates]:
    path = _first_there(_beside(shards[0], TEMPLATES))
    if path is None:
        return templates_for(_stem(shards[0]))
    return str(path), parse_templates(read_text(path), str(path))


def _beside(shard: str, name: str) -> list[str]:
    parents = [_parent(shard), _parent(_parent(shard))]
    return [f"{p}/{name}" for p in parents if not is_url(shard) or urlsplit(p).netloc]


def _first_there(names: Iterable[str]) -> Path | None:
    return next((path for name in names if (path := _there(name)) is not None), None)


def _there(name: str) -> Path | None:
    if is_url(name):
        return cached_if_there(name)
    return Path(name) if os.path.isfile(name) else None


def _parent(name: str) -> str:
    return name.rpartition("/")[0] if is_url(name) else str(Path(name).absolute().parent)


def _stem(name: str) -> str:
    """``NAME`` of ``.../NAME.wds.tar`` or ``.../NAME.tar``."""
    return PurePosixPath(name).name.removesuffix(".tar").removesuffix(".wds")
