"""Checkpoints of one table that were not measured on the same images: told apart, never refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grace_geom.records.uneven import MARK
from grace_geom.tables import Cell, Table


@dataclass(frozen=True)
class UsedImages:
    """Images that were taken of one set.

    Attributes:
        n: How many.
        which: Digest of them and of the class of each.
    """

    n: int
    which: str

    def __str__(self) -> str:
        return f"{self.n} images ({self.which[:6]})"


def unlike(samples: Mapping[str, Mapping[str, UsedImages]]) -> dict[str, str]:
    """A sentence for each checkpoint whose images are not those of most; of equals, not those of
    the first.

    Args:
        samples: Label -> set -> the images that were used of it.
    """
    usual = _usual(list(samples.values()))
    found = {}
    for label, mine in samples.items():
        texts = [_apart(name, mine.get(name), usual.get(name)) for name in {**usual, **mine}]
        if differ := "; ".join(filter(None, texts)):
            found[label] = f"{label} is not measured on the images of the others: {differ}."
    return found


def marked(table: Table, notes: Mapping[str, str]) -> Table:
    """The table with a sign at the rows of these checkpoints, and the sentences below it.

    Args:
        table: Whose rows begin with a checkpoint's label, or with one behind `` at ``.
        notes: As :func:`unlike` finds them.
    """
    if not notes:
        return table
    rows = [[_marked(row[0], notes), *row[1:]] for row in table.rows]
    return replace(table, rows=rows, notes=[*table.notes, *(f"{MARK} {x}" for x in notes.values())])


def _marked(cell: Cell | str, notes: Mapping[str, str]) -> Cell | str:
    if isinstance(cell, str) and (cell in notes or cell.rpartition(" at ")[2] in notes):
        return f"{cell} {MARK}"
    return cell


def _usual(every: Sequence[Mapping[str, UsedImages]]) -> Mapping[str, UsedImages]:
    counts = Counter(frozenset(sets.items()) for sets in every)
    most = max(counts.values(), default=0)
    return next((sets for sets in every if counts[frozenset(sets.items())] == most), {})


def _apart(name: str, mine: UsedImages | None, usual: UsedImages | None) -> str:
    if mine == usual:
        return ""
    if mine is None:
        return f"without {name}"
    return f"with {name}" if usual is None else f"{name} on {mine}, not {usual}"
