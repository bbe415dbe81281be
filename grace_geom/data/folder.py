"""``folder:DIR``: one folder of pictures a class, as ImageFolder has it, with or without
train/val/test above; or pictures whose labels stand in a table. ``csv:FILE``: such a table, whose
pictures may lie anywhere.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from grace_geom.data.base import ImageSet, digest_text
from grace_geom.data.captions import ALONE, caption_key, settled
from grace_geom.data.classes import CLASS_LISTS, WNID, Classes, classes_of, in_order
from grace_geom.data.label_tables import columns_of, read_table
from grace_geom.data.layout import EXPECTED, SplitFolder, divided, layout
from grace_geom.data.listing import Walk, is_picture, visible
from grace_geom.data.names import (
    Given,
    content_digest,
    existing,
    existing_file,
    parse_given,
    parse_lines,
    printable_path,
)
from grace_geom.data.pictures import EXTENSIONS, Files
from grace_geom.data.prompts import templates_for
from grace_geom.data.request import Request
from grace_geom.data.splits import Parts
from grace_geom.data.text import nfc, printable, read_text, shown
from grace_geom.errors import UserError


def parts(request: Request) -> Parts:
    """``DIR/train``, ``DIR/val`` and ``DIR/test`` where they hold class folders, or TRAIN+TEST;
    else DIR in one piece.

    Classes are those of ``train``, whichever part is read, so that labels mean the same everywhere.

    Raises:
        UserError: If DIR is laid out in no way that we know, or in two at once.
    """
    places = [printable_path(existing(request.located(name))) for name in request.names("dir")]
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is a file, not a folder of class folders")
    found = layout(places[0]) if len(places) == 1 else _two(layout, *places)
    first = next(iter(found.values()))
    classes = _classes(first, _lists_in(places[0], first.folder))
    return {
        name: functools.partial(_read, part, request.spec, classes, places[0].resolve().name)
        for name, part in found.items()
    }


def table_parts(request: Request) -> Parts:
    """The parts of a table of files and labels (its column ``split``, if there is one), or of
    TRAIN+TEST; relative files are named from the table's folder.

    Classes are those of ``train``, called as ``FILE`` minus its ending plus ``.classes.json``, or a
    class list in the table's folder, says.

    Raises:
        UserError: If a table is missing, or is none of files that are there and their labels.
    """
    places = [existing_file(request.located(name)) for name in request.names("file")]
    listed = functools.partial(_listed_parts, captions=request.captions)
    found = listed(places[0]) if len(places) == 1 else _two(listed, *places)
    first = next(iter(found.values()))
    own = places[0].with_suffix(".classes.json")
    classes = _classes(first, [own, *_lists_in(first.folder)])
    return {
        name: functools.partial(_read, part, request.spec, classes, places[-(name == "test")].stem)
        for name, part in found.items()
    }


def _listed_parts(path: Path, captions: bool) -> Mapping[str, SplitFolder]:
    """The parts of one table.

    Raises:
        UserError: If it has no columns of files and labels.
    """
    table = read_table(path, anywhere=True, captions=captions)
    if table is None:
        names = columns_of(path)
        columns = ", ".join(map(shown, names[:8]))
        held = f"has the columns {columns}" if columns else "has no rows"
        raise UserError(
            f"{shown(path)} {held}: expected one of files (file_name, path, image ...) and one of "
            "labels (label, class ...)" + (f"; {ALONE}" if caption_key(names) else "")
        )
    return divided(path.parent, table)


def _two(
    parts_of: Callable[[Path], Mapping[str, SplitFolder]], train: Path, test: Path
) -> dict[str, SplitFolder]:
    """The parts of TRAIN+TEST.

    Raises:
        UserError: If one of them has several parts itself.
    """
    found = {}
    for name, place in (("train", train), ("test", test)):
        own = parts_of(place)
        if len(own) > 1:
            raise UserError(
                f"{shown(place)} holds {', '.join(sorted(own))} itself: name the one that is meant"
            )
        found[name] = next(iter(own.values()))
    return found


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted: a class's label is its rank.

    Raises:
        UserError: If there is none.
    """
    names, files = visible(folder)
    if not names:
        loose = sum(map(is_picture, files))
        held = f"{loose} loose pictures" if loose else "no pictures"
        raise UserError(
            f"{shown(folder)} has no class folders ({held} in it): put each class into a folder of "
            f"its own. {EXPECTED}"
        )
    for name in names:
        if not printable(name):
            raise UserError(f"{shown(folder / name)}: the name is not UTF-8; rename the folder")
    return names


def read(
    folder: Path, spec: str, folders: list[str] | None = None, only: list[str] | None = None
) -> ImageSet:
    """Every picture under the class folders of ``folder``, sorted by class, then by name.

    Args:
        folder: Holds one folder a class; pictures may lie deeper.
        spec: For the record.
        folders: The class folders in label order, which name the classes; default: those that are
            here, called as a class list beside them says.
        only: Read these class folders and leave the others alone; default: all that are here.

    Raises:
        UserError: If a class folder is empty or unknown, or the class list does not fit the
            folders.
    """
    part = SplitFolder(folder)
    if folders is None:
        classes = _classes(part, _lists_in(folder))
    else:
        classes = Classes(tuple(folders), {nfc(name): i for i, name in enumerate(folders)})
    return _read(part, spec, classes, folder.resolve().name, only)


def _lists_in(*folders: Path) -> list[Path]:
    """Where class lists may lie, the first first."""
    return [folder / name for folder in folders for name in CLASS_LISTS]


def _classes(part: SplitFolder, places: list[Path]) -> Classes:
    """Labels and names of the classes of a part, from the first class list that is there.

    Raises:
        UserError: If the list does not fit the classes.
    """
    lists = [path for path in places if path.is_file()]
    given: Given | None = None
    if lists:
        parse = parse_given if lists[0].suffix == ".json" else _listed
        given = parse(read_text(lists[0]), shown(lists[0]))
    if part.table is None:
        keys = class_folders(part.folder)
    elif any(row.label for row in part.table.rows):
        keys = in_order(row.label for row in part.table.rows if row.label)
    else:  # captions alone: a list names classes for the head
        return Classes(tuple(given.values() if isinstance(given, dict) else given or ()), {})
    return classes_of(keys, given, shown(lists[0]) if lists else "", shown(places[0].parent))


def _listed(text: str, where: str) -> Given:
    return list(parse_lines(text, where))


def _read(
    part: SplitFolder, spec: str, classes: Classes, label: str, only: list[str] | None = None
) -> ImageSet:
    """The pictures of one part, with labels that ``classes`` gives them."""
    folder = part.folder
    names, labels, left = _from_table(part, classes) if part.table else _walk(folder, classes, only)
    said = {row.file: row.captions for row in part.table.rows} if part.table else {}
    found, captions = settled(
        labels, [said.get(name, ()) for name in names], lambda i: shown(folder / names[i])
    )
    kind, templates = templates_for(label)
    note = {
        "folder": str(folder),
        "files": len(names),
        "names_sha256": digest_text("\n".join(names)),
        "content": content_digest((name, folder / name) for name in names),
        "templates": kind,
    }
    if part.table is not None:
        note["table"] = str(part.table.path)
    if left:
        note["left_out"] = left
    keys = {label: key for key, label in classes.labels.items()}
    if keys and len(keys) == len(classes.names) and all(map(WNID.fullmatch, keys.values())):
        note["wnids"] = [keys[i] for i in range(len(keys))]
    reader = Files(str(folder), tuple(names))
    return ImageSet(
        label, spec, "all", found, classes.names, templates, reader, note, captions=captions
    )


Found = tuple[list[str], list[int | None], Mapping[str, int]]
"""File names, labels, and numbers of files that are left out by ending."""


def _walk(folder: Path, classes: Classes, only: list[str] | None) -> Found:
    """Pictures of the class folders."""
    walk = Walk(folder)
    by_label: dict[int, list[str]] = {}
    for name in only or class_folders(folder):
        label = classes.label(name, shown(folder / name))
        pictures = walk.pictures(name)
        if not pictures:
            raise UserError(
                f"{shown(folder / name)} holds no pictures ({', '.join(sorted(EXTENSIONS))}): fill "
                "or remove it"
            )
        by_label.setdefault(label, []).extend(pictures)  # NFC and NFD folders are one class
    doubles = walk.doubles()
    names = [name for label in sorted(by_label) for name in by_label[label] if name not in doubles]
    labels: list[int | None] = [
        label for label in sorted(by_label) for name in by_label[label] if name not in doubles
    ]
    return names, labels, walk.tell()


def _from_table(part: SplitFolder, classes: Classes) -> Found:
    """Pictures that a table lists, sorted by class, then by name; those without a label come
    first.
    """
    assert part.table is not None
    where = shown(part.table.path)
    rows = sorted(
        (classes.label(row.label, f"{where}: {row.label}") if row.label else -1, row.file)
        for row in part.table.rows
    )
    labels = [None if label < 0 else label for label, _ in rows]
    return [file for _, file in rows], labels, {}
