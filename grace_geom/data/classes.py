"""Which label a class folder (or a label in a table) has, and what its class is called."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.names import Given, check_names, read_class_names
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.data.text import nfc
from grace_geom.errors import UserError, nearest

WNID = re.compile(r"n\d{8}")
NAMED_WNID = re.compile(r"n\d{8}[-_. ]+(?P<name>\S.*)")


CLASS_LISTS = ("classes.json", "classnames.txt")


def class_list(of: Path) -> tuple[str, ...]:
    """Class names in label order for arrays that hold numbers only: from ``NAME.classes.json``
    beside the file, else ``classes.json`` or ``classnames.txt`` in its folder.

    Raises:
        UserError: If there is none of them, or it holds something else.
    """
    own = of.with_suffix(".classes.json")
    places = [own, *(of.parent / name for name in CLASS_LISTS)]
    found = next((path for path in places if path.is_file()), own)
    return read_class_names(found, of)


@dataclass(frozen=True)
class Classes:
    """Classes of a folder.

    Attributes:
        names: Class names in label order.
        labels: NFC folder name (or label in a table) -> label.
    """

    names: tuple[str, ...]
    labels: dict[str, int]

    def label(self, key: str, where: str) -> int:
        """The label of a folder.

        Raises:
            UserError: If the training part has no such class; ``where`` names the place.
        """
        try:
            return self.labels[nfc(key)]
        except KeyError:
            raise UserError(
                f"{where} is a class that the training folder does not have; "
                f"{nearest(nfc(key), self.labels)}"
            ) from None


def in_order(keys: Iterable[str]) -> list[str]:
    """Folder names in label order: by number where all are numbers, else as torchvision's
    ImageFolder sorts; composed and decomposed accents are one name.
    """
    unique = {nfc(key) for key in keys}
    if all(key.isascii() and key.isdigit() for key in unique):
        return sorted(unique, key=lambda key: (int(key), key))
    return sorted(unique)


def classes_of(keys: Iterable[str], given: Given | None, where: str, home: str) -> Classes:
    """Labels and names of classes.

    Args:
        keys: Folder names, or labels in a table.
        given: A list of names in label order, or folder name -> class name; ``None``: the folder
            names, except that WordNet ids are called by ImageNet's class names.
        where: Names the class list in errors.
        home: Where a class list could be written.

    Raises:
        UserError: If the names do not fit the folders, or could fit in more than one way.
    """
    folders = in_order(keys)
    labels = {key: label for label, key in enumerate(folders)}
    if given is None:
        return Classes(check_names([spoken(key, home) for key in folders], home), labels)
    if isinstance(given, dict):
        missing = [key for key in folders if key not in given]
        if missing:
            raise UserError(f"{where} has no name for {', '.join(map(repr, missing[:5]))}")
        return Classes(check_names([given[key] for key in folders], where), labels)
    return Classes(tuple(given), _by_list(folders, given, where))


def _by_list(folders: list[str], names: Sequence[str], where: str) -> dict[str, int]:
    """Folder -> label for a plain list of names: by name where the list names the folders, by
    number where they are numbers, else by rank.
    """
    index = {_loose(name): label for label, name in enumerate(names)}
    found = {key: index[_loose(key)] for key in folders if _loose(key) in index}
    if len(found) == len(folders) and len(index) == len(names):
        return {nfc(name): label for label, name in enumerate(names)} | found
    remedy = f'write {where} as {{"folder": "class name", ...}}'
    if all(key.isascii() and key.isdigit() for key in folders):
        numbers = [int(key) for key in folders]
        if len(set(numbers)) == len(numbers) and numbers[0] == 0 and numbers[-1] < len(names):
            return dict(zip(folders, numbers, strict=True))
        if numbers != list(range(1, len(names) + 1)):
            raise UserError(
                f"{where} has {len(names)} class names for {len(folders)} class folders, numbered "
                f"{folders[0]} to {folders[-1]}: {remedy}"
            )
    if len(names) != len(folders):
        raise UserError(f"{where} has {len(names)} class names for {len(folders)} class folders")
    ranks = {key: rank for rank, key in enumerate(folders)}
    moved = next((key for key in found if found[key] != ranks[key]), None)
    if moved is not None:
        raise UserError(
            f"{where} lists {moved!r} as number {found[moved]}, but the folder {moved!r} is number "
            f"{ranks[moved]} of the sorted ones: {remedy}"
        )
    if found.keys() != ranks.keys() and sorted(folders, key=_natural) != folders:
        raise UserError(
            f"{where} is a list, and the folders sort in two ways ({folders[0]}, {folders[1]}, ... "
            f"or by their numbers): {remedy}"
        )
    return ranks


def _loose(name: str) -> str:
    """A name as far as case and separators do not matter."""
    return re.sub(r"[\s_-]+", " ", nfc(name).casefold()).strip()


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which ``class_2`` comes before ``class_10``."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(p), "") if p.isascii() and p.isdigit() else (-1, p) for p in pieces]


def spoken(key: str, home: str) -> str:
    """A folder's name as a sentence can hold it: WordNet ids are no words.

    Args:
        key: Of the class.
        home: The folder in which a class list could be written.

    Raises:
        UserError: For a WordNet id that ImageNet-1k does not have.
    """
    if WNID.fullmatch(key):
        known = dict(zip(wnids(), imagenet_class_names(), strict=True))
        if key not in known:
            raise UserError(
                f"{key} is a WordNet id that ImageNet-1k does not have: name the classes in "
                f'{home}/classes.json, {{"{key}": "class name", ...}}'
            )
        return known[key]
    named = NAMED_WNID.fullmatch(key)
    return named["name"].replace("_", " ") if named else key
