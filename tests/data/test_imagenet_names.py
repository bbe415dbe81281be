"""ImageNet's classes are found by id or name wherever they stand in a head."""

import random
from functools import cache

import pytest

from grace_geom.data.imagenet_ids import subset, wnids
from grace_geom.data.imagenet_names import columns_for, normalised
from grace_geom.data.prompts import imagenet_class_names

HEADS = ("open_clip", "torchvision", "ids", "synsets", "underscores")


@cache
def heads() -> dict[str, tuple[str, ...]]:
    """The names of a head as each list gives them."""
    from timm.data import ImageNetInfo
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    info = ImageNetInfo("imagenet-1k")
    return {
        "open_clip": imagenet_class_names(),
        "torchvision": tuple(_IMAGENET_CATEGORIES),
        "ids": tuple(wnids()),
        "synsets": tuple(info.index_to_description(k) for k in range(1000)),
        "underscores": tuple(n.replace(" ", "_").upper() for n in imagenet_class_names()),
    }


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", [None, 0])
def test_columns_are_the_classes_that_they_stand_for(head, seed):
    order = list(range(1000))
    if seed is not None:
        random.Random(seed).shuffle(order)
    listed = heads()[head]
    names = tuple(listed[label] for label in order)
    columns, absent, how = columns_for(names, subset("imagenet-a"))
    assert not absent and how.startswith("by ")
    assert [order[c] for c in columns] == list(subset("imagenet-a"))


def test_other_names_match_nothing():
    columns, absent, how = columns_for(tuple(f"species {i}" for i in range(1000)), (6, 11))
    assert absent == [6, 11] and how == "" and set(columns) == {-1}


def test_a_name_that_two_classes_share_is_told_apart_by_the_usual_order_only():
    names = imagenet_class_names()
    label = names.index("missile")
    assert columns_for(names, (label,))[:2] == ((label,), [])
    assert columns_for(names[::-1], (label,))[1] == [label]


def test_spelling_does_not_count():
    assert normalised("Caf\u00e9_au-Lait") == normalised("cafe\u0301 au lait")
