"""Captions: sentences of an image's own, in shards and tables, for contrastive training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grace_geom.data.text import nfc
from grace_geom.data.transforms import ATTEMPTS, uniforms
from grace_geom.errors import UserError

Captions = tuple[str, ...]

NAMES = ("caption", "captions", "text")
"""Keys in a ``.json`` member, and columns of a table; the first that is there counts."""

ALONE = (
    "a caption alone is enough to train flyp and adv-flyp only; to measure accuracy, name data "
    "with labels (--data, --ood)"
)
"""What is said to those who need labels where there are captions."""

WITHOUT = "or train without captions (--pair-with prompt)"
"""The way out where captions are not what they should be."""


def caption_key(names: Sequence[str]) -> str | None:
    """The key or column that holds captions, as it is written; ``None``: there is none."""
    plain = {name.strip().lower(): name for name in names}
    return next((plain[name] for name in NAMES if name in plain), None)


def captions_of(value: Any, where: str) -> Captions:
    """Captions in a text, one a line, or in a list of texts; empty ones do not count.

    Raises:
        UserError: If it is neither; ``where`` names the place.
    """
    texts = value if isinstance(value, list) else [value]
    texts = [text for text in texts if text is not None]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(
            f"{where}: {repr(value)[:40]} is no caption: write a text or a list of texts, {WITHOUT}"
        )
    lines = (line.strip() for text in texts for line in nfc(text).split("\n"))
    return tuple(line for line in lines if line)


def caption_in(record: Mapping[str, Any], where: str) -> Captions:
    """Captions of a ``.json`` member or a row of a table; none where no key holds any.

    Raises:
        UserError: As :func:`captions_of`.
    """
    key = caption_key(list(record))
    return captions_of(record[key], f"{where}, {key}") if key is not None else ()


def settled(
    labels: Sequence[int | None], captions: Sequence[Captions], called: Callable[[int], str]
) -> tuple[np.ndarray, tuple[Captions, ...] | None]:
    """Labels and captions of a data set: each image has them, or none has.

    Args:
        labels: One an image; ``None`` where only a caption stands.
        captions: Those of each image.
        called: What messages call an image.

    Returns:
        ``(N,)`` int64, -1 throughout where there are captions alone; the captions, ``None`` where
        no image has any.

    Raises:
        UserError: Naming the first image that lacks what others have.
    """
    for what, has in (
        ("label", [label is not None for label in labels]),
        ("caption", [bool(some) for some in captions]),
    ):
        if any(has) and not all(has):
            without = len(has) - sum(has)
            raise UserError(
                f"{called(has.index(False))} has no {what}, and {without:,} of {len(has):,} images "
                f"have none: give each image one" + (f", {WITHOUT}" if what == "caption" else "")
            )
    found = np.array([-1 if label is None else label for label in labels], dtype=np.int64)
    return found, tuple(captions) if captions and captions[0] else None


def drawn(
    captions: Sequence[Captions], seed: int, epoch: int, positions: np.ndarray
) -> tuple[str, ...]:
    """A caption for each image at ``positions``, drawn from its own: a function of (seed, epoch,
    position), as crops are.
    """
    rows = [captions[i] for i in positions.tolist()]
    if all(len(row) == 1 for row in rows):
        return tuple(row[0] for row in rows)
    u = uniforms(seed, epoch, positions, 2 * ATTEMPTS + 3)[:, -1]  # the others draw the crops
    return tuple(row[int(x * len(row))] for row, x in zip(rows, u.tolist(), strict=True))
