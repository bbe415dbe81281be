"""Pictures whose labels stand in a table: ``metadata.csv`` as Hugging Face's imagefolder has it, or
``labels.csv`` beside ``images/``; CSV, TSV and JSON lines.
"""

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grace_geom.data.captions import NAMES, Captions, caption_in, caption_key
from grace_geom.data.listing import hidden_path, is_picture, visible
from grace_geom.data.pictures import EXTENSIONS
from grace_geom.data.text import nfc, printable, read_text, shown
from grace_geom.errors import UserError

ENDINGS = (".csv", ".tsv", ".jsonl")
FILE_COLUMNS = [
    "file_name",
    "filename",
    "file",
    "image",
    "image_name",
    "image_path",
    "path",
    "filepath",
    "file_path",
    "img",
    "image_id",
    "img_name",
    "id",
]
LABEL_COLUMNS = [
    "label",
    "class",
    "class_name",
    "classname",
    "label_name",
    "category",
    "category_name",
    "target",
    "target_name",
    "labels",
    "cls",
    "class_id",
    "label_id",
    "category_id",
]
SPLIT_COLUMNS = ["split", "subset", "partition", "set", "fold"]

IMAGE_FOLDERS = ["images", "imgs", "image", "img", "pictures", "photos"]

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
}
FILLERS = frozenset(
    [
        "set",
        "data",
        "images",
        "imgs",
        "labels",
        "label",
        "metadata",
        "annotations",
        "folder",
        "split",
        "seg",
    ]
)


def split_of(name: str) -> str | None:
    """The split that a folder or table is named for: ``Train``, ``training_set``, ``valid``,
    ``dev``, ``testset``, ``train_labels`` ...; ``None`` where it is none.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    words = [word for word in words if word not in FILLERS]
    if len(words) != 1:
        return None
    return SPLITS.get(words[0].removesuffix("set")) or SPLITS.get(words[0])


@dataclass(frozen=True)
class LabelRow:
    """One picture: its path below the folder, its label as written (empty where it has captions
    alone), its split (or ``None``), its captions.
    """

    file: str
    label: str
    split: str | None
    captions: Captions = ()


@dataclass(frozen=True)
class LabelTable:
    """Pictures and labels of a folder.

    Attributes:
        path: The table's file.
        rows: One a picture, in the table's order.
    """

    path: Path
    rows: tuple[LabelRow, ...]


def tables_in(folder: Path) -> list[Path]:
    """Files that may hold labels: ``metadata``, ``labels`` and the like, and those named for a
    split; where there is none of them, the only table of another name.
    """
    files = [name for name in visible(folder)[1] if name.lower().endswith(ENDINGS)]
    known = [name for name in files if _plain(name) or split_of(Path(name).stem)]
    return [folder / name for name in known or (files if len(files) == 1 else [])]


def _plain(name: str) -> bool:
    """Whether a table speaks of the whole folder: ``metadata.csv``, ``labels.csv`` ..."""
    words = {word for word in re.split(r"[^a-z0-9]+", Path(name).stem.lower()) if word}
    return words <= FILLERS | {"image", "file", "annotation", "class", "classes"}


def read_table(path: Path, *, anywhere: bool = False, captions: bool = False) -> LabelTable | None:
    """The pictures that a table lists; ``None`` where it has no columns for files and labels.

    Args:
        path: The table.
        anywhere: Files may lie outside the table's folder, under absolute paths too.
        captions: Also read a column of captions. Pictures that have them need no labels.

    Raises:
        UserError: If a row has no file or label, a file twice, a file that is not there or lies
            outside the folder; if two columns of labels disagree; if the text is not UTF-8 or not a
            table.
    """
    where = shown(path)
    rows = list(_records(path, where))
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    file, labels = _columns(columns)
    captions = captions and caption_key(columns) is not None
    if file is None or not (labels or captions):
        return None
    label = _label_column(rows, labels, where) if labels else None
    split = next((c for c in columns if c.strip().lower() in SPLIT_COLUMNS), None)
    finder = _Finder(path, anywhere)
    found: dict[str, LabelRow] = {}
    for line, row in rows:
        here = f"{where}, line {line}"
        name, text = (_cell(row.get(column), here) if column else "" for column in (file, label))
        said = caption_in(row, here) if captions else ()
        if not name or not (text or said):
            raise UserError(f"{here}: no {file if not name else label or caption_key(columns)}")
        places = finder.find(name)
        if len(places) != 1:
            why = f"{' and '.join(map(shown, places[:2]))} could be" if places else "no picture is"
            raise UserError(f"{here}: {why} {shown(name)}")
        place = os.path.abspath(path.parent / places[0])
        if place in found:
            raise UserError(f"{here}: {shown(name)} is listed twice")
        part = _split(row.get(split), where, line) if split else None
        found[place] = LabelRow(places[0], text, part, said)
    return LabelTable(path, tuple(found.values()))


def columns_of(path: Path) -> list[str]:
    """The columns of a table; of JSON lines, which need not agree, the keys of all of them."""
    return list(dict.fromkeys(name for _, row in _records(path, shown(path)) for name in row))


def _cell(value: Any, where: str) -> str:
    """A cell as text in NFC; JSON lines may hold whole numbers.

    Raises:
        UserError: If it is neither.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{where}: {value!r} is neither text nor a whole number")
    return nfc(str(value)).strip()


def _split(value: Any, where: str, line: int) -> str:
    split = split_of(str(value or ""))
    if split is None:
        raise UserError(f"{where}, line {line}: the split is {value!r}, not train, val or test")
    return split


def _records(path: Path, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and cells by column."""
    text = read_text(path)
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{where}, line {number}: not JSON ({error})") from None
                if not isinstance(record, dict):
                    raise UserError(f"{where}, line {number}: not a JSON object")
                yield number, record
        return
    head = text.split("\n", 1)[0]
    mark = max("\t;,", key=head.count) if any(c in head for c in "\t;,") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{where}, line {reader.line_num}: {len(cells)} cells for {len(header)} columns"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{where}, line {reader.line_num}: not a table ({error})") from None


def _columns(columns: list[str]) -> tuple[str | None, list[str]]:
    """The column of files and those of labels; of two columns, the one that is not the files'."""
    plain = {re.sub(r"[\s-]+", "_", c.strip().lower()): c for c in columns}
    file = next((plain[c] for c in FILE_COLUMNS if c in plain), None)
    labels = [plain[c] for c in LABEL_COLUMNS if c in plain]
    rest = [c for c in columns if c != file]
    if not labels and file is not None and len(rest) == 1 and not _speaks(rest[0]):
        labels = rest
    return file, labels


def _label_column(rows: list[tuple[int, dict[str, Any]]], columns: list[str], where: str) -> str:
    """Of several columns of labels, the first that holds names; numbers where none does.

    Raises:
        UserError: If they are not the same labels, one for one.
    """
    if len(columns) == 1:
        return columns[0]
    cells = {c: [_cell(row.get(c), f"{where}, line {line}") for line, row in rows] for c in columns}
    # A column that is empty throughout says nothing
    columns = [c for c in columns if any(cells[c])] or columns[:1]
    first = columns[0]
    for other in columns[1:]:
        pairs = dict.fromkeys(zip(cells[first], cells[other], strict=True))
        for side, by in ((0, first), (1, other)):
            seen: dict[str, tuple[str, str]] = {}
            for pair in pairs:
                if seen.setdefault(pair[side], pair) != pair:
                    values = " and ".join(repr(p[1 - side]) for p in (seen[pair[side]], pair))
                    against = other if side == 0 else first
                    raise UserError(
                        f"{where}: {shown(by)} and {shown(against)} are both labels and disagree: "
                        f"{shown(by)} {pair[side]!r} goes with {shown(against)} {values}. Rename "
                        "or remove the column that is not meant"
                    )
    return next((c for c in columns if not all(map(_number, cells[c]))), first)


def _number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.0*)?", text) is not None


def _speaks(column: str) -> bool:
    """Whether a column of this name holds sentences or measures, not classes."""
    return column.strip().lower() in {*NAMES, "description", "prompt", "url", "width"}


class _Finder:
    """Finds the pictures that a table means: from the folder, from ``images/`` or the only folder
    in it, or from the folder of the split that the table is named for; without the ending where the
    table leaves it out.

    Args:
        table: Its path.
        anywhere: Whether they may lie outside its folder.
    """

    def __init__(self, table: Path, anywhere: bool) -> None:
        self.folder, self.anywhere = table.parent, anywhere
        inner, split = visible(self.folder)[0], split_of(table.stem)
        own = [name for name in inner if split_of(name) and split in (None, split_of(name))]
        images = [n for n in inner if len(inner) == 1 or n.lower() in IMAGE_FOLDERS]
        self.homes = list(dict.fromkeys(["", *(f"{name}/" for name in [*images, *own])]))

    def find(self, name: str) -> list[str]:
        """Paths below the folder that ``name`` could mean."""
        plain = name.replace("\\", "/") if "/" not in name else name
        if os.path.isabs(plain) and not self.anywhere:
            plain = os.path.relpath(plain, self.folder.absolute())
        path = os.path.normpath(plain)
        if not printable(path):
            return []
        if not self.anywhere and (path.startswith("..") or hidden_path(path)):
            return []
        endings = (
            [""] if is_picture(path) else sorted(e for x in EXTENSIONS for e in (x, x.upper()))
        )
        forms = {path, unicodedata.normalize("NFD", path)}  # macOS writes the second
        return [
            f"{home}{form}{ending}"
            for home in ([""] if os.path.isabs(path) else self.homes)
            for form in sorted(forms)
            for ending in endings
            if os.path.isfile(self.folder / f"{home}{form}{ending}")
        ]
