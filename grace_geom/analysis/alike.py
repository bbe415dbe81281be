"""Rows of one table that were not measured on the same images: marked, never refused."""

from collections.abc import Mapping
from dataclasses import replace

from grace_geom.records.uneven import MARK
from grace_geom.tables import Cell, Table


def marked(table: Table, notes: Mapping[str, str]) -> Table:
    """The table with a sign at the rows of these checkpoints, and the sentences below it.

    Args:
        table: Whose rows begin with a checkpoint's label, or with one behind `` at ``.
        notes: As :func:`grace_geom.records.used_images.unlike` finds them.
    """
    if not notes:
        return table
    rows = [[_marked(row[0], notes), *row[1:]] for row in table.rows]
    return replace(table, rows=rows, notes=[*table.notes, *(f"{MARK} {x}" for x in notes.values())])


def _marked(cell: Cell | str, notes: Mapping[str, str]) -> Cell | str:
    if isinstance(cell, str) and (cell in notes or cell.rpartition(" at ")[2] in notes):
        return f"{cell} {MARK}"
    return cell
