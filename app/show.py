"""Figures on a page: with caption, alternative text and downloads; several of one kind as panels
that wrap.
"""

import base64
import html
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.fade import fading
from app.head import typeset
from app.shell import called, chosen, text
from grace_geom.plots import coinciding, paper
from grace_geom.plots.legend import Legend
from grace_geom.plots.paper import Exhibit
from grace_geom.plots.spoken import joined, spoken
from grace_geom.plots.variants import LONG, fitted

Table = Callable[[], pd.DataFrame]
"""Numbers behind a figure. Few are ever asked for, so nothing of them is made before."""
MOST_SPOKEN = 4
"""Panels whose numbers the alternative text of a file tells."""
MOST_WHOLE = 6
"""Names that a caption writes out; of more, the pointer tells them."""
MARKS = {
    "circle": "M0-4a4 4 0 1 0 .01 0z",
    "square": "M-4-4h8v8h-8z",
    "triangle-up": "M0-5L5 4H-5z",
    "triangle-down": "M0 5L5-4H-5z",
    "triangle-left": "M-5 0L4-5V5z",
    "triangle-right": "M5 0L-4-5V5z",
    "pentagon": "M0-5L4.8-1.6L2.9 4H-2.9L-4.8-1.6z",
    "diamond": "M0-5L5 0L0 5L-5 0z",
    "x": "M-4-4L4 4M4-4L-4 4",
    "cross": "M-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
    "hexagon": "M-5 0L-2.5-4.3h5L5 0L2.5 4.3h-5z",
    "hourglass": "M-4.5-4.5h9L-4.5 4.5h9z",
    "bowtie": "M-4.5-4.5v9L4.5-4.5v9z",
    "star": "M0-5.5L1.6-1.7L5.5-1.7L2.4 .9L3.5 5L0 2.6L-3.5 5L-2.4 .9L-5.5-1.7L-1.6-1.7z",
}
DASHES = {
    "solid": "",
    "dash": "7 4",
    "dashdot": "7 3 2 3",
    "dot": "2 3",
    "longdash": "11 4",
    "longdashdot": "11 3 2 3",
}


def figure(
    fig: go.Figure | None,
    key: str,
    alt: str,
    caption: str,
    table: Table,
    none: str = "",
    *,
    captioned: bool = True,
    legend: Legend | None = None,
    head: str = "",
    least: int = 0,
) -> None:
    """A figure with its caption, its numbers as CSV, and itself as files; or why there is none.

    Args:
        fig: The figure.
        key: What the widgets and the downloaded files are called.
        alt: What it shows; up to its first comma, the title of the files.
        caption: Estimator, n, seed, interval, in Markdown.
        table: Makes the numbers, where somebody asks for them.
        none: Said where there is no figure.
        captioned: Whether the caption stands below it on the page; files have it in any case.
        legend: Of the files; default that of the page's choice.
        head: Above the figure, where its colours need a title.
        least: Pixels that it needs to be read; where there is less room, as on a telephone, it
            scrolls sideways in a box of its own.
    """
    if fig is None:
        if none:
            st.info(none)
        return
    if head:
        st.markdown(f"**{text(head)}**")
    with at_least(least, key) if least else nullcontext():
        chart(fig, key, alt)
    if captioned:
        st.caption(typeset(caption))
    downloads(exhibit({head: fig}, alt, caption, legend), key, table)


def panels(
    drawn: Mapping[str, go.Figure], key: str, alt: str, caption: str, table: Table, width: int = 304,
    whole: Mapping[str, go.Figure] | None = None,
) -> None:  # fmt: skip
    """Small multiples side by side, as many in a row as there is room for; one caption and one set
    of downloads.

    Args:
        drawn: Title -> figure.
        key: What the widgets and the downloaded files are called.
        alt: What a panel shows; its title is added.
        caption: Estimator, n, seed, interval.
        table: Makes the numbers, where somebody asks for them.
        width: Of a panel, in pixels.
        whole: The figures of the files, where these are others.
    """
    width = 464 if len(drawn) == 4 and width == 304 else width  # no row of one
    # Titles of one and of two lines leave figures of one height side by side.
    even: Literal["bottom", "top"] = (
        "bottom" if len({fig.layout.height for fig in drawn.values()}) < 2 else "top"
    )
    heads = fitted({title: title for title in drawn}, width // LETTER)  # one line each
    with wide_where_alone(f"panels-{key}", even):
        for i, (title, fig) in enumerate(drawn.items()):
            with st.container(width=width, gap="small"):
                st.markdown(f"**{text(heads[title])}**")
                chart(fig, f"{key}-{i}", f"{alt}: {title}")
    st.caption(typeset(caption))
    downloads(exhibit(whole or drawn, alt, caption), key, table)


LETTER = 8
"""Pixels of a letter of a panel's title, at most on average."""
MOST_IN_FRONT = 6
"""Lines of a figure in colour, before somebody wants all of them."""
MOST_GREY = 8
"""Runs in grey that a caption names."""


def greys(names: Mapping[str, str], behind: Sequence[str], control: str) -> str:
    """Which runs are grey and how to see them in colour: the end of a caption; empty where none is.

    Args:
        names: Of the runs.
        behind: Those in grey.
        control: What the switch above the figure is called.
    """
    if not behind:
        return ""
    shown = [called(names[run]) for run in behind[:MOST_GREY]]
    more = len(behind) - len(shown)
    listed = f"{', '.join(shown)}{f' and {more} more' if more else ''}"
    return f" Thin grey lines: {listed}; “{control}” above colours them."


NARROW = (
    "@media(max-width:640px){{.st-key-{key}>[data-testid=stLayoutWrapper]"
    "{{flex:1 1 100%!important;width:100%!important}}}}"
)


def at_least(width: int, key: str) -> DeltaGenerator:
    """A place that is at least so many pixels wide, and scrolls sideways where the page is not."""
    outer, inner = f"scrolled-{key}", f"wide-{key}"
    st.html(
        f"<style>{fading(f'.st-key-{outer}')}"
        f".st-key-{outer}{{overflow-x:auto}}.st-key-{outer}>*{{flex-shrink:0}}"
        f".st-key-{outer}>[data-testid=stLayoutWrapper],.st-key-{inner}{{min-width:{width}px}}</style>"
    )
    return st.container(key=outer).container(key=inner)


def wide_where_alone(key: str, even: Literal["bottom", "top"] = "bottom") -> DeltaGenerator:
    """A row for panels of a fixed width that wraps; on a telephone, where one panel fills a row,
    panels are as wide as the page.

    Args:
        key: Of the row.
        even: Where the panels of a row stand level.
    """
    of_class = re.sub(r"[^A-Za-z0-9_-]", "-", key)  # as Streamlit makes a class of a key
    st.html(f"<style>{NARROW.format(key=of_class)}</style>")
    return st.container(horizontal=True, gap="medium", vertical_alignment=even, key=key)


def legend(runs: Sequence[str], names: Legend, lines: bool = True) -> None:
    """Colour, dash and marker of every run, once for all panels of a page; without dash where the
    figure has no ``lines``.
    """
    items = []
    for run in runs:
        style = names.looks[run]
        dash = (
            DASHES.get(style.dash)
            if style.dash in DASHES
            else style.dash.replace("px", "").replace(",", " ")
        )
        fill = "none" if style.marker == "x" else style.color
        line = (
            f'<path d="M-20 0H20" stroke="{style.color}" stroke-width="1.8" '
            f'stroke-dasharray="{dash}"/>'
        )
        drawing = (
            f'{line if lines else ""}<path d="{MARKS[style.marker]}" fill="{fill}" '
            f'stroke="{style.color}" stroke-width="1.5"/>'
        )
        items.append(_item(drawing, 42 if lines else 16, names.names[run]))
    # Of dozens of runs it scrolls, so that the figure stays in sight, and half of the sixth line
    # says so; the Tab key reaches it.
    look = "line-height:1.7;font-size:0.9rem;max-height:8.4rem;overflow-y:auto"
    st.html(
        f'<div style="{look}" tabindex="0" role="group" aria-label="Runs">{"".join(items)}</div>'
    )


def _item(drawing: str, width: int, name: str) -> str:
    """A small picture before a name. An image with its data inside: the page's sanitiser takes bare
    SVG away.
    """
    box = f'width="{width}" height="14" viewBox="{-width / 2} -7 {width} 14"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{drawing}</svg>'
    data = base64.b64encode(svg.encode()).decode()
    size = f'width="{width}" height="14" alt="" style="vertical-align:-2px"'
    picture = f'<img src="data:image/svg+xml;base64,{data}" {size}>'
    return f'<span style="display:inline-block;margin-right:1.1rem">{picture} {html.escape(name)}</span> '


def swatches(colors: Mapping[str, str]) -> None:
    """What colours mean where they do not mean runs: title -> colour."""
    items = [_item(f'<circle r="5" fill="{color}"/>', 12, title) for title, color in colors.items()]
    st.html(f'<div style="line-height:1.7;font-size:0.9rem">{"".join(items)}</div>')


_TOLD: dict[int, tuple[weakref.ref[go.Figure], str]] = {}
"""What each figure that is drawn was found to say, as long as there is the figure."""


def told(fig: go.Figure) -> str:
    """The numbers of a figure in words, found once: its page says them again each time that it is
    drawn, and so do its files.
    """
    place = id(fig)
    if (known := _TOLD.get(place)) is None:
        known = weakref.ref(fig, lambda _: _TOLD.pop(place, None)), spoken(fig)
        _TOLD[place] = known
    return known[1]


_SENT: dict[int, tuple[weakref.ref[go.Figure], dict[str, Any]]] = {}
"""What of each figure that is drawn goes to the browser, as long as there is the figure."""


class _Packed(go.Figure):  # type: ignore[misc]  # plotly has no types
    """A figure for Streamlit, which asks for its dictionary alone, each time that it is drawn: a
    copy with packed arrays, made once. Nobody changes a figure that was drawn.
    """

    def __init__(self, figure: go.Figure) -> None:  # not plotly's, which would make all of it anew
        place = id(figure)
        if (known := _SENT.get(place)) is None:
            known = weakref.ref(figure, lambda _: _SENT.pop(place, None)), figure.to_dict()
            _SENT[place] = known
        self._dictionary, self._whole = known[1], None

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`go.Figure.to_dict` said first."""
        return self._dictionary

    def __getattr__(self, name: str) -> Any:
        """Whatever else of a figure another version of Streamlit may ask for: that of a whole one,
        made from the dictionary once.
        """
        if name in ("_dictionary", "_whole"):  # __init__ did not run, as in a copy under way
            raise AttributeError(name)
        if self._whole is None:
            self._whole = go.Figure(self._dictionary)
        return getattr(self._whole, name)


def chart(fig: go.Figure, key: str, alt: str) -> None:
    """A figure alone, where one caption and one set of downloads serve several. Its numbers are
    added to the alternative text.
    """
    config = {
        "displaylogo": False,
        "toImageButtonOptions": {"filename": key, "scale": 2},
        "displayModeBar": "hover",
    }
    said = joined(alt, told(fig))
    st.plotly_chart(_Packed(fig), theme=None, key=f"figure-{key}", config=config, alt=said)


def coincide(drawn: Mapping[str, go.Figure | None]) -> str:
    """The end of a caption: which lines lie over each other; empty where none do."""
    known = {title: fig for title, fig in drawn.items() if fig is not None}
    said = coinciding.said(known, {run: called(name) for run, name in chosen().names.items()})
    return f" {said}" if said else ""


def whole(runs: Sequence[str], names: Mapping[str, str]) -> str:
    """The end of a caption of rows: names whose middle they leave out; empty where there are none.

    Args:
        runs: That have rows.
        names: What is written for each run.
    """
    short = fitted({run: names[run] for run in runs}, LONG)
    said = [f"{called(short[run])}: {text(names[run])}" for run in runs if short[run] != names[run]]
    return f" {'; '.join(said)}." if 0 < len(said) <= MOST_WHOLE else ""


def selectable(fig: go.Figure, key: str, alt: str) -> list[list[Any]]:
    """A scatter whose points can be selected. Returns the ``customdata`` of those that are."""
    config = {"displaylogo": False, "displayModeBar": "hover"}
    event = st.plotly_chart(
        _Packed(fig), theme=None, key=f"figure-{key}", config=config, alt=joined(alt, told(fig)),
        on_select="rerun",
    )  # fmt: skip
    return [list(p["customdata"]) for p in event.selection.points if "customdata" in p]


def exhibit(
    drawn: Mapping[str, go.Figure], alt: str, caption: str, legend: Legend | None = None
) -> Exhibit:
    """Panels as a figure that can be taken along: title -> figure."""
    whole = alt
    for title, fig in list(drawn.items())[:MOST_SPOKEN]:
        whole = joined(f"{whole} {title}".rstrip(), told(fig))
    return Exhibit(
        drawn, legend or chosen().legend, alt.partition(",")[0], paper.plain(caption), whole
    )


def downloads(whole: Exhibit | None, key: str, table: Table) -> None:
    """The numbers as CSV, the figure as files. Each is made when it is asked for."""
    with st.container(horizontal=True, gap="small"):
        _file("Data (CSV)", lambda: table().to_csv(index=False), f"{key}.csv", "text/csv")
        if whole is not None and whole.panels:
            _menu(whole, key, table)


def _file(
    label: str, make: Callable[[], bytes | str], name: str, kind: str, help: str = ""
) -> None:
    st.download_button(
        label, make, name, kind, key=f"file-{name}", on_click="ignore", type="tertiary",
        help=help or None,
    )  # fmt: skip


@st.fragment
def _menu(exhibit: Exhibit, key: str, table: Table) -> None:
    """The files that a figure can be; nothing of it is sent before the menu is opened."""
    menu = st.popover("Figure", type="tertiary", key=f"menu-{key}", on_change="rerun")
    if not menu.open:
        return
    with menu:
        drawn = paper.can_be_drawn(exhibit)
        if not drawn:
            st.markdown("Only a browser draws this figure as a picture. This installs what does:")
            st.code('pip install "grace_geom[images]"\napt-get install chromium', language="bash")
        _whole(exhibit, key, table, drawn)
        if exhibit.printable:
            _for_a_paper(exhibit, key)


PICTURES = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def _whole(exhibit: Exhibit, key: str, table: Table, drawn: bool) -> None:
    st.markdown("On white, with title, legend and caption")
    with st.container(horizontal=True, gap="small"):
        for kind, mime in PICTURES.items() if drawn else ():
            _file(kind.upper(), partial(paper.picture, exhibit, kind), f"{key}.{kind}", mime)
        if drawn:
            _file(
                "HTML", lambda: paper.page(exhibit, table().to_csv(index=False)), f"{key}.html",
                "text/html", "The picture with its numbers; below 1 MB, opens without a network.",
            )  # fmt: skip
        for label, where, stem, help in paper.INTERACTIVE:
            make = partial(paper.interactive, exhibit, where)
            _file(label, make, f"{key}-{stem}.html", "text/html", help)


def _for_a_paper(exhibit: Exhibit, key: str) -> None:
    st.markdown("For a paper: legend, no title, 8 pt, fonts embedded")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        width = st.segmented_control(
            "Width", [paper.COLUMN, paper.WIDE], default=paper.COLUMN, required=True,
            format_func=lambda inches: f"{inches} inches", key=f"width-{key}",
            label_visibility="collapsed",
        )  # fmt: skip
        stem = f"{key}-paper" if width == paper.COLUMN else f"{key}-paper-wide"
        make = partial(paper.column, exhibit, width)
        _file("PDF for a paper", make, f"{stem}.pdf", "application/pdf")
    snippet = paper.latex(stem, exhibit.caption, width)
    st.code(snippet, language="latex", wrap_lines=True)
