"""Tables that Hugging Face's library ``datasets`` opens, and their columns of pictures and
labels.
"""

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from grace_geom.data.label_tables import LABEL_COLUMNS
from grace_geom.data.names import existing
from grace_geom.data.pictures import MAX_BYTES, decode
from grace_geom.data.request import Request
from grace_geom.data.text import shown
from grace_geom.errors import UserError

FILES = {".parquet": "parquet", ".arrow": "arrow"}
STREAM = "stream"
PICTURES = ("image", "img", "picture", "photo")
LABELS = ("label", "labels", "fine_label", *LABEL_COLUMNS)
SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves in a folder


@dataclass(frozen=True)
class Asked:
    """A SPEC taken apart.

    Attributes:
        place: A file or folder here, or a name on the Hub.
        local: Which of both.
        split: The split that is meant; ``None``: all.
        stream: Read the rows one after another and keep their pictures in memory, without the
            library's copy on disk.
    """

    place: str
    local: bool
    split: str | None
    stream: bool


def asked(request: Request) -> Asked:
    """What a SPEC asks for, before anything is opened.

    Raises:
        UserError: If ``datasets`` is not installed, a file or folder is not there, or the SPEC is
            written in another way.
    """
    form = "write hf:NAME_OR_DIR, hf:NAME_OR_DIR:SPLIT or hf:NAME_OR_DIR:SPLIT:stream"
    if importlib.util.find_spec("datasets") is None:
        raise UserError(
            f"{request.spec} is read by Hugging Face's datasets, which is not installed: "
            "pip install 'grace_geom[datasets]'"
        )
    words = request.rest.split(":")
    if not words[0].strip():
        raise UserError(f"{request.spec!r} names no data set: {form}")
    whole = (k for k in range(len(words), 0, -1) if request.located(":".join(words[:k])).exists())
    k = next(whole, 0)
    tail = words[k or 1 :]
    stream = tail[-1:] == [STREAM]
    tail = tail[: len(tail) - stream]
    if len(tail) > 1 or "" in tail:
        raise UserError(f"{request.spec!r} is no data set here: {form}")
    place = str(request.located(":".join(words[: k or 1])))
    if not k and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", words[0]):  # no name that the Hub allows
        existing(Path(place))
    if not k and Path(place).suffix in FILES:
        existing(Path(place))
    return Asked(place if k else words[0], bool(k), tail[0] if tail else None, stream)


def open_tables(wanted: Asked, spec: str) -> dict[str, Any]:
    """Split -> table, as the library gives it.

    Raises:
        UserError: If it gives none, with what it says.
    """
    import datasets  # seconds to import, seldom needed

    (datasets.disable_progress_bars if wanted.local else datasets.enable_progress_bars)()
    place = Path(wanted.place)
    try:
        if wanted.local and any((place / name).is_file() for name in SAVED):
            found = datasets.load_from_disk(wanted.place)
            if wanted.stream:
                raise UserError(f"{spec}: what save_to_disk wrote needs no copy: leave out :stream")
        elif wanted.local and place.is_file():
            if place.suffix not in FILES:
                raise UserError(f"{spec}: a file must end in {' or '.join(FILES)}")
            found = datasets.load_dataset(
                FILES[place.suffix], data_files=wanted.place, split="train", streaming=wanted.stream
            )
        else:
            found = datasets.load_dataset(wanted.place, streaming=wanted.stream)
    except UserError:
        raise
    except Exception as error:  # the library lets through what its readers and the network raise
        raise _not_opened(wanted, spec, error) from None
    return dict(found) if isinstance(found, dict) else {"all": found}


def _not_opened(wanted: Asked, spec: str, error: Exception) -> UserError:
    why = shown((str(error) or type(error).__name__).splitlines()[0])[:200]
    if wanted.local:
        return UserError(f"{spec}: {shown(wanted.place)} cannot be read by datasets ({why})")
    nothing = f"{spec}: there is no file or folder {wanted.place} here"
    if isinstance(error, FileNotFoundError):
        return UserError(f"{nothing}, and no data set on the Hub that you may read ({why})")
    if isinstance(error, OSError):
        return UserError(f"{nothing}, and the Hub cannot be reached ({why}): check the network")
    return UserError(f"{spec} cannot be read from the Hugging Face Hub ({why})")


@dataclass(frozen=True)
class LabelledRows:
    """Rows with pictures and labels.

    Attributes:
        rows: ``rows[i][column]`` is ``{"bytes": ..., "path": ...}``.
        column: Of the pictures.
        labels: One a row, as stored.
        label: Their column.
        names: Class names in label order, where the table declares them.
        files: The library's files on disk; none of a stream.
    """

    rows: Any
    column: str
    labels: Sequence[Any]
    label: str
    names: tuple[str, ...] | None
    files: tuple[str, ...]


def source_of(table: Any, wanted: Asked, spec: str) -> LabelledRows:
    """The columns of a table that hold pictures and labels.

    Raises:
        UserError: If there are none, or several, of which none has a name that tells.
    """
    import datasets

    features: Mapping[str, Any] = table.features or {}
    said = ", ".join(f"{name} ({type(f).__name__})" for name, f in features.items()) or "none"
    pictures = [name for name, f in features.items() if isinstance(f, datasets.Image)]
    column = _one(pictures, PICTURES)
    declared = [name for name, f in features.items() if isinstance(f, datasets.ClassLabel)]
    plain = [
        name
        for name, f in features.items()
        if isinstance(f, datasets.Value) and name.lower() in LABELS
        if re.fullmatch(r"u?int\d+|(large_)?string", f.dtype)
    ]
    label = _one(declared or plain, LABELS)
    if column is None or label is None:
        lacking = "pictures" if column is None else "labels"
        raise UserError(f"{spec} has the columns {said}: expected one of {lacking}")
    names = tuple(features[label].names) if label in declared else None
    table = table.select_columns([column, label])
    table = table.cast_column(column, datasets.Image(decode=False))
    if wanted.stream:
        rows = _streamed(table, column, spec)
        return LabelledRows(rows, column, [row[label] for row in rows], label, names, ())
    labels = table.select_columns([label])[:][label]
    files = tuple(file["filename"] for file in table.cache_files)
    return LabelledRows(table.select_columns([column]), column, labels, label, names, files)


def _one(names: Sequence[str], preferred: Sequence[str]) -> str | None:
    """The only name, or the first that is preferred."""
    if len(names) == 1:
        return names[0]
    plain = {name.lower(): name for name in names}
    return next((plain[name] for name in preferred if name in plain), None)


def _streamed(table: Any, column: str, spec: str) -> list[dict[str, Any]]:
    """Every row, with the encoded bytes of its picture.

    Raises:
        UserError: If they need more than half of this machine's memory, or a row cannot be read.
    """
    from datasets.utils.file_utils import xopen

    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    rows, held = [], 0
    try:
        for row in table:
            picture = row[column] or {}
            if picture.get("bytes") is None and picture.get("path"):
                with xopen(picture["path"], "rb") as file:
                    picture = {"path": picture["path"], "bytes": file.read(MAX_BYTES + 1)}
            rows.append(row | {column: picture})
            held += len(picture.get("bytes") or b"")
            if held > most:
                raise UserError(
                    f"{spec}: the first {len(rows):,} pictures take {held / 2**30:.1f} GiB, more "
                    "than half of the memory: leave out :stream"
                )
    except (OSError, ValueError) as error:
        raise UserError(f"{spec}: the stream ended after {len(rows):,} rows ({error})") from None
    return rows


@dataclass(frozen=True)
class EncodedRows:
    """Reads pictures whose encoded bytes lie in the rows of a table.

    Attributes:
        rows: ``rows[i][column]`` is ``{"bytes": ..., "path": ...}``.
        column: Of the pictures.
        where: Names the data set in errors.
    """

    rows: Any
    column: str
    where: str

    def __call__(self, i: int) -> Image.Image:
        return decode(self.encoded(i), self.called(i))

    def encoded(self, i: int) -> bytes:
        """The bytes of the image file.

        Raises:
            UserError: If the row has none, or too many.
        """
        picture = self.rows[i][self.column] or {}
        content: bytes | None = picture.get("bytes")
        if content is None and os.path.isfile(picture.get("path") or ""):
            content = Path(picture["path"]).read_bytes()
        if content is None:
            raise UserError(f"{self.called(i)}: there is no picture in it")
        if len(content) > MAX_BYTES:
            raise UserError(f"{self.called(i)}: {len(content)} bytes are too many for one picture")
        return content

    def called(self, i: int) -> str:
        """The row, and the file that it was made of."""
        name = (self.rows[i][self.column] or {}).get("path")
        return f"{self.where}, row {i}" + (f", {shown(name)}" if name else "")
