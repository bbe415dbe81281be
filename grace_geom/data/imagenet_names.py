"""Which of ImageNet's classes a name stands for: WordNet ids, and the names that four public lists
give.

open_clip's list is a cleaned version of OpenAI's; torchvision's is the usual one of classifiers;
WordNet's synsets (as timm carries them) have every synonym. The same word may stand for different
classes in different lists ("crane", "maillot", "missile"), so a head is read by the list that has
most of its names.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.prompts import imagenet_class_names

Meaning = dict[str, frozenset[int]]
"""Labels that a normalised name may stand for."""


def normalised(name: str) -> str:
    """A class name without what spelling may change: case, underscores, hyphens, apostrophes,
    composed or decomposed letters.
    """
    text = unicodedata.normalize("NFC", name).casefold().replace("'", "").replace("’", "")
    return " ".join(re.sub(r"[_\-–/.\s]+", " ", text).split())


@functools.cache
def lists() -> dict[str, Meaning]:
    """The lists of names, each from a name to the labels that it has there."""
    from timm.data import ImageNetInfo  # seconds to import, seldom needed
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    info = ImageNetInfo("imagenet-1k")
    synsets = [info.index_to_description(label) for label in range(1000)]
    return {
        "WordNet id": _meaning([[wnid] for wnid in wnids()]),
        "open_clip's names": _meaning([[name] for name in imagenet_class_names()]),
        "torchvision's names": _meaning([[name] for name in _IMAGENET_CATEGORIES]),
        "WordNet's synsets": _meaning([[text] for text in synsets]),
        "WordNet's first names": _meaning([text.split(",")[:1] for text in synsets]),
        "WordNet's names": _meaning([text.split(",") for text in synsets]),
    }


def _meaning(names: Sequence[Sequence[str]]) -> Meaning:
    found: dict[str, set[int]] = {}
    for label, several in enumerate(names):
        for name in several:
            found.setdefault(normalised(name), set()).add(label)
    return {name: frozenset(labels) for name, labels in found.items()}


@functools.lru_cache(maxsize=8)
def labels_of(names: tuple[str, ...]) -> tuple[tuple[int | None, ...], str]:
    """The label among ImageNet's 1,000 that each name of a head stands for.

    Names of the list that has most of them come first, the other lists fill up. Where a name has
    several labels (open_clip has "missile" twice), the order of ImageNet tells them apart, if the
    whole head is in that order; else it stands for none.

    Args:
        names: Of a head's classes.

    Returns:
        A label for each, ``None`` where there is none or no single one; and how they were found,
        in words (``""`` where no name is ImageNet's).
    """
    short = [normalised(name) for name in names]
    known = lists()
    count = {title: sum(name in meaning for name in short) for title, meaning in known.items()}
    order = sorted(known, key=lambda title: -count[title])  # stable: ids first among equals
    if not count[order[0]]:
        return (None,) * len(names), ""
    meanings = [next((known[t][n] for t in order if n in known[t]), frozenset()) for n in short]
    any_list = [frozenset().union(*(known[t].get(n, frozenset()) for t in order)) for n in short]
    in_order = len(names) == len(wnids()) and all(
        label in meaning for label, meaning in enumerate(any_list)
    )
    if in_order:
        return tuple(range(len(names))), f"by {order[0]}"
    found = [next(iter(m)) if len(m) == 1 else None for m in meanings]
    return tuple(found), f"by {order[0]}"


def columns_for(
    names: tuple[str, ...], wanted: Sequence[int | tuple[int, ...]]
) -> tuple[tuple[int | tuple[int, ...], ...], list[int], str]:
    """Where a head has each of these labels.

    Args:
        names: Of the head's classes.
        wanted: Labels among ImageNet's 1,000, or groups of them of which the largest logit counts.

    Returns:
        The column of each, or the columns of a group; the labels that the head lacks or has twice;
        and how they were found, in words.
    """
    labels, how = labels_of(names)
    places: dict[int, list[int]] = {}
    for column, label in enumerate(labels):
        if label is not None:
            places.setdefault(label, []).append(column)
    absent: list[int] = []

    def place(label: int) -> int:
        """The one column of a label; -1, and noted, where it has none or several."""
        here = places.get(label, [])
        if len(here) != 1:
            absent.append(label)
            return -1
        return here[0]

    columns = tuple(
        place(item) if isinstance(item, int) else tuple(place(label) for label in item)
        for item in wanted
    )
    return columns, absent, how
