"""A contact sheet: some pictures of every set, a row each, to see what the benchmark asks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from grace_geom.data.shapes.noise import SIDE
from grace_geom.data.shapes.sets import ids_of, render
from grace_geom.files import atomic_write

NAMES = (
    "shapes",
    "shapes:v2",
    "shapes:sketch",
    "shapes:rendition",
    "shapes:corrupt",
    "shapes:hard",
)
_GAP, _MARGIN, _TEXT = 2, 78, 12


def contact_sheet(
    path: Path | str, names: Sequence[str] = NAMES, columns: int = 12, scale: int = 2
) -> Path:
    """Write a PNG with a labelled row of test pictures for each set.

    Args:
        path: The file.
        names: Sets, from top to bottom.
        columns: Pictures a row; twelve shows every class of the shape sets once.
        scale: Whole pixels a pixel.
    """
    cell = SIDE * scale + _GAP
    sheet = Image.new("RGB", (_MARGIN + columns * cell + _GAP, len(names) * cell + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT)
    for row, name in enumerate(names):
        top = row * cell + _GAP
        pen.text(
            (6, top + (cell - _TEXT) // 2 - 2),
            name.partition(":")[2] or "ID",
            fill="black",
            font=font,
        )
        for column, picture in enumerate(_pick(name, columns)):
            tile = Image.fromarray(picture).resize((SIDE * scale,) * 2, Image.Resampling.NEAREST)
            sheet.paste(tile, (_MARGIN + column * cell, top))
    with atomic_write(path) as file:
        sheet.save(file, format="PNG", optimize=True)
    return Path(path)


def _pick(name: str, columns: int) -> np.ndarray:
    """The first picture of each class in turn, as far as the set has them."""
    ids = ids_of(name, "test")[: 40 * columns]
    images, labels = render(name, "test", ids)
    order = np.argsort(_occurrence(labels) * (labels.max() + 1) + labels, kind="stable")
    return images[order[:columns]]


def _occurrence(labels: np.ndarray) -> np.ndarray:
    """How often each label came before."""
    return np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
