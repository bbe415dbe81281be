"""Tables beside class folders: ``train.csv`` and ``test.csv`` that list the pictures of each split.
The folders are the classes, whatever the tables call them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from grace_geom.data.label_tables import (
    LabelRow,
    LabelTable,
    columns_of,
    read_table,
    split_of,
    tables_in,
)
from grace_geom.data.listing import is_picture, visible
from grace_geom.data.text import shown, warn
from grace_geom.errors import UserError


def split_lists(top: Path) -> dict[str, LabelTable]:
    """The splits that tables beside class folders list, labelled by the folders' names; none where
    they list no two splits. What is left out is told.

    Raises:
        UserError: If a table gives the pictures of a folder several labels, or of two folders one;
            if two tables are for one split, or one lists a picture that lies in another split's
            folder.
    """
    read = {path: table for path in tables_in(top) if (table := _readable(path))}
    named = {path: _by_folder(table) for path, table in read.items()}
    found: dict[str, LabelTable] = {}
    for path, table in named.items():
        split = split_of(path.stem)
        parts = {split: table} if split else _by_column(table)
        for name, part in parts.items():
            if name in found:
                raise UserError(
                    f"{shown(path)} and {found[name].path.name} both list pictures for {name}: "
                    "remove one"
                )
            found[name] = part
    if any(split_of(name) for name in visible(top)[0]):  # the folders tell the splits
        return {}
    if len(found) == 1:
        (table,) = found.values()
        n = len(table.rows)
        warn(
            f"{shown(table.path)} is left out: it lists {n} picture{'s' * (n > 1)} and no other "
            "table lists another split; the class folders are read whole"
        )
        return {}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _readable(path: Path) -> LabelTable | None:
    """A table that lists pictures; otherwise it is told why not, where its name promises one."""
    try:
        table = read_table(path)
        why = ", ".join(map(shown, columns_of(path)[:8])) or "nothing"
        why = f"it has the columns {why}, expected file_name,label"
    except UserError as error:
        table, why = None, str(error)
    if table is None and path.stem.lower() != "metadata" and split_of(path.stem):
        warn(f"{shown(path)} is left out, the folders' names are the labels: {why}")
    return table


def _by_folder(table: LabelTable) -> LabelTable:
    """A table whose labels are the class folders that its pictures lie in.

    Raises:
        UserError: If its own labels are others, or it lists a picture for another split than that
            of its folder.
    """
    rows = []
    for row in table.rows:
        places = row.file.split("/")[:-1]
        lies_in = split_of(places[0]) if places else None
        for_split = split_of(table.path.stem) or row.split
        if len(places) > 1 and lies_in:
            if for_split not in (None, lies_in):
                raise UserError(
                    f"{shown(table.path)} lists {shown(row.file)} for {for_split}, which lies in "
                    f"{shown(places[0])}: remove the table, or move the picture"
                )
            places = places[1:]
        rows.append(replace(row, label=places[0] if places else ""))
    pairs = dict.fromkeys((row.label, old.label) for row, old in zip(rows, table.rows, strict=True))
    _one_to_one(table.path, list(pairs))
    return replace(table, rows=tuple(rows))


def _one_to_one(path: Path, pairs: list[tuple[str, str]]) -> None:
    for side, what in (
        (0, "the pictures in {} have the labels {}"),
        (1, "label {1} is on those in {0}"),
    ):
        seen: dict[str, tuple[str, str]] = {}
        for pair in pairs:
            if (first := seen.setdefault(pair[side], pair)) != pair:
                one = repr(pair[side])
                two = f"{first[1 - side]!r} and {pair[1 - side]!r}"
                said = what.format(one, two) if side == 0 else what.format(two, one)
                raise UserError(
                    f"{shown(path)} and the class folders disagree: {said}. Call the table "
                    "metadata.csv if it is right, or move it away if the folders are"
                )


def _by_column(table: LabelTable) -> dict[str, LabelTable]:
    by_split: dict[str, list[LabelRow]] = {}
    for row in table.rows:
        if row.split is not None:
            by_split.setdefault(row.split, []).append(row)
    return {split: replace(table, rows=tuple(rows)) for split, rows in by_split.items()}


def pictures_below(top: Path, folders: Iterable[str]) -> set[str]:
    """Every picture in the folders, by its path below ``top``; a folder that links back is read
    once."""
    found: set[str] = set()
    seen: set[Path] = set()
    left = list(folders)
    while left:
        here = left.pop()
        if (real := (top / here).resolve()) in seen:
            continue
        seen.add(real)
        inside, files = visible(top / here)
        found |= {f"{here}/{name}".lstrip("/") for name in files if is_picture(name)}
        left += [f"{here}/{name}".lstrip("/") for name in inside]
    return found


def tell_unlisted(top: Path, tables: Mapping[str, LabelTable], others: Iterable[str]) -> None:
    """Warn of pictures that stand in no table.

    Args:
        top: The folder of the tables.
        tables: By split, or ``all``.
        others: Folders that are read without a table.
    """
    others = set(others)
    folders, files = visible(top)
    listed = {row.file for table in tables.values() for row in table.rows}
    here = pictures_below(top, [name for name in folders if name not in others])
    here |= {name for name in files if is_picture(name)}
    left = sorted(here - listed)
    if not left:
        return
    homes = Counter(name.split("/")[0] for name in left if "/" in name)
    where = ", ".join(f"{shown(name)}: {n}" for name, n in homes.items())
    drawn = not {"test", "val"} & {*tables, *map(split_of, others)}
    lost = drawn and any(split_of(name) in ("test", "val") for name in homes)
    warn(
        f"{shown(top)}: {len(left)} pictures{f' ({where})' * bool(where)} stand in no row of the "
        "table and are left out" + "; the test images are drawn from those listed" * lost
    )
