"""Calls of our commands within this process: ``python -m tests.calls CALLS.json`` makes a list of
them and prints the answers.
"""

import contextlib
import importlib
import io
import json
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "torchvision", "open_clip", "scipy.stats", "sklearn", "matplotlib", "plotly")


class Answer(NamedTuple):
    """What one call says, how it ends and which heavy packages it is the first to import."""

    out: str
    errors: str
    code: int
    imported: list[str]


def answer(program: str, flags: Sequence[str]) -> Answer:
    """Call ``grace_geom.NAME`` or ``analyses/NAME.py``."""
    before, code = set(sys.modules), 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            _main(program)(list(flags))
        except SystemExit as stop:
            code = int(stop.code or 0)
    imported = [name for name in HEAVY if name in sys.modules and name not in before]
    return Answer(out.getvalue(), errors.getvalue(), code, imported)


def _main(program: str) -> Callable[..., None]:
    if program.endswith(".py"):
        return runpy.run_path(str(ROOT / program))["main"]
    return importlib.import_module(program).main


if __name__ == "__main__":
    print(json.dumps([answer(*call) for call in json.loads(Path(sys.argv[1]).read_text())]))
