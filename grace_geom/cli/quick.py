"""Answers that need no torch: ``--help``, ``--print-config`` and refusals of a command line.

Importing torch and open_clip takes seconds; reading flags takes none. Every command line that is
built leaves a description of its options, so that the next call of the same command can answer
before it imports anything heavy. Where there is none, the command builds its options from the code,
as it does anyway before it runs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from grace_geom.cli import Command, peek
from grace_geom.cli.memory import PACKAGE, recall
from grace_geom.errors import UserError, nearest


def answer(
    key: str, argv: Sequence[str] | None = None, names: Mapping[str, str] | None = None
) -> None:
    """Answer a command line now, if its options are known from an earlier call.

    Args:
        key: Of the command, as given to :class:`grace_geom.cli.Command`.
        argv: Arguments; ``None`` takes those of the process.
        names: Options whose value must be in a remembered list, by option: ``{"model": "models"}``.

    Raises:
        SystemExit: After ``--help`` or ``--print-config``.
        UserError: For what the command line itself says wrong.
    """
    if (description := recall(key)) is None:
        return
    values = Command.described(description).values(argv)
    for option, where in (names or {}).items():
        check_name(option, values[option], recall(where) or ())


def check_name(option: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is not among the known names, where some are known.

    What says where it lies (``hf-hub:``, ``local-dir:``, a ``.json`` file) is no name: the command
    itself looks there.

    Raises:
        UserError: With the nearest names.
    """
    if str(value).startswith(PLACES) or str(value).endswith(".json"):
        return
    if known and value not in (names := list(known)):
        raise UserError(f"--{option} {value!r} is not known; {nearest(str(value), names)}")


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
    ]
    return f"python -m grace_geom.train {json.dumps(decided)}"


NULL = ("null", "None")
PLACES = ("hf-hub:", "local-dir:")
