"""A figure of a page for elsewhere: with title, legend and caption on a white sheet, bare in the
width of a paper's column, and as a page of its own.

matplotlib is imported where a file is made: pages that offer files are shown without it.
"""

import base64
import html as escape
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.cells import CHROME, COLUMNS
from grace_geom.plots.compose import compose
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import LIGHT, on_light
from grace_geom.plots.style import FLAT, SOLID, plain_html

COLUMN, WIDE = 3.3, 6.9
"""Inches: a column and both columns of a paper in two columns (CVPR, ICML, IEEE)."""
LETTERS = 8.0
"""Points of all letters of a paper's figure."""
PAGE = 7.0
_IN_A_ROW = 3
"""Panels that one column of a paper holds above each other."""
_MOST = 600_000
"""Bytes of an SVG in a page; what is larger is a PNG there."""
_MOST_TABLE = 200_000
"""Letters of a table in a page."""


@dataclass(frozen=True)
class Exhibit:
    """A figure as it is shown on a page, with what stands around it there.

    Attributes:
        panels: Title -> figure, on light or dark ground; a single figure has the title ``""``.
        legend: Name and look of the runs.
        title: Plain text.
        caption: Plain text.
        alt: What it shows, for those who do not see it.
        columns: Panels in a row at most.
    """

    panels: Mapping[str, go.Figure]
    legend: Legend
    title: str
    caption: str
    alt: str = ""
    columns: int = COLUMNS

    @property
    def printable(self) -> bool:
        """Whether it can be drawn without a browser."""
        return all(t.type in FLAT + SOLID for fig in self.panels.values() for t in fig.data)


def on_paper(exhibit: Exhibit) -> Exhibit:
    """The same on light ground."""
    looks = {
        run: replace(look, color=_COLORS.get(look.color.upper(), look.color))
        if exhibit.legend.ground is not LIGHT
        else look
        for run, look in exhibit.legend.looks.items()
    }
    dark = exhibit.legend.ground is not LIGHT
    panels = {t: light(f) if dark else f for t, f in exhibit.panels.items()}
    return replace(exhibit, panels=panels, legend=Legend(exhibit.legend.names, looks, LIGHT))


_COLORS = on_light()


def light(figure: go.Figure) -> go.Figure:
    """A figure of dark ground in the colours of light ground; colours of data stay."""
    traces = [_recoloured(trace.to_plotly_json()) for trace in figure.data]
    return go.Figure(traces, _recoloured(figure.layout.to_plotly_json()))


def _recoloured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _recoloured(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_recoloured(inner) for inner in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        return [_recoloured(inner) for inner in value.tolist()]
    return _color(value) if isinstance(value, str) else value


def _color(text: str) -> str:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return _COLORS.get(text.upper(), text)
    found = re.fullmatch(r"rgba\((\d+), ?(\d+), ?(\d+), ?([\d.]+)\)", text)
    if not found:
        return text
    if found[0] == "rgba(255,255,255,0.05)":  # of every other row
        return LIGHT.band
    plain = "#" + "".join(f"{int(part):02X}" for part in found.groups()[:3])
    new = _COLORS.get(plain, plain)
    return f"rgba({', '.join(str(int(new[i : i + 2], 16)) for i in (1, 3, 5))}, {found[4]})"


def whole(exhibit: Exhibit) -> go.Figure:
    """Everything on one light sheet: title, legend, panels, caption."""
    e = on_paper(exhibit)
    if e.printable:
        return compose(e.title, [e.panels], e.legend, e.caption, e.columns)
    (figure,) = e.panels.values()
    title = {"text": plain_html(e.title), "x": 0.01, "y": 0.98, "yanchor": "top"}
    return go.Figure(figure).update_layout(title=title, margin={"t": 90}, paper_bgcolor="white")


def bare(exhibit: Exhibit, width_in: float) -> go.Figure:
    """Panels and legend for a paper, which sets the caption itself."""
    from grace_geom.plots import units

    e = on_paper(exhibit)
    narrow = width_in < 5
    columns = (1 if len(e.panels) <= _IN_A_ROW else 2) if narrow else e.columns
    pixels = width_in * 72 / units.POINTS - 70  # less ticks and title of the vertical axis
    most = CHROME + 0.85 * (pixels / min(columns, len(e.panels)) - 50)
    panels = {title: _lower(figure, most) for title, figure in e.panels.items()}
    return compose("", [panels], e.legend, columns=columns, width=pixels)


def _lower(figure: go.Figure, most: float) -> go.Figure:
    """No higher than wide, where it is one panel: paper is scarce."""
    if figure.layout.to_plotly_json().get("yaxis2") or not figure.layout.height:
        return figure
    return go.Figure(figure).update_layout(height=min(figure.layout.height, most))


def picture(exhibit: Exhibit, kind: str) -> bytes:
    """PNG, SVG or PDF on white, with title, legend and caption.

    Raises:
        ValueError: It has traces that only a browser can draw, and there is none.
    """
    from grace_geom.plots import export, static

    figure = whole(exhibit)
    if exhibit.printable:
        return export.printed(figure, kind, PAGE)
    return export.by_browser(figure, kind, PAGE, static.inches_high(figure))


def can_be_drawn(exhibit: Exhibit) -> bool:
    """Whether :func:`picture` can draw it here."""
    if exhibit.printable:
        return True
    from grace_geom.plots import export

    return export.browser()


def column(exhibit: Exhibit, width_in: float) -> bytes:
    """PDF for a paper: that wide, letters of Times in 8 points, embedded as TrueType.

    Raises:
        ValueError: It has traces that only a browser can draw.
    """
    from grace_geom.plots import export

    if not exhibit.printable:
        raise ValueError("only a browser draws this figure: take its PDF")
    figure = bare(exhibit, width_in)
    return export.printed(figure, "pdf", width_in, letters=LETTERS, family="serif")


def page(exhibit: Exhibit, table: str) -> str:
    """A page below 1 MB that opens anywhere: the picture, its caption and its numbers.

    Args:
        exhibit: What is shown.
        table: Its numbers as CSV; a long one is named and left out.
    """
    from grace_geom.plots import export

    drawn, kind = picture(exhibit, "svg"), "svg+xml"
    if len(drawn) > _MOST:
        drawn, kind = export.printed(whole(exhibit), "png", PAGE, dpi=150), "png"
    source = f"data:image/{kind};base64,{base64.b64encode(drawn).decode()}"
    title, alt = (escape.escape(text, quote=True) for text in (exhibit.title, exhibit.alt))
    rows = table.count("\n") - 1
    numbers = (
        f"<details><summary>{rows} rows of numbers (CSV)</summary><pre>{escape.escape(table)}</pre>"
        "</details>"
        if len(table) <= _MOST_TABLE
        else f"<p>Its {rows} rows of numbers are in the CSV file of the same name.</p>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{title}</title><style>body{{font:15px/1.5 sans-serif;'
        "max-width:60em;margin:1em auto;padding:0 1em}img{width:100%}pre{overflow-x:auto}</style>"
        f'</head><body><figure style="margin:0"><img alt="{alt or title}" src="{source}">'
        f"</figure>{numbers}</body></html>\n"
    )


INTERACTIVE: tuple[tuple[str, Literal["packed", "cdn"], str, str], ...] = (
    ("Interactive HTML", "packed", "interactive", "Zoom and pointer without a network: plotly.js is "
     "inside, compressed to 2 MB. Needs a browser of 2023 or newer."),
    ("Interactive HTML, online", "cdn", "online", "Zoom and pointer, below 1 MB: plotly.js comes "
     "from cdn.plot.ly when the page is opened."),
)  # fmt: skip
"""Label, place of plotly's code, name and use of each page with zoom and pointer."""


def interactive(exhibit: Exhibit, plotlyjs: Literal["packed", "cdn"] = "packed") -> str:
    """A page with zoom and pointer; see :func:`~grace_geom.plots.interactive.plotly_once`."""
    from grace_geom.plots import export

    return export.html(whole(exhibit), "", plotlyjs, alt=exhibit.alt)


def latex(stem: str, caption: str, width_in: float) -> str:
    """What includes ``STEM.pdf`` of :func:`column` in a paper."""
    wide = width_in > COLUMN
    star, width = ("*", r"\textwidth") if wide else ("", r"\columnwidth")
    return (
        f"\\begin{{figure{star}}}[t]\n  \\centering\n"
        f"  \\includegraphics[width={width}]{{{stem}.pdf}}\n"
        f"  \\caption{{{tex(caption)}}}\n  \\label{{fig:{stem}}}\n\\end{{figure{star}}}\n"
    )


_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "%": r"\%",
    "&": r"\&", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}", "−": "$-$", "×": r"$\times$",
    "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\to$", "∞": r"$\infty$", "·": r"$\cdot$",
    "±": r"$\pm$", "√": r"$\surd$", "∈": r"$\in$", "Δ": r"$\Delta$", "Σ": r"$\Sigma$", "α": r"$\alpha$",
    "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\varepsilon$", "κ": r"$\kappa$",
    "λ": r"$\lambda$", "μ": r"$\mu$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$", "θ": r"$\theta$",
    "ℓ": r"$\ell$", "‖": r"$\Vert$", "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "²": "$^2$", "…": r"\dots{}",
    "“": "``", "”": "''", "–": "--", "—": "---", "<": "$<$", ">": "$>$", "|": r"$|$",
}  # fmt: skip


def tex(text: str) -> str:
    """Plain text for LaTeX: what it reads as commands is escaped, Greek and signs are maths."""
    return "".join(_TEX.get(letter, letter) for letter in text)


def plain(markdown: str) -> str:
    """A caption without the marks of Markdown: bold, code, escapes and line ends."""
    text = re.sub(r"\*\*|`|(?<!\\)\*", "", markdown)
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", re.sub(r"\s+", " ", text)).strip()
