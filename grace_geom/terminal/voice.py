"""What a command says and shows, and what it keeps for the document that ``--json`` prints."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grace_geom.terminal.area import AREA, can_draw, in_colour

COLOURS = {"error": "1;31", "interrupted": "1;33", "warning": "33"}


@dataclass
class Voice:
    """Of one command under way.

    Attributes:
        command: Its name.
        quiet: Say nothing but errors and failures; show nothing but the final path.
        json: Show nothing but one JSON document.
        relayed: What it says is read by another process, which keeps its warnings and may be
            quiet itself.
        began: When, by ``time.perf_counter``.
        started: Whether it said what it does.
        warnings: What it warned of, and what failed while the rest went on.
        files: What it wrote.
        result: What it found.
    """

    command: str = ""
    quiet: bool = False
    json: bool = False
    relayed: bool = False
    began: float = field(default_factory=time.perf_counter)
    started: bool = False
    warnings: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)


VOICES = [Voice()]
"""Of the commands under way, the innermost last: ``report.py`` calls others. The first is that of a
library call.
"""


def voice() -> Voice:
    """Of the innermost command."""
    return VOICES[-1]


def speaks() -> bool:
    """Whether this process of a job (torchrun's ``RANK``) is the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """A line on stderr, above whatever is drawn there; none with ``--quiet``.

    ``warning: ...`` is kept for ``--json`` too, and coloured on a terminal.
    """
    now = voice()
    warns = text.startswith("warning: ")
    if warns:
        now.warnings.append(text.removeprefix("warning: "))
    if not now.quiet or (warns and now.relayed):
        line(text)


def warn(text: str) -> None:
    """``warning: TEXT`` by :func:`say`."""
    say(f"warning: {text}")


def failed(text: str) -> None:
    """A part of the work failed, and the rest goes on: a line on stderr even with ``--quiet``, and
    one of the ``warnings`` of ``--json``.
    """
    voice().warnings.append(text)
    line(text)


def start(text: str) -> None:
    """What the command does on what and where that goes: its first line, said once."""
    if not voice().started:
        voice().started = True
        say(text)


def line(text: str) -> None:
    """A line on stderr whatever ``--quiet`` says; its first word may give it a colour. A terminal
    has it broken between words.
    """
    if can_draw():
        text = "\n".join(map(_broken, text.splitlines()))
    head, colon, rest = text.partition(": ")
    if head in COLOURS and in_colour():
        text = f"\033[{COLOURS[head]}m{head}{colon}\033[0m{rest}"
    if not (AREA.drawn and AREA.above(text)):
        print(text, file=sys.stderr, flush=True)


def _broken(text: str) -> str:
    return textwrap.fill(
        text, max(20, shutil.get_terminal_size().columns - 1), subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip


def show(text: str) -> None:
    """A table or a sentence for people on stdout; none with ``--quiet`` or ``--json``. A terminal
    has a sentence, which is one line, broken between words.
    """
    if not (voice().quiet or voice().json):
        sentence = sys.stdout.isatty() and "\n" not in text
        print(_broken(text) if sentence else text, flush=True)


def finish(*files: Path, text: str = "", beside: Sequence[Path] = (), **result: Any) -> None:
    """What the command wrote and found, once it is done.

    Args:
        files: What it was called for. With ``--quiet`` their paths are all that is printed.
        text: What is printed otherwise, on stdout; where there is no file, with ``--quiet`` too.
        beside: What else it wrote.
        result: For the document of ``--json``, as plain types.
    """
    now = voice()
    now.files += [str(file) for file in (*files, *beside)]
    now.result |= result
    if now.quiet and not now.json and files:
        text = "\n".join(map(str, files))
    if text and not now.json:
        broken = sys.stdout.isatty() and not now.quiet
        print("\n".join(map(_broken, text.splitlines())) if broken else text, flush=True)
