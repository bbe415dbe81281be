"""Which classes ImageNet and its relatives have: WordNet ids by label, and the subsets of A, R and
ObjectNet.

The lists are facts of the data sets' authors (Hendrycks et al. 2021a, 2021b; Barbu et al. 2019) in
a data file.
"""

import functools
import json
from pathlib import Path
from typing import Any


@functools.cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        Path(__file__).with_name("imagenet_ids.json").read_text(encoding="utf-8")
    )
    return content


def wnids() -> tuple[str, ...]:
    """The 1,000 WordNet ids, sorted: a class's label is its rank (the devkit's 1 to 1000 is another
    order).
    """
    return tuple(_file()["wnids"])


def subset(name: str) -> tuple[int, ...]:
    """The 200 labels of ``imagenet-a`` (A-Plus has the same) or ``imagenet-r``, increasing."""
    return tuple(_file()[name])


def objectnet() -> dict[str, tuple[int, ...]]:
    """The 113 of ObjectNet's 313 folders that overlap with ImageNet, sorted, and the labels that
    each stands for.
    """
    return {folder: tuple(ids) for folder, ids in sorted(_file()["objectnet"].items())}
