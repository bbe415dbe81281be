"""What is seen on a terminal: a screen that obeys the codes which our commands send."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from grace_geom.terminal import AREA

CODE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])")


class Screen:
    """Rows of text, the cursor, and how often a text ran over the last column.

    Only carriage return, line feed, moving the cursor up and emptying lines are known; colours are
    kept apart, and any other code is an error.
    """

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.lines: list[list[str]] = [[]]
        self.row = self.column = self.wrapped = 0
        self.colours: set[str] = set()

    def feed(self, text: str) -> None:
        """Obey a whole piece of output."""
        while text:
            if code := CODE.match(text):
                self._obey(code[1] + code[3], code[2])
                text = text[code.end() :]
                continue
            self._put(text[0])
            text = text[1:]

    def shown(self) -> list[str]:
        """The rows as they are, without empty ones at the end."""
        rows = ["".join(line).rstrip() for line in self.lines]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _obey(self, name: str, value: str) -> None:
        if name == "A":
            self.row = max(0, self.row - int(value or 1))
        elif name == "K":
            assert value in ("", "0", "2")
            self.lines[self.row] = [] if value == "2" else self.lines[self.row][: self.column]
        elif name == "m":
            self.colours |= {value}
        else:
            raise AssertionError(f"an unknown code {name} {value}")

    def _put(self, c: str) -> None:
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.row, self.column = self.row + 1, 0  # as the driver of a terminal maps it
            self.lines += [[]] * (self.row + 1 - len(self.lines))
            self.lines[self.row] = list(self.lines[self.row])
        else:
            assert c.isprintable(), repr(c)
            if self.column == self.columns:
                self.wrapped += 1
                self._put("\n")
            line = self.lines[self.row]
            line += [" "] * (self.column + 1 - len(line))
            line[self.column] = c
            self.column += 1


class Seen(NamedTuple):
    """What a command showed.

    Attributes:
        code: Its exit code.
        screens: The rows after each piece of output, with the seconds since the start.
        screen: At the end.
    """

    code: int
    screens: list[tuple[float, list[str]]]
    screen: Screen


def watch(
    words: Sequence[str], folder: Path, columns: int = 80, env: dict[str, str] | None = None
) -> Seen:
    """``python WORDS`` in a pseudo-terminal of so many columns."""
    began = time.perf_counter()
    child, end = pty.fork()
    if child == 0:
        os.chdir(folder)
        size_known = {key: v for key, v in os.environ.items() if key not in ("COLUMNS", "LINES")}
        os.execve(sys.executable, [sys.executable, *words], size_known | (env or {}))
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    screen, screens, rest = Screen(columns), [], b""
    while True:
        try:
            piece = os.read(end, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        text, rest = _whole(rest + piece)
        screen.feed(text)
        screens.append((time.perf_counter() - began, screen.shown()))
    os.close(end)
    _, status = os.waitpid(child, 0)
    return Seen(os.waitstatus_to_exitcode(status), screens, screen)


def _whole(piece: bytes) -> tuple[str, bytes]:
    """What can be read of a piece: not half a character, nor half a code."""
    cut = piece.rfind(b"\x1b")
    end = cut if cut >= 0 and not re.match(rb"\x1b\[\??[\d;]*[A-Za-z]", piece[cut:]) else len(piece)
    while end and piece[:end].decode("utf-8", "ignore").encode() != piece[:end]:
        end -= 1
    return piece[:end].decode("utf-8"), piece[end:]


class Terminal(io.StringIO):
    """In the place of stderr, in this process: what is written there is seen on a screen."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.screen = Screen(columns)

    @classmethod
    def instead_of_stderr(cls, monkeypatch: pytest.MonkeyPatch, columns: int) -> "Terminal":
        """For the rest of a test; as a fixture it would end before, where pytest captures anew."""
        found = cls(columns)
        monkeypatch.setattr(sys, "stderr", found)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        return found

    def isatty(self) -> bool:
        return True

    def redraw(self) -> None:
        """Draw the rows now; else they are a few times a second."""
        live = AREA._live
        assert live is not None, "nothing is drawn"
        live.refresh()

    def rows(self) -> list[str]:
        """What is seen now."""
        self.screen.feed(self.getvalue().replace("\r\n", "\n"))
        self.seek(0)
        self.truncate()
        return self.screen.shown()
