"""An analysis by its name: whole, or in the two pieces that a study runs as tasks, one checkpoint
and all of them together.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from grace_geom.analysis.options import Common
from grace_geom.analysis.run import analyse, found_part, terminable
from grace_geom.analysis.subject import read_once
from grace_geom.checkpoint import checkpoint_file
from grace_geom.cli import Command
from grace_geom.devices import deterministic, tf32
from grace_geom.known_analyses import ANALYSES, drawing
from grace_geom.terminal.voice import VOICES, Voice


@dataclass(frozen=True)
class PartDone:
    """One checkpoint was measured.

    Attributes:
        known: Whether it had been measured before, with the same settings on the same contents.
        seconds: How long that took.
        warnings: What was warned of.
    """

    known: bool
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Joined:
    """What was measured on several checkpoints stands in one result.

    Attributes:
        path: Its JSON file.
        text: Its tables.
        warnings: What was warned of.
    """

    path: Path
    text: str
    warnings: tuple[str, ...] = ()


def options_class(name: str) -> type[Common]:
    """The dataclass of an analysis' options."""
    found: type[Common] = getattr(_module(name), ANALYSES[name].options)
    return found


def options_of(name: str, checkpoints: Sequence[Path], flags: Sequence[str]) -> Common:
    """The options of an analysis from its flags, as on its command line.

    Raises:
        UserError: For an unknown flag, or a value that does not fit.
    """
    kind = options_class(name)
    command = Command([kind], positionals=("checkpoints",))
    return kind(**command.values([*map(str, checkpoints), *flags]))


def analyse_named(name: str, options: Common, failed: Mapping[str, str] | None = None) -> Path:
    """Measure, print, draw and save; see :func:`grace_geom.analysis.analyse`."""
    return analyse(name, options, _measure(name), _show(name), drawing(name), failed or {})


def measure_part(name: str, options: Common, label: str, out: Path) -> PartDone:
    """Measure the one checkpoint of the options, for a result in ``out`` that :func:`join` writes.

    Nothing is printed, and nothing is measured that is known there.

    Args:
        name: Of the analysis.
        options: Its options, with one checkpoint.
        label: How the result calls it.
        out: Folder of that result.

    Raises:
        UserError: If it cannot be measured.
        Interrupted, KeyboardInterrupt: If the user stops it; the state of long work is kept.
    """
    (path,) = options.checkpoints
    began = time.perf_counter()
    with (
        _listening() as heard,
        terminable(),
        tf32(False),
        deterministic(options.deterministic),
        read_once(options.others()),
    ):
        found = found_part(name, checkpoint_file(path), label, options, _measure(name), out)
    known = found is not None and found[1]
    return PartDone(known, time.perf_counter() - began, heard.warnings)


def join(name: str, options: Common, failed: Mapping[str, str] | None = None) -> Joined:
    """The result of all checkpoints of the options, from parts that :func:`measure_part` left in
    ``options.out``: ``NAME.json``, its arrays and its figures.

    Args:
        name: Of the analysis.
        options: Its options, with all checkpoints.
        failed: Why some were not measured now, by label: the result says so in their places, and
            holds no number of theirs, not those of an earlier result either.

    Raises:
        UserError: If none can be read.
    """
    with _listening() as heard:
        path = analyse_named(name, options, failed)
    lines = [line for line in heard.printed.splitlines() if not line.startswith("written in ")]
    return Joined(path, "\n".join(lines).strip(), heard.warnings)


@dataclass
class _Heard:
    """What was printed, and what was warned of."""

    printed: str = ""
    warnings: tuple[str, ...] = ()


@contextlib.contextmanager
def _listening() -> Iterator[_Heard]:
    """Keep what is printed and said: several tasks on one terminal would mix theirs."""
    heard, printed, own = _Heard(), io.StringIO(), Voice("analysis")
    VOICES.append(own)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            yield heard
    finally:
        VOICES.remove(own)
    heard.printed, heard.warnings = printed.getvalue(), tuple(own.warnings)


def _module(name: str) -> Any:
    return import_module(f"grace_geom.analysis.{name}")


def _measure(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(_module(name), ANALYSES[name].measure)
    return found


def _show(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(_module(name), ANALYSES[name].show)
    return found
