"""Versioned JSON records: written for people to read, read back with errors that name the file."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from grace_geom.errors import UserError

Plain = dict[str, Any]
Record = TypeVar("Record")


class RecordError(UserError):
    """A file that is truncated, foreign, or written by a newer version. The message names it."""


def dumps(plain: Any, indent: str = "") -> str:
    """JSON that people can read: a line for each entry, lists of scalars on one line, NaN and
    infinities as null.
    """
    deeper = indent + "  "
    if isinstance(plain, Mapping) and plain:
        rows = [f"{deeper}{json.dumps(str(k))}: {dumps(v, deeper)}" for k, v in plain.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(plain, (list, tuple)) and any(
        isinstance(v, (Mapping, list, tuple)) for v in plain
    ):
        return "[\n" + ",\n".join(deeper + dumps(v, deeper) for v in plain) + f"\n{indent}]"
    if isinstance(plain, (list, tuple)):
        return "[" + ", ".join(dumps(v) for v in plain) + "]"
    if isinstance(plain, np.generic):
        plain = plain.item()
    if isinstance(plain, float) and not math.isfinite(plain):
        return "null"
    return json.dumps(plain, default=str)


def read_record(path: Path | str, expected: str) -> Plain:
    """The JSON object of a file whose ``format`` is ``expected`` (``NAME/VERSION``) or an older
    version of it.

    Raises:
        RecordError: If the file is missing, truncated, of another kind, or of a newer version.
    """
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not readable as JSON, perhaps truncated ({error})") from None
    found = plain.get("format") if isinstance(plain, dict) else None
    name, _, version = str(found).rpartition("/")
    wanted, _, known = expected.rpartition("/")
    if name != wanted:
        raise RecordError(f"{path}: not a {wanted} file (format: {found!r})")
    if not version.isdigit() or int(version) > int(known):
        raise RecordError(
            f"{path}: written by a newer version ({found}; this one reads {expected}): update "
            "grace_geom"
        )
    return plain


@contextlib.contextmanager
def complete(path: Path | str, kind: str, mend: str) -> Iterator[None]:
    """Inside, an entry that is missing or of another type is an error for people.

    Raises:
        RecordError: Naming the file, what it should be, and how it is made again.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: incomplete {kind} ({error}); {mend}") from None


def build_record(record: type[Record], plain: Mapping[str, Any]) -> Record:
    """A dataclass from a mapping; entries that it does not know are left out.

    Raises:
        TypeError: If a field without default is missing.
    """
    names = {f.name for f in dataclasses.fields(record)}  # type: ignore[arg-type]
    return record(**{name: value for name, value in plain.items() if name in names})
