"""The way into and out of a command: ``--quiet`` and ``--json``, errors for people, exit codes."""

import contextlib
import functools
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from grace_geom.errors import Interrupted, UserError, exit_code, first_line
from grace_geom.terminal.area import AREA
from grace_geom.terminal.voice import VOICES, Voice, line, speaks, warn

OUTPUT_FORMAT = "grace_geom.output/1"
PACKAGE = Path(__file__).parents[1]
PRINTED = {"--help", "-h", "--print-config"}
"""What is answered by a text on stdout."""
ON, OFF = ("on", "true", "yes"), ("off", "false", "no")
"""Words of a switch: ``--json=on``, ``--json off``."""


def door(main: Callable[..., None]) -> Callable[..., None]:
    """Turn the exceptions of a command into exit codes: 0 success, 2 user's mistake, 130
    interrupted. Anything else is a fault of ours and keeps its traceback (exit code 1).

    ``--quiet`` and ``--json`` are read here, so that they hold for every error too. With ``--json``
    stdout is one document, see ``docs/howto/json.md``; what anybody else prints goes to stderr.
    """

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> None:
        """Call the command; every way in which it can end has its exit code."""
        argv = args[0] if args else kwargs.get("argv")
        tokens = list(sys.argv[1:] if argv is None else argv)
        document = _switch(tokens, "--json") and not PRINTED.intersection(tokens)
        voice = Voice(_name(main), _switch(tokens, "--quiet"), document)
        try:
            with _speaking(voice):
                main(*args, **kwargs)
            if voice.json:
                _print_document(voice)
        except UserError as error:
            _refused(voice, "error", str(error), error)
        except (Interrupted, KeyboardInterrupt) as stop:
            _refused(voice, "interrupted", str(stop), stop)
        except BrokenPipeError:
            # The reader of our output went away (`... | head`): nothing is lost, nothing to report.
            sys.stderr.close()
            raise SystemExit(0) from None
        except Exception as fault:
            if voice.json:
                _print_document(voice, {"kind": "fault", "message": first_line(fault)}, 1)
            raise

    return run


@contextlib.contextmanager
def _speaking(voice: Voice) -> Iterator[None]:
    """Let this voice be the one that speaks, and clear the area of what it drew."""
    owners = AREA.owners
    VOICES.append(voice)
    try:
        with contextlib.ExitStack() as stack:
            if voice.json:
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            stack.enter_context(warnings.catch_warnings())
            if voice.quiet:
                warnings.simplefilter("ignore")
            else:
                warnings.showwarning = _said(warnings.showwarning)
            stack.callback(AREA.leave, owners)  # before the streams are put back that it holds
            yield
    finally:
        VOICES.pop()


def _said(usual: Callable[..., None]) -> Callable[..., None]:
    """Say the package's own warnings as a command says them; others are shown as usual."""

    def shown(
        message: Warning | str, category: type[Warning], filename: str, *place: Any, **more: Any
    ) -> None:
        """In the place of ``warnings.showwarning``."""
        if category is UserWarning and Path(filename).is_relative_to(PACKAGE):
            warn(str(message))
        else:
            usual(message, category, filename, *place, **more)

    return shown


def _refused(voice: Voice, kind: str, message: str, error: BaseException) -> None:
    code = exit_code(error)
    line(f"{kind}: {message}" if message else kind)
    if voice.json:
        _print_document(voice, {"kind": kind, "message": message}, code)
    raise SystemExit(code) from None


def _print_document(voice: Voice, error: Mapping[str, str] | None = None, code: int = 0) -> None:
    """The document of a command: what it found, or why it did not."""
    if not speaks():
        return
    content = {
        "format": OUTPUT_FORMAT,
        "command": voice.command,
        "exit_code": code,
        "error": error,
        "warnings": voice.warnings,
        "seconds": round(time.perf_counter() - voice.began, 3),
        "files": voice.files,
        "result": voice.result,
    }
    print(json.dumps(_plain(content), indent=2, allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    """As JSON has it: paths are texts, numbers that are not finite are null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(main: Callable[..., None]) -> str:
    """``train`` of ``grace_geom/train.py``, ``data`` of ``grace_geom/data/__main__.py``; the
    function's own name where that is not ``main``.
    """
    if main.__name__ != "main":
        return main.__name__
    file = Path(main.__code__.co_filename)
    return file.parent.name if file.stem == "__main__" else file.stem


def _switch(tokens: Sequence[str], flag: str) -> bool:
    """Whether a switch is on: ``--json``, ``--json=on``, ``--json on``; the last one counts."""
    on = False
    for token, following in pairwise([*tokens, ""]):
        name, has_value, value = token.partition("=")
        if name == flag:
            on = value.lower() in ON if has_value else following.lower() not in OFF
    return on
