"""Answers that need no torch: ``--help``, ``--print-config`` and refusals of a command line.

Importing torch and open_clip takes seconds; reading flags takes none. Every command line that is
built leaves a description of its options, so that the next call of the same command can answer
before it imports anything heavy. Where there is none, the command builds its options from the code,
as it does anyway before it runs.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from grace_geom.cli import Command, peek
from grace_geom.cli.memory import PACKAGE, recall
from grace_geom.errors import check_known
from grace_geom.terminal import say, speaks, start


def answer(
    key: str,
    argv: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    check: Callable[[Mapping[str, Any]], None] = lambda values: None,
    begin: Callable[[Mapping[str, Any]], str] | None = None,
    leading: Callable[[Sequence[str]], object] = lambda tokens: None,
) -> None:
    """Answer a command line now, if its options are known from an earlier call.

    Where torch is imported already there is nothing to save, and models or methods may have been
    added since: the command answers itself.

    Args:
        key: Of the command, as given to :class:`grace_geom.cli.Command`.
        argv: Arguments; ``None`` takes those of the process.
        names: Options whose value must be in a remembered list, by option: ``{"model": "models"}``.
        check: Told the values by option; refuses what can be known to be wrong without torch.
        begin: From the values to the command's first line, which :func:`begun` says here already.
        leading: Told the arguments before the first flag where the options are not known; refuses
            what is wrong with them.

    Raises:
        SystemExit: After ``--help`` or ``--print-config``.
        UserError: For what the command line itself says wrong.
    """
    if "torch" in sys.modules:
        return
    if (description := recall(key)) is None:
        tokens = sys.argv[1:] if argv is None else argv
        leading(list(takewhile(lambda token: not token.startswith("-"), tokens)))
        if speaks():
            say("reading the options from the code, as at the first call of an installation ...")
        return
    values = Command.described(description).values(argv)
    for option, where in (names or {}).items():
        check_name(option, values[option], where)
    check(values)
    if begin is not None:
        begun(begin(values))


def begun(text: str) -> None:
    """Say the first line of a command, in the first process of a job; once."""
    if speaks():
        start(text)


def check_name(option: str, value: str | Sequence[str], where: str) -> None:
    """Refuse what is not in a remembered list, if that is there. Of ``at:lr=1e-3`` in a list of
    methods the name is ``at``.

    What says where it lies (``hf-hub:``, ``local-dir:``, a ``.json`` file) is no name: the command
    itself looks there.

    Raises:
        UserError: With the nearest names.
    """
    if (known := recall(where)) is None:
        return
    if isinstance(value, str):
        if value.startswith(PLACES) or value.endswith(".json"):
            return
        check_known(f"--{option}", value, known)
        return
    for entry in value:
        check_known(f"--{option}:", entry.partition(":")[0], known)


def train_key(argv: Sequence[str]) -> str | None:
    """What decides the options of a training run and their defaults, from its command line.

    ``None`` where a run directory decides them (``--resume``).
    """
    if any(token.startswith("--resume") for token in argv):
        return None
    data, preset = peek(argv, "data", "shapes"), peek(argv, "preset", "null")
    has_recipe = data.isidentifier() and (PACKAGE / "recipes" / f"{data}.yaml").is_file()
    lengths = [peek(argv, name, "null") not in NULL for name in ("epochs", "max_steps")]
    decided = [
        peek(argv, "method", "grace"),
        data if has_recipe else None,
        None if preset in NULL else preset,
        any(lengths),
        peek(argv, "adapter", "lora"),
    ]
    return f"python -m grace_geom.train {json.dumps(decided)}"


NULL = ("null", "None")
PLACES = ("hf-hub:", "local-dir:")
