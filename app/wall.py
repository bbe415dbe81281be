"""Pictures with words below them, as HTML that wraps: small ones stay sharp when enlarged."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.fade import fading
from grace_geom.plots.strips import data_uri

LEAST = 96
"""Pixels of the screen that a picture takes at least."""

GAP = 6
"""Pixels between two pictures."""
IN_A_ROW = 3
"""Pictures of a card that share a row on any screen."""
NARROW = (
    "@media(max-width:640px){.in-pairs{display:grid!important;"
    "grid-template-columns:repeat(2,minmax(0,160px))}.in-pairs img{width:100%}}"
)
"""More of them stand in pairs on a telephone: each beside the one that it is compared with."""


@dataclass(frozen=True)
class Shot:
    """A picture with a word above it and lines below it, all plain text.

    Attributes:
        pixels: ``(h, w, 3)`` uint8.
        head: What it is.
        alt: What it shows, for those who do not see it.
        lines: Below it, each with a colour or ``""``.
    """

    pixels: np.ndarray
    head: str
    alt: str
    lines: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Reply:
    """What a run says of the pictures of a card, all plain text.

    Attributes:
        name: Of the run.
        color: Of the run.
        cells: What it says, a column each: text, and whether it is right.
    """

    name: str
    color: str
    cells: Sequence[tuple[str, bool]]


def cards(
    shown: Mapping[str, Sequence[Shot]],
    least: int = LEAST,
    told: Mapping[str, Sequence[Reply]] | None = None,
    heads: Sequence[str] = (),
    row: str = "",
) -> None:
    """A card a title, its pictures side by side, as many cards in a row as there is room for.

    Args:
        shown: Title, plain text -> pictures; more than three in pairs, which stay together.
        least: Width of a picture on the screen, in pixels; up to three of a card share a row on
            any screen, and shrink where it is narrow.
        told: Title -> rows of a table below the pictures.
        heads: Of the columns of these tables.
        row: What the cards are; where it is given they stand in one row, which scrolls sideways.
    """
    if not shown:
        return
    first = next(iter(shown.values()))
    wide = max(_width(shot.pixels, least) for shot in first) * len(first) + GAP * len(first)
    grid = f"grid-template-columns:repeat(auto-fill,minmax(min(100%,{wide}px),1fr))"
    body = "".join(
        _card(title, shots, least, _table((told or {}).get(title, ()), heads))
        for title, shots in shown.items()
    )
    opened = f'<div style="display:grid;{grid};gap:0.9rem 1.2rem;font-size:0.82rem">'
    if len(first) > IN_A_ROW:
        st.html(f"<style>{NARROW}</style>")
    if row:  # the Tab key reaches what scrolls
        st.html(f"<style>{fading('.row-of-cards')}</style>")
        flow = (
            f"grid-auto-flow:column;grid-auto-columns:{wide}px;overflow-x:auto;padding-bottom:6px"
        )
        opened = (
            f'<div class="row-of-cards" style="display:grid;{flow};gap:1.2rem;font-size:0.82rem" tabindex="0" '
            f'role="group" aria-label="{html.escape(row)}">'
        )
    st.html(f"{opened}{body}</div>")


def _card(title: str, shots: Sequence[Shot], least: int, table: str) -> str:
    body = "".join(_figure(shot, least) for shot in shots)
    head = f'<div style="font-weight:600;margin-bottom:0.15rem">{html.escape(title)}</div>'
    many = len(shots) > IN_A_ROW
    row = (
        f'<div{" class=in-pairs" * many} style="display:flex;'
        f'flex-wrap:{"wrap" if many else "nowrap"};gap:{GAP}px">{body}</div>'
    )
    return f"<div>{head}{row}{table}</div>"


def _table(rows: Sequence[Reply], heads: Sequence[str]) -> str:
    """Rows of words with a bar of their run's colour; empty where there are none."""
    if not rows:
        return ""
    cell = "border:none;padding:1px 8px 1px 0;text-align:left;vertical-align:top"
    top = "".join(f'<th scope="col" style="{cell};font-weight:400;opacity:0.75">{html.escape(h)}</th>'
                  for h in heads)  # fmt: skip
    body = ""
    for row in rows:
        edge = f"{cell};border-left:4px solid {row.color};padding-left:6px;font-weight:400"
        said = "".join(
            f'<td style="{cell};white-space:nowrap{"" if right else ";font-weight:600"}">'
            f"{html.escape(text)}</td>"
            for text, right in row.cells
        )
        body += f'<tr><th scope="row" style="{edge}">{html.escape(row.name)}</th>{said}</tr>'
    return (
        '<table style="border-collapse:separate;border-spacing:0 3px;margin-top:2px">'
        f'<thead><tr><td style="{cell}"></td>{top}</tr></thead><tbody>{body}</tbody></table>'
    )


def _figure(shot: Shot, least: int) -> str:
    wide = _width(shot.pixels, least)
    lines = "".join(_line(text, color) for text, color in shot.lines)
    head = f'<div style="opacity:0.75">{html.escape(shot.head)}</div>' if shot.head else ""
    size = f'width="{wide}" height="{round(wide * shot.pixels.shape[0] / shot.pixels.shape[1])}"'
    picture = (
        f'<img src="{data_uri(shot.pixels)}" {size} alt="{html.escape(shot.alt)}" '
        f'style="image-rendering:pixelated;display:block;border-radius:3px;max-width:100%;'
        f'height:auto">'
    )
    style = f"flex:0 1 {wide}px;min-width:0;line-height:1.35;overflow-wrap:anywhere"
    return f'<div style="{style}">{head}{picture}{lines}</div>'


def _line(text: str, color: str) -> str:
    """A line of text, with a bar of a run's colour before it."""
    edge = f"border-left:3px solid {color};padding-left:4px;" if color else ""
    return f'<div style="{edge}margin-top:3px">{html.escape(text)}</div>'


def _width(pixels: np.ndarray, least: int) -> int:
    """Whole times the pixels of a small picture, so that all of them are squares of one size."""
    width = pixels.shape[1]
    return int(width * max(1, -(-least // width)))
