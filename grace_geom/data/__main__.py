"""``python -m grace_geom.data check --data-root DIR``: which known data sets are there, and what is
missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from grace_geom.cli import parse, quick
from grace_geom.terminal import door, finish

PROG = "python -m grace_geom.data"


@dataclass(frozen=True)
class CheckOptions:
    """What to look for, and where.

    Attributes:
        command: List the known data sets with their numbers of classes and images.
        data_root: Directory that holds the data sets.
    """

    command: Literal["check"] = field(metadata={"group": "data"})
    data_root: Path


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Parse, look, print."""
    quick.answer(PROG, argv)
    from grace_geom.data.check import survey, table

    options = parse(
        CheckOptions,
        argv,
        positionals=("command",),
        prog=PROG,
        description="List which of the known data sets are on disk, and what is missing.",
    )
    found = survey(options.data_root.expanduser())
    finish(text=table(found), sets=[vars(status) for status in found])


if __name__ == "__main__":
    main()
