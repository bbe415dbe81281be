"""Pictures with words below them, as HTML that wraps: small ones stay sharp when enlarged."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from grace_geom.plots.strips import data_uri

LEAST = 96
"""Pixels of the screen that a picture takes at least."""

GAP = 6
"""Pixels between two pictures."""


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


def cards(shown: Mapping[str, Sequence[Shot]], least: int = LEAST) -> None:
    """A card a title, its pictures side by side, as many cards in a row as there is room for.

    Args:
        shown: Title, plain text -> pictures.
        least: Width of a picture on the screen, in pixels.
    """
    if not shown:
        return
    first = next(iter(shown.values()))
    wide = max(_width(shot.pixels, least) for shot in first) * len(first) + GAP * len(first)
    grid = f"grid-template-columns:repeat(auto-fill,minmax(min(100%,{wide}px),1fr))"
    body = "".join(_card(title, shots, least) for title, shots in shown.items())
    st.html(f'<div style="display:grid;{grid};gap:0.9rem 1.2rem;font-size:0.82rem">{body}</div>')


def _card(title: str, shots: Sequence[Shot], least: int) -> str:
    body = "".join(_figure(shot, least) for shot in shots)
    head = f'<div style="font-weight:600;margin-bottom:0.15rem">{html.escape(title)}</div>'
    return f'<div>{head}<div style="display:flex;flex-wrap:wrap;gap:{GAP}px">{body}</div></div>'


def _figure(shot: Shot, least: int) -> str:
    wide = _width(shot.pixels, least)
    lines = "".join(_line(text, color) for text, color in shot.lines)
    head = f'<div style="opacity:0.75">{html.escape(shot.head)}</div>' if shot.head else ""
    size = f'width="{wide}" height="{round(wide * shot.pixels.shape[0] / shot.pixels.shape[1])}"'
    picture = (
        f'<img src="{data_uri(shot.pixels)}" {size} alt="{html.escape(shot.alt)}" '
        f'style="image-rendering:pixelated;display:block;border-radius:3px">'
    )
    style = f"width:{wide}px;line-height:1.35;overflow-wrap:anywhere"
    return f'<div style="{style}">{head}{picture}{lines}</div>'


def _line(text: str, color: str) -> str:
    """A line of text, with a bar of a run's colour before it."""
    edge = f"border-left:3px solid {color};padding-left:4px;" if color else ""
    return f'<div style="{edge}margin-top:3px">{html.escape(text)}</div>'


def _width(pixels: np.ndarray, least: int) -> int:
    """Whole times the pixels of a small picture, so that all of them are squares of one size."""
    width = pixels.shape[1]
    return int(width * max(1, -(-least // width)))
