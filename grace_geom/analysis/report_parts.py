"""Pieces of a report that all of its sections are made of: sentences, tables, pictures."""

import base64
import html
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from grace_geom import terminal
from grace_geom.analysis.drawing import shows_images
from grace_geom.plots import cells, export, units
from grace_geom.plots.interactive import narrow_of_page
from grace_geom.tables import MISSING, Cell, Table

COLOURS = 128
"""Of a packed picture of lines and words."""
WIDEST = 1600
"""Pixels of a picture that loses something; a report shows it on 980."""
TELEPHONE = cells.NARROW + 70
"""Pixels of a figure for a telephone, with its labels, in letters of 12."""
NARROW_SCREEN = "screen and (max-width: 640px)"
"""Where that is shown."""
TELEPHONE_DPI = 200
"""More dots of the picture than a telephone has pixels, which are smaller than a letter."""


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
    labels = {
        cell if isinstance(cell, str) else cell.full for row in table.rows for cell in row[:1]
    }
    notes = "".join(
        f'<p class="note">{html.escape(as_sentence(printed(note), labels))}</p>'
        for note in table.notes
    )
    return (
        f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{notes}"
    )


def _cells(row: Sequence[Cell | str], labels: int) -> str:
    texts = [cell if isinstance(cell, str) else cell.full for cell in row]
    names = "".join(f'<th scope="row">{html.escape(text)}</th>' for text in texts[:labels])
    return names + "".join(
        f"<td{_side(True)}>{with_interval(printed(text))}</td>" for text in texts[labels:]
    )


def printed(text: str) -> str:
    """With true minus signs, and a longer dash where there is no number."""
    return re.sub(
        r"(?<![\w.\-])-(?=[\d.∞])", "\u2212", re.sub(rf"^{MISSING}(?=[⁰¹²³⁴-⁹ ]|$)", "–", text)
    )


def as_sentence(note: str, labels: Collection[str] = ()) -> str:
    """With a capital, where it begins with a word that is not one of ``labels``."""
    word = re.match(r"[a-z]{2,}(?![\w\-/=])", note)
    return note[:1].upper() + note[1:] if word and word[0] not in labels else note


def _side(right: bool) -> str:
    return ' class="number"' if right else ""


def with_interval(text: str) -> str:
    """``71.3 [69.2, 73.3]`` with the interval smaller than the number."""
    return re.sub(r" (\[[^\]]*\])", r' <span class="interval">\1</span>', html.escape(text))


def picture(file: Path, alt: str) -> str:
    """A PNG of an analysis for a page, and the same figure as its interactive page has it for a
    telephone, where that is narrower: letters stay as large as those around it.

    Args:
        file: The PNG.
        alt: What it shows, as plain text.
    """
    kind = "photo" if shows_images(file) else "chart"
    data, small = packed_picture(file), _narrow(file)
    said = html.escape(alt, quote=True)
    shown = f'<img class="{kind}" alt="{said}" src="data:image/webp;base64,{data}">'
    if not small:
        return shown
    source = f'<source media="{NARROW_SCREEN}" srcset="data:image/webp;base64,{small}">'
    return f"<picture>{source}{shown}</picture>"


def _narrow(file: Path) -> str:
    """The picture for a telephone, in base64; empty where the figure has no such form."""
    page = file.with_suffix(".html")
    figure = narrow_of_page(page) if page.is_file() else None
    if figure is None:
        return ""
    inches = TELEPHONE * units.POINTS / 72
    try:
        drawn = export.printed(figure, "png", inches, dpi=TELEPHONE_DPI)
    except ValueError as error:  # the wide picture says the same in smaller letters
        terminal.say(f"warning: {file.stem} has no form for a telephone in the report: {error}")
        return ""
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as picture:
        if shows_images(file):
            lossy = _webp(picture.convert("RGB"), lossless=False, quality=85)
            return base64.b64encode(lossy).decode("ascii")
        return packed(picture, exact=False)


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
