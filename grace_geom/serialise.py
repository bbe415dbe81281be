"""Settings as plain types and YAML: what configuration files, run directories and checkpoints
hold. Files are read within bounds: no device, no pipe, nothing that grows in memory.
"""

import dataclasses
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from grace_geom.errors import UserError, nearest

LARGEST = 64 * 2**20
"""Bytes of a record file that are read."""
LARGEST_YAML = 4 * 2**20
"""Bytes of a YAML file that are read; a file of settings has a few thousand."""
MOST_VALUES = 100_000
"""Values of a YAML file once its aliases are followed: nine short lines can stand for billions."""
DEEPEST = 64
"""How deep lists and mappings may lie in each other."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0b[01][01_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|[0-9][0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
)
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_file(path: Path | str, most: int = LARGEST) -> bytes:
    """All bytes of a regular file, however it changes meanwhile.

    Raises:
        UserError: If it is missing, no regular file (a folder, device or pipe, which could hold
            the reader up for ever), larger than ``most`` bytes, or may not be read.
    """
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "a device or pipe"
            raise UserError(f"{path}: {what}, not a file")
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise UserError(_missing(Path(path))) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason})") from None
    if len(data) > most:
        raise UserError(f"{path}: larger than {most / 2**20:g} MiB, which is no such record")
    return data


def _missing(path: Path) -> str:
    """That there is no such file, and what there is beside it that could have been meant."""
    near = ""
    if path.parent.is_dir() and path.suffix in (".yaml", ".yml"):
        near = nearest(path.name, [p.name for p in path.parent.glob("*.y*ml")])
    return f"no such file: {path}; {near}".removesuffix("; valid: ").removesuffix("; ")


def as_text(path: Path | str, data: bytes) -> str:
    """UTF-8, with or without a byte-order mark.

    Raises:
        UserError: For another encoding, with the first place that says so.
    """
    if (found := _ENCODINGS.get(data[:2])) is not None:
        raise UserError(f"{path}: {found} text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise UserError(
            f"{path}: line {line} is not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
        ) from None


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML file that holds a mapping of plain values.

    Every key is text as it is written (``on``, ``2``), and so are dates and ``12:30``.

    Raises:
        UserError: If it is missing, not YAML, or something else than a mapping; for a key that is
            there twice, NaN, an octal number, tags, and what aliases or nesting blow up. The
            message names the line.
    """
    text = as_text(path, read_file(path, LARGEST_YAML))
    try:
        _within_bounds(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _Nodes().check(node) if node is not None else None
            content = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except _Unfit as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split()).replace(' in "<unicode string>"', "")[:160]
        tab = any(line.lstrip(" ").startswith("\t") for line in text.splitlines())
        hint = "; indent with spaces, not tabs" if tab else ""
        raise UserError(f"{path} is not YAML: {said}{hint}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(
            f"{path} must hold settings as 'name: value' lines, not a {type(content).__name__}"
        )
    return content


class _Unfit(Exception):
    """YAML that a file of settings may not hold; the message names the line."""


def _within_bounds(text: str) -> None:
    """Count before anything is built: deep nesting would end in the parser's recursion."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or count > 2 * MOST_VALUES:
            raise _Unfit(f"{_line(event)}: nested too deep or too long for settings")


class _Nodes:
    """Checks a document before it becomes objects, and makes text of what only looks otherwise."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()

    def check(self, node: Any) -> tuple[int, int]:
        """Values below a node and their depth, aliases followed; each node is looked at once."""
        if id(node) in self.open:
            raise _Unfit(f"{_line(node)}: an alias of what holds it")
        if id(node) not in self.seen:
            self.open.add(id(node))
            self.seen[id(node)] = self._measure(node)
            self.open.remove(id(node))
        return self.seen[id(node)]

    def _measure(self, node: Any) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
            return 1, 0
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise _Unfit(f"{_line(node)}: the tag {_short(node.tag)} is not for settings")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [value for _, value in node.value]
        else:
            parts = node.value
        below = [self.check(part) for part in parts]
        size, depth = 1 + sum(n for n, _ in below), 1 + max((d for _, d in below), default=0)
        if size > MOST_VALUES or depth > DEEPEST:
            raise _Unfit(f"{_line(node)}: aliases make it too long or too deep for settings")
        return size, depth


def _check_keys(node: Any) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Unfit(f"{_line(key)}: a key must be text")
        if key.tag == _TAG + "merge":
            continue
        key.tag = _TAG + "str"
        _check_scalar(key)
        if key.value in lines:
            raise _Unfit(
                f"{_line(key)}: {_short(key.value)} is there twice, first in line {lines[key.value]}"
            )
        lines[key.value] = key.start_mark.line + 1


def _check_scalar(node: Any) -> None:
    kind, value = node.tag.removeprefix(_TAG), node.value
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _Unfit(f"{_line(node)}: half a surrogate pair, which is no text")
    if kind in ("timestamp", "value", "merge") or (kind in ("int", "float") and ":" in value):
        node.tag = _TAG + "str"
        return
    if kind == "int":
        digits = value.lstrip("+-").replace("_", "")
        if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            raise _Unfit(
                f"{_line(node)}: {_short(value)} would be octal; write it without the leading "
                "zero, or in quotes"
            )
        if len(digits) > 20:
            raise _Unfit(f"{_line(node)}: {_short(value)} is too large a number")
        if not _INT.fullmatch(value):
            raise _Unfit(f"{_line(node)}: {_short(value)} is no whole number")
    elif kind == "float" and not _FLOAT.fullmatch(value):
        raise _Unfit(f"{_line(node)}: {_short(value)} is no number that a setting can have")
    elif kind == "bool" and value.lower() not in _Loader.bool_values:
        raise _Unfit(f"{_line(node)}: {_short(value)} is neither true nor false")
    elif kind not in ("str", "bool", "null", "float"):
        raise _Unfit(f"{_line(node)}: the tag {_short(node.tag)} is not for settings")


def _line(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def to_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their order; reading it back gives the same numbers."""
    return yaml.safe_dump(
        plain(values), sort_keys=False, default_flow_style=False, allow_unicode=True
    )


def plain(value: Any) -> Any:
    """Dataclasses, paths, tuples and number types as the plain types that YAML, JSON and
    ``torch.save`` know.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bool, str)) or value is None:
        return value
    return (
        int(value)
        if isinstance(value, int)
        else float(value)
        if isinstance(value, float)
        else value
    )
