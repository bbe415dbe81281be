"""Pieces of a report that all of its sections are made of: sentences, tables, pictures."""

import base64
import html
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from grace_geom import terminal
from grace_geom.analysis.drawing import PAGE, shows_images
from grace_geom.analysis.report_columns import is_short, kept, rest
from grace_geom.plots import cells, export, units
from grace_geom.plots.compose import headed
from grace_geom.plots.interactive import figure_of_page, narrow_of_page
from grace_geom.plots.style import unbroken
from grace_geom.tables import MISSING, Cell, Table

COLOURS = 240
"""Of a packed picture of lines and words."""
NEAR = 30.0
"""Distance of two colours, of 255 in each of red, green and blue, of which one will do; what they
differ in hue counts :data:`HUE` times, as bands are pale.
"""
HUE = 2.0
OFTEN = 2e-3
"""Share of a picture that keeps its colour however near another is."""
SMOOTH = 0.1
"""Share of a picture in rarer colours than those, from which it is a smooth one."""
DPI = 200
"""Dots an inch of a picture of lines and words: 1400 pixels, which a report shows on 980."""
TELEPHONE = cells.NARROW + 70
"""Pixels of a figure for a telephone, with its labels, in letters of 12."""
NARROW_SCREEN = "screen and (max-width: 640px)"
"""Where that is shown."""
TELEPHONE_DPI = 200
"""More dots of the picture than a telephone has pixels, which are smaller than a letter."""


def marked_up(sentence: str) -> str:
    """A sentence of plain text and names in Markdown's bold, for a page."""
    text = html.escape(together(sentence))
    return re.sub(r"\*\*(.+?)\*\*", r'<strong class="name">\1</strong>', text)


def together(text: str) -> str:
    """Plain text whose lines break within no number with its error, interval or equation."""
    text = unbroken(text).replace(" ± ", "\u00a0±\u00a0")
    return re.sub(r"\[[^\[\]]*\d\]", lambda m: m[0].replace(" ", "\u00a0"), text)


def table(table: Table) -> str:
    """A table for a page, its numbers to the right, its notes below; the columns that a telephone
    has no room for stand folded below it there.
    """
    about = together(as_sentence(table.about))
    title = html.escape(table.title)
    title += f'<span class="about">{html.escape(about)}</span>' if about else ""
    title = f"<caption>{title}</caption>" if title else ""
    labels = {
        cell if isinstance(cell, str) else cell.full for row in table.rows for cell in row[:1]
    }
    notes = "".join(
        f'<p class="note">{_lowered(together(as_sentence(printed(note), labels)))}</p>'
        for note in table.notes
    )
    shown = kept(table)
    more = ""
    if shown < len(table.columns):
        names = "; ".join(map(_head, table.columns[shown:]))
        more = f'<details class="few"><summary>More columns: {names}</summary>'
        more += f"{_grid(rest(table, shown))}</details>"
    return f"{_grid(table, title, shown)}{more}{notes}"


def _grid(table: Table, caption: str = "", shown: int | None = None) -> str:
    """Rows and columns, of which a telephone shows so many; default: all."""
    there = range(len(table.columns))
    most = len(there) if shown is None else shown
    sides = [_side(i >= table.labels, far=i >= most) for i in there]
    heads = "".join(
        f'<th scope="col"{side}>{_head(name)}</th>'
        for side, name in zip(sides, table.columns, strict=True)
    )
    rows = "".join(f"<tr>{_cells(row, table.labels, sides)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0"><table>{caption}<thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _head(name: str) -> str:
    return _lowered(together(as_sentence(name)))


def _lowered(head: str) -> str:
    """``λ_min``, ``‖W_l‖_F`` and the like in HTML, with what is lowered."""
    return re.sub(r"(?<=[λ‖δW])_([A-Za-z]+(,\d+)?)", r"<sub>\1</sub>", html.escape(head))


def _cells(row: Sequence[Cell | str], labels: int, sides: Sequence[str]) -> str:
    texts = [cell if isinstance(cell, str) else cell.full for cell in row]
    names = "".join(f"{row_head(text)}{html.escape(text)}</th>" for text in texts[:labels])
    return names + "".join(
        f"<td{side}>{with_interval(printed(text))}</td>"
        for side, text in zip(sides[labels:], texts[labels:], strict=True)
    )


def row_head(name: str) -> str:
    """The tag of the cell with a name, which stays in one line where it is short."""
    side = ' class="short"' if is_short(name) else ""
    return f'<th scope="row"{side}>'


def printed(text: str) -> str:
    """With true minus signs, and a longer dash where there is no number."""
    return re.sub(
        r"(?<![\w.\-])-(?=[\d.∞])", "\u2212", re.sub(rf"^{MISSING}(?=[⁰¹²³⁴-⁹ ]|$)", "–", text)
    )


def as_sentence(note: str, labels: Collection[str] = ()) -> str:
    """With a capital, where it begins with a word that is not one of ``labels``."""
    word = re.match(r"[a-z]{2,}(?![\w\-/=])", note)
    return note[:1].upper() + note[1:] if word and word[0] not in labels else note


def _side(right: bool, far: bool = False) -> str:
    return f' class="number{" far" * far}"' if right else ""


def with_interval(text: str) -> str:
    """``71.3 [69.2, 73.3]`` with the interval smaller than the number."""
    return re.sub(r" (\[[^\]]*\])", r' <span class="interval">\1</span>', html.escape(text))


def picture(file: Path, alt: str, folded: bool = False) -> str:
    """A figure of an analysis as a picture without its title, and the same as its interactive page
    has it for a telephone, where that is narrower: letters stay as large as those around it.

    Args:
        file: Its PNG, which is taken as it is where no page beside it has the figure.
        alt: What it shows, as plain text.
        folded: It stands behind a line: there is one picture, which a telephone moves sideways.
    """
    kind = "photo" if shows_images(file) else "chart"
    data, small = _wide(file), "" if folded else _narrow(file)
    said = html.escape(alt, quote=True)
    shown = f'<img class="{kind}" alt="{said}" src="data:image/webp;base64,{data}">'
    if folded:
        return f'<div class="fit" tabindex="0">{shown}</div>'
    if not small:
        return shown
    source = f'<source media="{NARROW_SCREEN}" srcset="data:image/webp;base64,{small}">'
    return f"<picture>{source}{shown}</picture>"


def untitled(figure: go.Figure) -> go.Figure:
    """The same on the ground of the page, and as much lower as the title is high."""
    figure.update_layout(paper_bgcolor="rgba(0,0,0,0)")
    text, top = figure.layout.title.text, figure.layout.margin.t
    if text and top:
        height = headed(1 + text.count("<br>"))
        figure.update_layout(
            title=None, margin_t=top - height, height=figure.layout.height - height
        )
    return figure


def _wide(file: Path) -> str:
    """The picture for a desktop, in base64, drawn anew: a smaller copy of the PNG has blurred
    letters, and more colours.
    """
    page, exact = file.with_suffix(".html"), shows_images(file)
    if not page.is_file():
        return packed_picture(file)
    try:
        dots = export.DPI if exact else DPI
        drawn = export.printed(untitled(figure_of_page(page)), "png", PAGE, dpi=dots)
    except ValueError as error:  # it has its title twice then
        terminal.say(f"warning: {error}; the report has its picture")
        return packed_picture(file)
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as picture:
        return packed(picture, exact)


def _narrow(file: Path) -> str:
    """The picture for a telephone, in base64; empty where the figure has no such form."""
    page = file.with_suffix(".html")
    figure = narrow_of_page(page) if page.is_file() else None
    if figure is None:
        return ""
    inches = TELEPHONE * units.POINTS / 72
    try:
        drawn = export.printed(untitled(figure), "png", inches, dpi=TELEPHONE_DPI)
    except ValueError as error:  # the wide picture says the same in smaller letters
        terminal.say(f"warning: {file.stem} has no form for a telephone in the report: {error}")
        return ""
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as picture:
        if shows_images(file):
            lossy = _webp(picture.convert("RGB"), lossless=False, quality=85)
            return base64.b64encode(lossy).decode("ascii")
        return packed(picture, exact=False)


def packed_picture(file: Path) -> str:
    """A PNG as WebP in base64, a quarter of its size: see :func:`packed`; one that shows images
    keeps every pixel.
    """
    with Image.open(file, formats=("PNG",)) as picture:
        return packed(picture, exact=shows_images(file))


def packed(picture: Image.Image, exact: bool) -> str:
    """An open picture as WebP in base64: one of lines and words in its most frequent colours, which
    are nearly all that it has; a smooth one as what the eye sees.

    Args:
        picture: Of any mode.
        exact: Whether every pixel is kept.
    """
    colours = picture.convert("RGB")
    few = colours if exact else in_few_colours(colours)
    if few is None:
        data = _webp(colours, lossless=False, quality=80)
    else:
        data = _webp(few, lossless=True, quality=60)
    return base64.b64encode(data).decode("ascii")


def in_few_colours(picture: Image.Image) -> Image.Image | None:
    """A picture in at most :data:`COLOURS` of its own colours, each pixel in the nearest: the
    frequent ones stay as they are, shades at the edges of lines and letters join.

    Returns:
        ``None`` for a smooth picture, which would have steps.
    """
    found = sorted(picture.getcolors(1 << 24) or (), reverse=True)
    total = picture.width * picture.height
    if sum(count for count, _ in found[:COLOURS]) < (1 - SMOOTH) * total:
        return None
    colours = np.array([colour for _, colour in found], np.int64)
    grey = colours.mean(axis=1, keepdims=True)
    seen = np.hstack([HUE * (colours - grey), np.sqrt(3) * grey])
    kept: list[int] = []
    apart, nearest = np.full(len(found), np.inf), np.zeros(len(found), np.uint8)
    for i, (count, _) in enumerate(found):
        if len(kept) == COLOURS:
            break
        if apart[i] > NEAR or (apart[i] > 0 and count > OFTEN * total):
            distance = np.linalg.norm(seen - seen[i], axis=1)
            nearest[distance < apart], apart = len(kept), np.minimum(distance, apart)
            kept.append(i)
    code = np.array([1 << 16, 1 << 8, 1])
    which = np.zeros(1 << 24, np.uint8)
    which[colours @ code] = nearest
    pixels = np.asarray(picture).astype(np.int64) @ code
    return Image.fromarray(colours[kept].astype(np.uint8)[which[pixels]])


def _webp(picture: Image.Image, **how: Any) -> bytes:
    found = io.BytesIO()
    picture.save(found, "webp", method=4, **how)
    return found.getvalue()
