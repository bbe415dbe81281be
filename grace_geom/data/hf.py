"""``hf:NAME_OR_DIR[:SPLIT]``: what Hugging Face's library ``datasets`` reads: folders of pictures,
parquet and arrow files, folders written by ``save_to_disk``, and data sets on the Hub.

The library finds rows and columns; pictures are decoded as all others are here, so that 16-bit ones
keep their levels and the same files have the same keys wherever they lie.
"""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grace_geom.data.base import ImageSet, Note
from grace_geom.data.classes import CLASS_LISTS, WNID, Classes, classes_of, in_order, spoken
from grace_geom.data.hf_tables import (
    Asked,
    EncodedRows,
    LabelledRows,
    asked,
    open_tables,
    source_of,
)
from grace_geom.data.label_tables import split_of
from grace_geom.data.names import Given, check_names, content_digest, parse_given, parse_lines
from grace_geom.data.pictures import Files
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.data.text import nfc, read_text, shown
from grace_geom.errors import UserError, nearest


def parts(request: Request) -> Parts:
    """The splits of a data set, by their names (``validation`` is val); a named one in one piece.

    Classes are those of ``train``, whichever part is read.

    Raises:
        UserError: If it cannot be opened, has no such split, or its splits have names of which we
            do not know which is which; if there are no columns of pictures and labels.
    """
    wanted = asked(request)
    if wanted.stream:
        source = _stream(wanted, request.spec)
        classes = _classes(source, wanted, request.spec)
        return {"all": functools.partial(_read, source, classes, request.spec, wanted)}
    tables = open_tables(wanted, request.spec)
    if wanted.split is not None:
        tables = {"all": _named(tables, wanted.split, request.spec)}
    elif len(tables) == 1 and split_of(next(iter(tables))) is None:
        tables = {"all": next(iter(tables.values()))}
    else:
        tables = _by_split(tables, request.spec)
    lead = next((name for name in ("train", "all") if name in tables), next(iter(tables)))
    sources = {name: source_of(table, wanted, request.spec) for name, table in tables.items()}
    classes = _classes(sources[lead], wanted, request.spec)
    return {
        name: functools.partial(_read, source, classes, request.spec, wanted)
        for name, source in sources.items()
    }


@functools.lru_cache(maxsize=2)  # train and val are cut from one stream, which is read once
def _stream(wanted: Asked, spec: str) -> LabelledRows:
    """The one split of a stream.

    Raises:
        UserError: As :func:`parts`; if the split is not named.
    """
    tables = open_tables(wanted, spec)
    if wanted.split is None and len(tables) > 1:
        names = ", ".join(tables)
        raise UserError(f"{spec}: name the split that is read, one of {names}, before :stream")
    table = _named(tables, wanted.split, spec) if wanted.split else next(iter(tables.values()))
    return source_of(table, wanted, spec)


def _named(tables: Mapping[str, Any], split: str, spec: str) -> Any:
    if split not in tables:
        raise UserError(f"{spec}: no split {split!r}; {nearest(split, tables)}")
    return tables[split]


def _by_split(tables: Mapping[str, Any], spec: str) -> dict[str, Any]:
    """Tables by train, val and test.

    Raises:
        UserError: If a name stands for none of them, or two stand for one.
    """
    found: dict[str, Any] = {}
    for name, table in tables.items():
        split = split_of(name)
        if split is None or split in found:
            raise UserError(
                f"{spec} has the splits {', '.join(map(shown, tables))}: name the one that is "
                f"meant, {spec}:{next(iter(tables))}"
            )
        found[split] = table
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _classes(source: LabelledRows, wanted: Asked, spec: str) -> Classes:
    """Labels and names of the classes: as the table declares them, or as its labels are written;
    called as a class list in the folder says.

    Raises:
        UserError: If the list does not fit.
    """
    folder = Path(wanted.place)
    lists = [p for name in CLASS_LISTS if wanted.local and (p := folder / name).is_file()]
    given: Given | None = None
    if lists:
        text, where = read_text(lists[0]), shown(lists[0])
        given = (
            parse_given(text, where)
            if lists[0].suffix == ".json"
            else list(parse_lines(text, where))
        )
    where = shown(lists[0]) if lists else spec
    if source.names is None:
        return classes_of(in_order(map(_text, source.labels)), given, where, spec)
    keys = [nfc(name) for name in source.names]
    if isinstance(given, dict):
        if missing := [key for key in keys if key not in given]:
            raise UserError(f"{where} has no name for {', '.join(map(repr, missing[:5]))}")
        names = [given[key] for key in keys]
    else:
        names = given if given is not None else [spoken(key, shown(folder)) for key in keys]
    if len(names) != len(keys):
        raise UserError(f"{where} has {len(names)} class names for {len(keys)} classes")
    return Classes(check_names(names, where), {str(k): k for k in range(len(keys))})


def _text(label: Any) -> str:
    return nfc(str(label)).strip()


def _read(source: LabelledRows, classes: Classes, spec: str, wanted: Asked) -> ImageSet:
    """Every row of one part.

    Raises:
        UserError: If a row has no label (``None`` or -1, as in hidden test sets), or one that the
            training part does not have.
    """
    unlabelled = [k for k, label in enumerate(source.labels) if label is None or label == -1]
    if unlabelled:
        raise UserError(
            f"{spec}: {len(unlabelled):,} of {len(source.labels):,} rows have no {source.label} "
            f"(row {unlabelled[0]}): name a split that has labels, hf:NAME_OR_DIR:SPLIT"
        )
    labels = np.array([classes.label(_text(label), f"{spec}: {label}") for label in source.labels])
    name = Path(wanted.place).name.split(".")[0]
    kind, templates = templates_for(name)
    reader = _files(source) or EncodedRows(source.rows, source.column, spec)
    note: Note = {
        "source": shown(wanted.place),
        "columns": [source.column, source.label],
        "content": _content(source, reader),
        "templates": kind,
    }
    if source.names and all(map(WNID.fullmatch, source.names)):
        note["wnids"] = list(source.names)
    return ImageSet(name, spec, "all", labels, classes.names, templates, reader, note)


def _content(source: LabelledRows, reader: Files | EncodedRows) -> str:
    """A digest of the files that the pictures lie in; of a stream, of the pictures."""
    if isinstance(reader, Files):
        return content_digest((name, Path(reader.folder, name)) for name in reader.names)
    if source.files:
        return content_digest((Path(file).name, Path(file)) for file in source.files)
    total = hashlib.sha256()
    for i in range(len(source.labels)):
        total.update(reader.encoded(i))
    return total.hexdigest()[:16]


def _files(source: LabelledRows) -> Files | None:
    """A reader of the files, where the rows only name files that are here: they have the keys of
    ``folder:`` then.
    """
    if not source.files or (source.rows[0][source.column] or {}).get("bytes") is not None:
        return None  # the first row tells: to look at all would read every picture
    pictures = [picture or {} for picture in source.rows[:][source.column]]
    paths = [str(p.get("path")) for p in pictures if p.get("bytes") is None]
    if len(paths) < len(pictures) or not all(map(os.path.isfile, paths)):
        return None
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return Files(folder, tuple(os.path.relpath(path, folder) for path in paths))
