"""Figures as files: PNG, SVG and PDF for print, HTML with a caption for a screen.

Two engines draw the same figure:

* ``"matplotlib"`` (default) needs nothing but the package. It takes about a second, gives the same
  bytes each time, and embeds its fonts. Types of traces and settings that it does not know are
  refused by name, never left out.
* ``"browser"`` is plotly's own exporter: it draws whatever plotly draws, needs ``pip install
  grace_geom[images]`` and Chrome or Chromium, starts it anew for each file (several seconds), and
  names elements of SVG and PDF files anew each time.
"""

import html as escape
import io
import re
import shutil
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go
from PIL import Image, UnidentifiedImageError

from grace_geom.files import atomic_write, write_text
from grace_geom.plots import static, units
from grace_geom.plots.interactive import Plotly, embedded, plotly_once, write_plotly

DPI = 300
"""Pixels an inch of a PNG."""

FORMATS = ("png", "svg", "pdf")
_BROWSERS = ("google-chrome", "google-chrome-stable", "chrome", "chromium", "chromium-browser")
_FONT = "DejaVu Sans, Verdana, sans-serif"
_CREATED: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}
"""Nothing that changes from one call to the next or from one machine to the next."""
_SOURCE = '<meta name="generator" content="grace_geom: '


def save(
    figure: go.Figure,
    path: Path | str,
    width_in: float,
    height_in: float | None = None,
    engine: Literal["matplotlib", "browser"] = "matplotlib",
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write a figure for print, on white ground, whole or not at all.

    Args:
        figure: Dressed for light ground.
        path: Ends in ``.png``, ``.svg`` or ``.pdf``.
        width_in, height_in: Printed size in inches; the height defaults to the figure's own. Text
            of 12 px on a screen is printed at 7.4 pt, and none below 7 pt.
        engine: What draws it; see the module.
        about: Texts that a PNG by matplotlib carries, such as its ``Title``; see :func:`texts`.

    Returns:
        ``path``.

    Raises:
        ValueError: Another ending, a figure that the engine cannot draw, no browser, or ``about``
            for a file that cannot carry it.
        UserError: The file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(
            f"cannot save a figure as {path.name}: the name ends in .png, .svg or .pdf"
        )
    if engine not in ("matplotlib", "browser"):
        raise ValueError(f"no engine {engine!r}: matplotlib or browser")
    if about and (kind, engine) != ("png", "matplotlib"):
        raise ValueError(f"{path.name} cannot carry texts: only a PNG by matplotlib does")
    if engine == "matplotlib":
        data = printed(figure, kind, width_in, height_in, about)
    else:
        data = by_browser(figure, kind, width_in, height_in or static.inches_high(figure))
    with atomic_write(path) as file:
        file.write(data)
    return path


_ONE_AT_A_TIME = threading.Lock()
"""matplotlib's settings are those of the whole process."""


def printed(
    figure: go.Figure,
    kind: str,
    width_in: float,
    height_in: float | None = None,
    about: Mapping[str, str] | None = None,
    letters: float | None = None,
    family: static.Family = "sans",
    dpi: int = DPI,
) -> bytes:
    """The bytes of a figure drawn by matplotlib: ``png``, ``svg`` or ``pdf``; the same each time.

    Args:
        figure: Dressed for light ground.
        kind: Of the file.
        width_in, height_in: Printed size in inches; the height defaults to the figure's own.
        about: Texts that a PNG carries.
        letters, family: Of what is written; see :func:`.static.draw`.
        dpi: Of a PNG.

    Raises:
        ValueError: As :func:`.static.draw`.
    """
    file = io.BytesIO()
    with _ONE_AT_A_TIME:
        drawn = static.draw(figure, width_in, height_in, letters, family)
        with static.style(family):
            metadata = _CREATED[kind] | dict(about or {})
            drawn.savefig(file, format=kind, dpi=dpi, metadata=metadata)
    return file.getvalue()


def texts(path: Path) -> dict[str, str]:
    """What ``about`` said when a PNG was written; empty for a file that is no PNG or says
    nothing."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return {key: str(value) for key, value in picture.info.items() if isinstance(key, str)}
    except (OSError, UnidentifiedImageError):
        return {}


def browser() -> bool:
    """Whether plotly's own exporter can run: kaleido and a Chrome or Chromium are installed."""
    return find_spec("kaleido") is not None and any(map(shutil.which, _BROWSERS))


def by_browser(figure: go.Figure, kind: str, width: float, height: float) -> bytes:
    """The bytes of a figure as plotly's own exporter draws it, in inches.

    Raises:
        ValueError: It is not installed.
    """
    if not browser():
        raise ValueError(
            'engine="browser" needs kaleido (pip install "grace_geom[images]") and Chrome or '
            'Chromium on the PATH; engine="matplotlib" needs neither'
        )
    copy, inch = _for_print(figure), 72 / units.POINTS  # pixels of the layout in an inch of print
    size = {"width": round(width * inch), "height": round(height * inch)}
    if kind == "png":
        return bytes(copy.to_image(format="png", scale=DPI / inch, **size))
    scale = 96 / inch
    if kind == "pdf":
        return bytes(copy.to_image(format="pdf", scale=scale, **size))
    drawn = copy.to_image(format="svg", **size).decode()
    sized = rf'\g<1> width="{width:g}in" height="{height:g}in"'
    return re.sub(r'(<svg[^>]*?) width="[\d.]+" height="[\d.]+"', sized, drawn, count=1).encode()


def _for_print(figure: go.Figure) -> go.Figure:
    """A copy on white ground, in matplotlib's letters, none smaller than the least."""
    copy = go.Figure(figure)
    copy.update_layout(
        paper_bgcolor="white", plot_bgcolor="white", font={"family": _FONT}, autosize=False
    )
    if figure.layout.title.text:  # at the top and to the left, above the legend
        above = {"x": 0.05, "xanchor": "left", "y": 0.98, "yanchor": "top", "yref": "container"}
        copy.update_layout(title=above, margin={"t": 75})
    settings = copy.to_plotly_json()
    _enlarge(settings)
    return go.Figure(settings, skip_invalid=False)


def _enlarge(settings: Any) -> None:
    """Raise every size of a font to the least, in place."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key.endswith("font") and isinstance(value, dict):
                size = value.get("size")
                if isinstance(size, int | float):
                    value["size"] = max(size, units.LEAST_FONT / units.POINTS)
            _enlarge(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            _enlarge(value)


PHONE = '<meta name="viewport" content="width=device-width, initial-scale=1">'
"""Without it a telephone draws a page as wide as a desktop's, with letters too small to read."""


def html(
    figure: go.Figure,
    caption: str,
    plotlyjs: Plotly = "packed",
    source: str = "",
    alt: str = "",
    narrow: go.Figure | None = None,
) -> str:
    """A figure as one HTML page with its caption below.

    Args:
        figure: As it is shown on a screen.
        caption: Plain text.
        plotlyjs: Where plotly's code is; see :func:`plotly_once`.
        source: What wrote the page; see :func:`source_of_page`.
        alt: What the figure shows, for those who do not see it; default: its title.
        narrow: The same for a telephone; see :func:`embedded`.
    """
    copy = go.Figure(figure)
    copy.update_layout(paper_bgcolor="white")
    title = escape.escape(escape.unescape(figure.layout.title.text or "Figure"))
    made = f'{_SOURCE}{escape.escape(source)}">' if source else ""
    said = escape.escape(alt, quote=True) or title
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{PHONE}{made}'
        f"<title>{title}</title></head>"
        f'<body><figure style="margin:1em;max-width:1100px"><div role="img" aria-label="{said}" '
        f'style="overflow-x:auto">'
        f'{embedded(copy, "figure", plotly_once(plotlyjs), narrow)}</div><figcaption style="font:14px sans-serif;'
        f'max-width:60em">{escape.escape(caption)}</figcaption></figure></body></html>\n'
    )


def save_html(
    figure: go.Figure,
    path: Path | str,
    caption: str,
    plotlyjs: Plotly = "packed",
    source: str = "",
    alt: str = "",
    narrow: go.Figure | None = None,
) -> Path:
    """Write :func:`html` to ``path``, whole or not at all; with ``"beside"``, plotly's code beside
    it.
    """
    if plotlyjs == "beside":
        write_plotly(Path(path).parent)
    write_text(path, html(figure, caption, plotlyjs, source, alt, narrow))
    return Path(path)


def source_of_page(path: Path) -> str:
    """The ``source`` of a page by :func:`save_html`; empty for any other file."""
    try:
        with path.open(encoding="utf-8") as file:
            found = re.search(f'{_SOURCE}([^"]*)"', file.read(1000))
    except (OSError, UnicodeDecodeError):
        return ""
    return escape.unescape(found[1]) if found else ""
