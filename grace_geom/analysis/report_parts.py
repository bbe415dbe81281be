"""Pieces of a report that all of its sections are made of: sentences, tables, pictures."""

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from grace_geom.analysis.drawing import shows_images
from grace_geom.tables import Cell, Table

COLOURS = 128
"""Of a packed picture of lines and words."""
WIDEST = 1600
"""Pixels of a picture that loses something; a report shows it on 980."""


def marked_up(sentence: str) -> str:
    """A sentence of plain text and names in Markdown's bold, for a page."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(sentence))


def table(table: Table) -> str:
    """A table for a page, its numbers to the right, its notes below."""
    heads = "".join(
        f'<th scope="col"{_side(i >= table.labels)}>{html.escape(name)}</th>'
        for i, name in enumerate(table.columns)
    )
    rows = "".join(f"<tr>{_cells(row, table.labels)}</tr>" for row in table.rows)
    title = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{notes}"
    )


def _cells(row: Sequence[Cell | str], labels: int) -> str:
    texts = [cell if isinstance(cell, str) else cell.full for cell in row]
    names = "".join(f'<th scope="row">{html.escape(text)}</th>' for text in texts[:labels])
    return names + "".join(
        f"<td{_side(True)}>{with_interval(text)}</td>" for text in texts[labels:]
    )


def _side(right: bool) -> str:
    return ' class="number"' if right else ""


def with_interval(text: str) -> str:
    """``71.3 [69.2, 73.3]`` with the interval smaller than the number."""
    return re.sub(r" (\[[^\]]*\])", r' <span class="interval">\1</span>', html.escape(text))


def packed_picture(file: Path) -> str:
    """A PNG as WebP in base64, a quarter of its size: one of lines and words is cut to
    :data:`COLOURS`, which it hardly exceeds, or, where that is smaller, to :data:`WIDEST` pixels
    and what the eye sees. One that shows images keeps every pixel.
    """
    with Image.open(file, formats=("PNG",)) as picture:
        return packed(picture, exact=shows_images(file))


def packed(picture: Image.Image, exact: bool) -> str:
    """The same of a picture that is open."""
    colours = picture.convert("RGB")
    if exact:
        return base64.b64encode(_webp(colours, lossless=True, quality=60)).decode("ascii")
    few = colours.quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
    tries = [_webp(few, lossless=True, quality=60)]
    if colours.width > WIDEST:  # clouds of points have too many colours for that
        height = round(colours.height * WIDEST / colours.width)
        small = colours.resize((WIDEST, height), Image.Resampling.LANCZOS)
        tries.append(_webp(small, lossless=False, quality=70))
    return base64.b64encode(min(tries, key=len)).decode("ascii")


def _webp(picture: Image.Image, **how: Any) -> bytes:
    found = io.BytesIO()
    picture.save(found, "webp", method=4, **how)
    return found.getvalue()
