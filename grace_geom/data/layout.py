"""How the pictures in a folder are laid out: class folders, splits above them, a table of labels;
anything else is refused with the layout expected.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grace_geom.data.label_tables import LabelTable, columns_of, read_table, split_of, tables_in
from grace_geom.data.listing import holds_pictures, is_picture, visible
from grace_geom.data.split_lists import split_lists, tell_unlisted
from grace_geom.data.text import shown, warn
from grace_geom.errors import UserError

EXPECTED = (
    "Expected: DIR/<class>/*.jpg, or DIR/train/<class>/*.jpg with DIR/val or DIR/test beside it, or "
    "DIR/metadata.csv with the columns file_name,label"
)


@dataclass(frozen=True)
class SplitFolder:
    """The pictures of one split.

    Attributes:
        folder: Holds one folder a class, or the files that the table names.
        table: Where the labels stand; ``None``: the folders' names are the labels.
    """

    folder: Path
    table: LabelTable | None = None


def layout(top: Path) -> Mapping[str, SplitFolder]:
    """The splits of a folder (``train``, ``val``, ``test``), or ``all`` where it is in one piece.

    A folder that holds nothing but one folder stands for that one.

    Raises:
        UserError: If it could mean two things, or none; if there is one class only.
    """
    folders, files = visible(top)
    if found := _by_table(top, folders, files):
        return found
    split_names = {name: split for name in folders if (split := split_of(name))}
    inner = {name: split for name, split in split_names.items() if _has_inside(top / name)}
    if inner:
        _nothing_else(top, folders, split_names, inner)
        return {split: _unwrapped(top / name, split) for name, split in _once(top, inner).items()}
    if folders and len(split_names) == len(folders) and holds_pictures(top):
        raise UserError(
            f"{shown(top)}: {', '.join(map(shown, folders))} hold pictures, but no class folders. "
            + EXPECTED
        )
    loose = sum(map(is_picture, files))
    if len(folders) == 1 and not loose and _has_inside(top / folders[0]):
        return layout(top / folders[0])
    if not folders:
        held = f"{loose} loose pictures" if loose else "no pictures"
        raise UserError(
            f"{shown(top)} has no class folders ({held} in it): put each class into a folder of its "
            f"own. {EXPECTED}"
        )
    _not_deeper(top, folders)
    return {"all": SplitFolder(top)}


def _has_inside(folder: Path) -> bool:
    """Whether a folder holds folders, or a table of labels: then it is no class."""
    return bool(visible(folder)[0]) or any(map(_is_table, tables_in(folder)))


def _is_table(path: Path) -> bool:
    """Whether a file lists pictures that are there."""
    try:
        return read_table(path) is not None
    except UserError:  # it lists something else
        return False


def _unwrapped(folder: Path, split: str) -> SplitFolder:
    """The one part of a split's folder.

    Raises:
        UserError: If that holds other splits itself.
    """
    found = layout(folder)
    if len(found) > 1 or next(iter(found)) not in (
        "all",
        split,
    ):  # train/train is usual in archives
        raise UserError(
            f"{shown(folder)} holds {', '.join(sorted(found))} itself: name the folders that are "
            f"meant, folder:TRAIN+TEST. {EXPECTED}"
        )
    return next(iter(found.values()))


def _once(top: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Folder name -> split, in the order train, val, test.

    Raises:
        UserError: If two folders are one split.
    """
    by_split: dict[str, str] = {}
    for name, split in names.items():
        if split in by_split:
            raise UserError(
                f"{shown(top)} holds {shown(by_split[split])} and {shown(name)}, both for {split}: "
                "remove one, or name the folders that are meant, folder:TRAIN+TEST"
            )
        by_split[split] = name
    return {by_split[split]: split for split in ("train", "val", "test") if split in by_split}


def _nothing_else(
    top: Path, folders: list[str], split_names: Mapping[str, str], inner: Mapping[str, str]
) -> None:
    """Refuse folders of pictures beside the splits, as these could then be classes themselves."""
    for name in folders:
        if name in inner or not holds_pictures(top / name):
            continue
        if name not in split_names:
            raise UserError(
                f"{shown(top)} holds {shown(next(iter(inner)))} with class folders, and beside it "
                f"{shown(name)} with pictures: move that away, or name the folders that are meant, "
                "folder:TRAIN or folder:TRAIN+TEST"
            )
        warn(f"{shown(top / name)} is left out: its pictures lie in no class folders")


def _not_deeper(top: Path, folders: list[str]) -> None:
    """Refuse a layer above the classes (domains, or classes above splits): its folders would become
    the classes.
    """
    common: set[str] | None = None
    for name in folders:
        here = top / name
        inside, files = visible(here)
        while len(inside) == 1 and not any(map(is_picture, files)):
            here /= inside[0]
            inside, files = visible(here)
        if any(map(is_picture, files)) or not inside:
            return
        common = set(inside) if common is None else common & set(inside)
    shared = sorted(common or ())
    splits = [name for name in shared if split_of(name)]
    if len(folders) > 1 and splits:
        raise UserError(
            f"{shown(top)}: each folder holds {' and '.join(map(shown, splits))}; splits belong "
            f"above the classes. {EXPECTED}"
        )
    if len(folders) > 1 and len(shared) > 1:
        raise UserError(
            f"{shown(top)}: each folder holds the same folders ({', '.join(map(shown, shared[:4]))}"
            f"{', ...' * (len(shared) > 4)}), which look like the classes: name one of them, "
            f"folder:{shown(top / folders[0])}. {EXPECTED}"
        )


def _by_table(top: Path, folders: list[str], files: list[str]) -> dict[str, SplitFolder]:
    """The parts that tables in the folder list; none where the pictures lie in class folders, or no
    table speaks of them.

    Raises:
        UserError: If the pictures lie in no class folders and a table is there that cannot be read.
    """
    paths = tables_in(top)
    if not paths:
        return {}
    if not _is_flat(top, folders, files):  # the folders are the labels, but for metadata.csv
        paths = [p for p in paths if p.stem.lower() == "metadata" and _is_table(p)]
        if not paths:
            return _of_class_folders(top)
    read = {path: table for path in paths if (table := read_table(path)) is not None}
    for path in paths:
        if path not in read:
            columns = ", ".join(map(shown, columns_of(path)[:8])) or "nothing"
            told = f"{shown(path)} has the columns {columns}, expected file_name,label"
            if not read:
                raise UserError(f"{told}. {EXPECTED}")
            warn(f"{told}: it is left out")
    parts = [path for path in read if split_of(path.stem)]
    if parts:
        names = _once(top, {path.name: split_of(path.stem) or "" for path in parts})
        found = {split: SplitFolder(top, read[top / name]) for name, split in names.items()}
    elif len(read) > 1:
        raise UserError(
            f"{shown(top)} holds {' and '.join(path.name for path in read)}, both with labels: "
            "remove one"
        )
    else:
        found = divided(top, next(iter(read.values())))
    return _with_others(top, folders, found)


def _of_class_folders(top: Path) -> dict[str, SplitFolder]:
    """The splits of class folders that tables beside them list."""
    lists = split_lists(top)
    if lists:
        tell_unlisted(top, lists, ())
    return {split: SplitFolder(top, table) for split, table in lists.items()}


def _with_others(
    top: Path, folders: list[str], found: dict[str, SplitFolder]
) -> dict[str, SplitFolder]:
    """The parts that a table lists, and those of folders named for a split that it does not speak
    of, where these have labels of their own. Pictures in neither are told.
    """
    tables = {split: part.table for split, part in found.items() if part.table is not None}
    named = {row.file.split("/")[0] for table in tables.values() for row in table.rows}
    silent = {
        split: name
        for name in folders
        if name not in named and (split := split_of(name)) and split not in found
        if split != "train" and _has_inside(top / name) and holds_pictures(top / name)
    }
    if silent and "all" in found:
        found = {"train": found["all"]}
    found = found | {split: _unwrapped(top / name, split) for split, name in silent.items()}
    tell_unlisted(top, tables, silent.values())
    return {split: found[split] for split in ("all", "train", "val", "test") if split in found}


def _is_flat(top: Path, folders: list[str], files: list[str]) -> bool:
    """Whether no folder here is one of class folders: pictures lie loose, or in ``images/``, or in
    the splits' folders.
    """
    if any(map(is_picture, files)):
        return True
    holders = [name for name in folders if holds_pictures(top / name)]
    plain = [name for name in holders if not visible(top / name)[0]]
    return len(plain) == len(holders) and (
        len(holders) == 1 or all(split_of(name) for name in holders)
    )


def divided(top: Path, table: LabelTable) -> dict[str, SplitFolder]:
    """One table's parts, by its column ``split``, or by the splits' folders that its files are
    in."""
    by_row = [row.split for row in table.rows]
    if None in by_row:
        by_row = [
            split_of(row.file.split("/")[0]) if "/" in row.file else None for row in table.rows
        ]
    if None in by_row:
        return {"all": SplitFolder(top, table)}
    return {
        split: SplitFolder(top, LabelTable(table.path, tuple(rows)))
        for split in ("train", "val", "test")
        if (rows := [r for r, of in zip(table.rows, by_row, strict=True) if of == split])
    }
