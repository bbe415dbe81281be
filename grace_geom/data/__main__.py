"""``python -m grace_geom.data check --data-root DIR``: which known data sets are there, and what is
missing. ``python -m grace_geom.data index s3://BUCKET/{0000..0127}.tar``: indexes of shards, beside
them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from grace_geom.cli import parse, quick
from grace_geom.errors import check_known
from grace_geom.terminal import door, finish

T = TypeVar("T")
PROG = "python -m grace_geom.data"
COMMANDS = ("check", "index")


@dataclass(frozen=True)
class CheckOptions:
    """What to look for, and where.

    Attributes:
        command: List the known data sets with their numbers of classes and images.
        data_root: Directory that holds the data sets.
    """

    command: Literal["check"] = field(metadata={"group": "data"})
    data_root: Path


@dataclass(frozen=True)
class IndexOptions:
    """Which shards get an index.

    Attributes:
        shards: Addresses in a store, such as s3://BUCKET/{0000..0127}.tar.
        captions: Index the captions too, for methods that train on them (flyp); their samples may
            lack a label.
    """

    shards: tuple[str, ...] = field(metadata={"group": "data"})
    captions: bool = False


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Parse, look, print."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    if tokens and not tokens[0].startswith("-"):
        check_known("command", tokens[0], COMMANDS)
    if tokens[:1] == ["index"]:
        index(tokens[1:])
        return
    options = _parsed(
        CheckOptions, tokens, ("command",), PROG,
        "List which of the known data sets are on disk, and what is missing. The other command is "
        "index (index --help).",
    )  # fmt: skip
    from grace_geom.data.check import survey, table

    found = survey(options.data_root.expanduser())
    finish(text=table(found), sets=[vars(status) for status in found])


def index(argv: Sequence[str]) -> None:
    """The command ``index``."""
    options = _parsed(
        IndexOptions, argv, ("shards",), f"{PROG} index",
        "Look through the shards of a store, and write beside each what was found, as "
        "SHARD.index.json (with --captions SHARD.captions.index.json): every machine that streams "
        "them then reads this instead.",
    )  # fmt: skip
    from grace_geom.data.beside import write_indexes

    found = write_indexes(options.shards, options.captions)
    finish(text=found.text(), **vars(found))


def _parsed(
    kind: type[T], argv: Sequence[str], positionals: Sequence[str], prog: str, description: str
) -> T:
    """The options of one of the commands; ``--help`` and refusals come without torch."""
    quick.answer(prog, argv)
    return parse(kind, argv, positionals=positionals, prog=prog, description=description)


if __name__ == "__main__":
    main()
