"""Versioned JSON records: written for people to read, read back with errors that name the file and
the key.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from grace_geom.errors import UserError
from grace_geom.serialise import as_text, read_file, read_yaml

Plain = dict[str, Any]
Shape = TypeVar("Shape")


class RecordError(UserError):
    """A file that is truncated, foreign, or written by a newer version. The message names it."""


class NewerRecordError(RecordError):
    """A file of a newer version: it may hold more than this one understands, and is kept."""


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


def read_json(path: Path | str) -> Any:
    """Strict JSON of a regular file: no NaN, no number beyond a float's, no name twice in one
    object.

    Raises:
        RecordError: If the file is missing, no regular file, too large, not UTF-8 or not JSON.
    """
    try:
        text = as_text(path, read_file(path))
    except UserError as error:
        raise RecordError(str(error)) from None
    try:
        plain = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
        if "\\u" in text:  # half a surrogate pair would be written nowhere
            json.dumps(plain, ensure_ascii=False).encode()
    except RecursionError:
        raise RecordError(f"{path}: nested too deep for a record") from None
    except ValueError as error:
        said = str(error)[:160]
        raise RecordError(f"{path}: not readable as JSON, perhaps truncated ({said})") from None
    return plain


def read_record(path: Path | str, expected: str) -> Plain:
    """The JSON object of a file whose ``format`` is ``expected`` (``NAME/VERSION``) or an older
    version of it.

    Raises:
        NewerRecordError: If it is of a newer version.
        RecordError: If the file is missing, truncated, or of another kind.
    """
    plain = read_json(path)
    check_format(plain, expected, path)
    return plain


def check_format(plain: Any, expected: str, path: Path | str) -> None:
    """Whether a file says that it is ``expected`` (``NAME/VERSION``) or an older version of it.

    Raises:
        NewerRecordError: If it is of a newer version.
        RecordError: If it is of another kind, or does not say.
    """
    found = plain.get("format") if isinstance(plain, dict) else None
    name, _, version = str(found).rpartition("/")
    wanted, _, known = expected.rpartition("/")
    if name != wanted or not re.fullmatch("[0-9]{1,9}", version):
        shown = repr(found)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise RecordError(f"{path}: not a {wanted} file (format: {shown})")
    if int(version) > int(known):
        raise NewerRecordError(
            f"{path}: written by a newer version ({found}; this one reads {expected}): update "
            "grace_geom"
        )


def read_settings(path: Path | str) -> Plain:
    """``config.yaml``.

    Raises:
        RecordError: If it cannot be read as settings.
    """
    try:
        return read_yaml(path)
    except UserError as error:
        raise RecordError(str(error)) from None


def number(value: Any) -> float | None:
    """A finite number; ``None`` for anything else, truth values included."""
    if type(value) is float:  # most of what a log holds
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def checked(plain: Any, shape: type[Shape], path: Path | str, mend: str, at: str = "$") -> Shape:
    """Plain values as what they should be: a dataclass or a ``msgspec.Struct``; entries that it
    does not know are left out.

    Args:
        plain: What a file holds, or a part of it.
        shape: What it should be.
        path: The file, for the message.
        mend: How it is made again, for the message.
        at: Where in the file the part is.

    Raises:
        RecordError: Naming the file and the key that is missing or of another kind.
    """
    try:
        return msgspec.convert(plain, shape)
    except msgspec.ValidationError as error:
        where, what = _place(plain, shape, str(error))
        raise RecordError(f"{path}: {at}{where[1:]}: {what}; {mend}") from None


def misfit(path: Path | str, at: str, what: str, mend: str) -> RecordError:
    """An entry of the right type that contradicts another."""
    return RecordError(f"{path}: {at}: {what}; {mend}")


def _place(plain: Any, shape: Any, message: str) -> tuple[str, str]:
    """The key and what is wrong with it; names of mappings, which msgspec leaves out, are found by
    leaving all but one out.
    """
    what, _, where = message.partition(" - at ")
    where = where.rpartition(" in ")[2].strip("`") or "$"
    while "[...]" in where:
        head = where[: where.index("[...]")]
        key = next((k for k in _at(plain, head) if _alone(plain, shape, head, k) == message), None)
        if key is None:
            break
        where = where.replace("[...]", f"[{json.dumps(str(key))}]", 1)
        plain = _only(plain, _steps(head), key)
        if _at(plain, where.partition("[...]")[0]) is None:
            break
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"{where}.{missing[1]}", "is missing"
    return where, what[:1].lower() + what[1:].replace("`", "")


def _steps(where: str) -> list[str | int]:
    """``$.accuracies[3]["a/b"]`` -> ``["accuracies", 3, "a/b"]``."""
    found = re.findall(r"\.(\w+)|\[(\d+)\]|\[(\"(?:[^\"\\]|\\.)*\")\]", where)
    return [name or (int(i) if i else json.loads(key)) for name, i, key in found]


def _at(plain: Any, where: str) -> Any:
    for step in _steps(where):
        plain = plain[step]
    return plain


def _only(plain: Any, steps: list[str | int], key: Any) -> Any:
    """A copy in which the mapping at ``steps`` has one entry."""
    if not steps:
        return {key: plain[key]}
    copy = plain.copy()
    copy[steps[0]] = _only(plain[steps[0]], steps[1:], key)
    return copy


def _alone(plain: Any, shape: Any, where: str, key: Any) -> str:
    try:
        msgspec.convert(_only(plain, _steps(where), key), shape)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _once(pairs: list[tuple[str, Any]]) -> Plain:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} is there twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:40]} is larger than any float")
    return value
