"""From plotly's units, colours and names to matplotlib's."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib.colors as mcolors
import numpy as np
from matplotlib.path import Path
from plotly.colors import get_colorscale, qualitative

POINTS = 0.62
"""Points in print for each pixel on a screen: text of 12 px is printed at 7.4 pt."""

LEAST_FONT = 7.0
"""Points; smaller print cannot be read in a column."""

COLORWAY = tuple(qualitative.D3)
"""What plotly draws without a template."""

Color = tuple[float, float, float, float]


def points(pixels: float) -> float:
    """A length in pixels as points of the printed figure."""
    return POINTS * float(pixels)


_LETTERS: ContextVar[float | None] = ContextVar("letters", default=None)


@contextmanager
def letters(size: float | None) -> Iterator[None]:
    """Within it, all fonts have one size in points; ``None``: each its own."""
    token = _LETTERS.set(size)
    try:
        yield
    finally:
        _LETTERS.reset(token)


def font_size(font: Mapping[str, Any] | None, default: float = 12) -> float:
    """The size of a font in points: its own, never below ``LEAST_FONT``, or that of
    :func:`letters`.
    """
    return _LETTERS.get() or max(LEAST_FONT, points((font or {}).get("size", default)))


def color(value: Any, opacity: float = 1.0) -> Color:
    """``#rgb``, ``rgb()``, ``rgba()`` or a CSS name as RGBA in [0, 1].

    Raises:
        ValueError: Another notation.
    """
    found = re.fullmatch(r"rgba?\(([^)]*)\)", str(value).replace(" ", ""))
    if found:
        parts = [float(part) for part in found[1].split(",")]
        alpha = parts[3] if len(parts) > 3 else 1.0
        red, green, blue = (part / 255 for part in parts[:3])
        return red, green, blue, alpha * opacity
    try:
        red, green, blue, alpha = mcolors.to_rgba(value)
    except ValueError:
        raise ValueError(f"cannot draw the colour {value!r}") from None
    return red, green, blue, alpha * opacity


def colormap(scale: Any, reverse: bool = False) -> mcolors.LinearSegmentedColormap:
    """A colour scale, by name or as pairs of place and colour; cells without a number are clear.

    Raises:
        ValueError: There is none: plotly would take that of its template.
    """
    if scale is None:
        raise ValueError("cannot draw colours without a colorscale: name one")
    pairs = get_colorscale(scale) if isinstance(scale, str) else scale
    if isinstance(pairs[0], str):
        pairs = list(zip(np.linspace(0, 1, len(pairs)), pairs, strict=True))
    stops = [(float(at), color(value)) for at, value in pairs]
    if reverse:
        stops = [(1 - at, value) for at, value in reversed(stops)]
    return mcolors.LinearSegmentedColormap.from_list("figure", stops, N=512)


_DASHES = {
    "solid": (), "dot": (1, 1), "dash": (3, 3), "longdash": (5, 5), "dashdot": (3, 1.5, 1, 1.5),
    "longdashdot": (5, 2, 1, 2),
}  # fmt: skip


def dash(value: Any, width: float) -> Any:
    """A dash as matplotlib's ``(offset, lengths)``.

    Args:
        value: A name, or lengths in pixels (``"8px,2px"``).
        width: Of the line, in points: named dashes are multiples of it, of 1.5 px at the
            least.
    """
    name = value or "solid"
    if name in _DASHES:
        unit = max(width, points(1.5)) / max(width, 1e-6)
        lengths = [unit * length for length in _DASHES[name]]
    else:
        try:
            pixels = [float(part.strip().removesuffix("px")) for part in re.split("[, ]+", name)]
        except ValueError:
            raise ValueError(f"cannot draw the dash {value!r}") from None
        lengths = [points(length) / max(width, 1e-6) for length in pixels]
    return (0, tuple(lengths)) if lengths else "-"


_SYMBOLS: dict[str, str | Path] = {
    "circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X", "triangle-up": "^",
    "triangle-down": "v", "triangle-left": "<", "triangle-right": ">", "pentagon": "p",
    "hexagon": "H", "hexagon2": "h", "octagon": "8", "star": "*", "cross-thin": "+",
    "x-thin": "x", "line-ew": "_", "line-ns": "|",
    "hourglass": Path([(-1, 1), (1, 1), (-1, -1), (1, -1), (-1, 1)], closed=True),
    "bowtie": Path([(-1, 1), (-1, -1), (1, 1), (1, -1), (-1, 1)], closed=True),
}  # fmt: skip


def symbol(value: Any) -> tuple[str | Path, bool]:
    """matplotlib's marker for a symbol, and whether only its outline is drawn.

    Raises:
        ValueError: A symbol that matplotlib has no marker for.
    """
    name = str("circle" if value is None else value)
    outline = name.endswith("-open")
    name = name.removesuffix("-open")
    if name not in _SYMBOLS:
        raise ValueError(f"cannot draw the marker symbol {value!r}")
    return _SYMBOLS[name], outline or name.endswith("-thin") or name.startswith("line-")


def known(where: str, given: Mapping[str, Any], names: str) -> None:
    """Refuse settings that would be lost.

    Args:
        where: What is drawn, for the message.
        given: Its settings.
        names: The settings that are drawn, or that only a screen needs, with spaces between them.

    Raises:
        ValueError: Names the settings that are not among them.
    """
    lost = sorted(set(given) - set(names.split()))
    if lost:
        raise ValueError(
            f"cannot draw {where}.{lost[0]}"
            + (f" (nor {', '.join(lost[1:])})" if lost[1:] else "")
            + ': leave it out, or save the figure with engine="browser"'
        )


def unpacked(settings: Any) -> Any:
    """Settings of a figure with arrays where JSON has their bytes: ``{"dtype": "f8", "bdata":
    ...}``, as plotly writes a figure that is read again from its page.
    """
    if isinstance(settings, dict):
        if settings.keys() >= {"dtype", "bdata"}:
            array = np.frombuffer(base64.b64decode(settings["bdata"]), settings["dtype"])
            shape = [int(n) for n in str(settings.get("shape", len(array))).split(",")]
            return array.reshape(shape)
        return {key: unpacked(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return type(settings)(map(unpacked, settings))
    return settings


def numbers(values: Any) -> np.ndarray:
    """``(n,)`` or ``(n, m)`` floats; what is missing is NaN."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(float)
    return np.array(
        [numbers(v) if _is_row(v) else np.nan if v is None else float(v) for v in values], float
    )


def _is_row(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
