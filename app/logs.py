"""``NAME.jsonl`` of a run, read once and then followed: a page that looks again every few seconds
reads what is new.
"""

import json
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from grace_geom.records import number

MOST_ROWS = 2000
"""Of each kind of row that are kept; of more, every second, fourth, eighth ... is."""
MOST_KINDS = 48
MOST_BYTES = 128 * 2**20
"""Of a file that are read; of a larger one, its end."""
LONGEST = 4 * 2**20
"""Bytes of a line."""
BLOCK = 8 * 2**20


@dataclass(frozen=True)
class Lines:
    """Records of a ``NAME.jsonl``.

    Attributes:
        rows: One dictionary a line, in order of their steps as written; of many, evenly thinned,
            the last one kept.
        broken: Lines that are not JSON objects with a step; the last line of a run being written
            may be one.
        total: Lines that were read, thinned or not.
        odd: How often a logged number was NaN or infinite, by name.
        skipped: Bytes at the beginning of the file that were too many to be read.
    """

    rows: tuple[dict[str, Any], ...] = ()
    broken: int = 0
    total: int = 0
    odd: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0


class _Kind:
    """Rows with the same finite numbers: thinned by halves, so that what is kept stays."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, dict[str, Any]]] = []
        self.seen, self.stride = 0, 1

    def add(self, place: int, row: dict[str, Any]) -> None:
        """Take the next row of this kind, or leave it out where the kind is thinned."""
        if self.seen % self.stride == 0:
            self.kept.append((place, row))
        self.seen += 1
        if len(self.kept) > MOST_ROWS:
            self.kept, self.stride = self.kept[::2], 2 * self.stride


class _Log:
    """One file as far as it was read."""

    def __init__(self, size: int) -> None:
        self.at = self.skipped = max(0, size - MOST_BYTES)
        self.stamp = (0, 0, 0)
        self.mark = b""  # the last bytes that were read: where they changed, all is read again
        self.rest = b""
        self.kinds: dict[tuple[str, ...], _Kind] = {}
        self.broken = self.total = 0
        self.odd: dict[str, int] = {}
        self.last: tuple[int, dict[str, Any]] | None = None
        self.partial = self.at > 0
        self.whole: Lines | None = None  # what `lines` gave last, where nothing came since

    def follow(self, handle: int) -> None:
        """Read from where it ended last time."""
        self.whole = None
        while data := os.pread(handle, BLOCK, self.at):
            self.at += len(data)
            self.mark = (self.mark + data)[-64:]
            *whole, self.rest = (self.rest + data).split(b"\n")
            for line in whole:
                if self.partial:  # the first line of a file whose beginning is skipped
                    self.partial = False
                    continue
                self._take(line.rstrip(b"\r"))
            if len(self.rest) > LONGEST:
                self.rest = self.rest[:LONGEST] + b"!"  # no JSON any more, however it ends

    def lines(self) -> Lines:
        """What is known, with the last line even where it has no end yet; the same object until
        there is more.
        """
        if self.whole is not None:
            return self.whole
        rows = {place: row for kind in self.kinds.values() for place, row in kind.kept}
        if self.last is not None:
            rows[self.last[0]] = self.last[1]
        broken, total = self.broken, self.total
        if self.rest.strip():
            row = _row(self.rest)
            broken, total = broken + (row is None), total + (row is not None)
            rows |= {} if row is None else {self.total: row}
        ordered = tuple(rows[place] for place in sorted(rows))
        self.whole = Lines(ordered, broken, total, dict(self.odd), self.skipped)
        return self.whole

    def _take(self, line: bytes) -> None:
        row = _row(line)
        if row is None:
            self.broken += 1
            return
        odd = [k for k, v in row.items() if type(v) is float and not math.isfinite(v)]
        for key in odd:
            self.odd[key] = self.odd.get(key, 0) + 1
        kind = _in_order(tuple(row)) if not odd else tuple(sorted(row.keys() - set(odd)))
        if kind not in self.kinds and len(self.kinds) >= MOST_KINDS:
            kind = ()
        self.kinds.setdefault(kind, _Kind()).add(self.total, row)
        self.last = self.total, row
        self.total += 1


_logs: dict[Path, _Log] = {}
_lock = threading.Lock()
_MOST_LOGS = 256


def read_lines(path: Path) -> Lines:
    """Records of a regular file; those of a file that was read before are not read again.

    Raises:
        OSError: If it cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(handle)
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        with _lock:
            log = _logs.get(path)
            if log is None or not _goes_on(log, stamp, handle):
                while len(_logs) >= _MOST_LOGS:
                    del _logs[next(iter(_logs))]
                log = _logs[path] = _Log(status.st_size)
            if log.stamp != stamp:
                log.follow(handle)
                log.stamp = stamp
            return log.lines()
    finally:
        os.close(handle)


def _goes_on(log: _Log, stamp: tuple[int, int, int], handle: int) -> bool:
    """Whether a file is the one that was read, with more behind it."""
    if log.stamp == stamp:
        return True
    if log.stamp[0] != stamp[0] or stamp[2] <= log.at:
        return False
    return os.pread(handle, len(log.mark), log.at - len(log.mark)) == log.mark


def _row(line: bytes) -> dict[str, Any] | None:
    """A record with a step; NaN, which training writes, is a number here."""
    if len(line) > LONGEST:
        return None
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            return None
    if not isinstance(row, dict) or (step := number(row.get("step"))) is None:
        return None
    if step != int(step) or not 0 <= step < 2**53:
        return None
    if not _printable(tuple(row)):
        return None
    row["step"] = int(step)
    return row


@lru_cache(maxsize=256)  # the rows of a log mostly have the same names
def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names))


@lru_cache(maxsize=256)
def _printable(names: tuple[str, ...]) -> bool:
    return all(name.isprintable() for name in names)
