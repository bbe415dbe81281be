"""Figures on a page: with caption, alternative text and downloads; several of one kind as panels
that wrap.
"""

import base64
import html
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.shell import text
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import GROUNDS

MARKS = {
    "circle": "M0-4a4 4 0 1 0 .01 0z",
    "square": "M-4-4h8v8h-8z",
    "triangle-up": "M0-5L5 4H-5z",
    "triangle-down": "M0 5L5-4H-5z",
    "diamond": "M0-5L5 0L0 5L-5 0z",
    "x": "M-4-4L4 4M4-4L-4 4",
    "cross": "M-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
    "hexagon": "M-5 0L-2.5-4.3h5L5 0L2.5 4.3h-5z",
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
    fig: go.Figure | None, key: str, alt: str, caption: str, table: pd.DataFrame, none: str = ""
) -> None:
    """A figure with its caption, its numbers as CSV, itself as a page that needs no network; or why
    there is none.
    """
    if fig is None:
        if none:
            st.info(none)
        return
    chart(fig, key, alt)
    st.caption(caption)
    downloads([fig], key, table)


def panels(
    drawn: Mapping[str, go.Figure],
    key: str,
    alt: str,
    caption: str,
    table: pd.DataFrame,
    width: int = 304,
) -> None:
    """Small multiples side by side, as many in a row as there is room for; one caption and one set
    of downloads.

    Args:
        drawn: Title -> figure.
        key: What the widgets and the downloaded files are called.
        alt: What a panel shows; its title is added.
        caption: Estimator, n, seed, interval.
        table: The numbers.
        width: Of a panel, in pixels.
    """
    with st.container(horizontal=True, gap="medium"):
        for i, (title, fig) in enumerate(drawn.items()):
            with st.container(width=width, gap="small"):
                st.markdown(f"**{text(title)}**")
                chart(fig, f"{key}-{i}", f"{alt}: {title}")
    st.caption(caption)
    downloads(list(drawn.values()), key, table, list(drawn))


def legend(runs: Sequence[str], names: Legend) -> None:
    """Colour, dash and marker of every run, once for all panels of a page."""
    items = []
    for run in runs:
        style = names.looks[run]
        dash = (
            DASHES.get(style.dash)
            if style.dash in DASHES
            else style.dash.replace("px", "").replace(",", " ")
        )
        fill = "none" if style.marker == "x" else style.color
        drawing = (
            f'<path d="M-20 0H20" stroke="{style.color}" stroke-width="1.8" '
            f'stroke-dasharray="{dash}"/><path d="{MARKS[style.marker]}" fill="{fill}" '
            f'stroke="{style.color}" stroke-width="1.5"/>'
        )
        items.append(_item(drawing, 42, names.names[run]))
    st.html(f'<div style="line-height:1.7;font-size:0.9rem">{"".join(items)}</div>')


def _item(drawing: str, width: int, name: str) -> str:
    """A small picture before a name. An image with its data inside: the page's sanitiser takes bare
    SVG away.
    """
    box = f'width="{width}" height="14" viewBox="{-width / 2} -7 {width} 14"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{drawing}</svg>'
    data = base64.b64encode(svg.encode()).decode()
    size = f'width="{width}" height="14" alt="" style="vertical-align:-2px"'
    picture = f'<img src="data:image/svg+xml;base64,{data}" {size}>'
    return f'<span style="white-space:nowrap;margin-right:1.1rem">{picture} {html.escape(name)}</span> '


def swatches(colors: Mapping[str, str]) -> None:
    """What colours mean where they do not mean runs: title -> colour."""
    items = [_item(f'<circle r="5" fill="{color}"/>', 12, title) for title, color in colors.items()]
    st.html(f'<div style="line-height:1.7;font-size:0.9rem">{"".join(items)}</div>')


def chart(fig: go.Figure, key: str, alt: str) -> None:
    """A figure alone, where one caption and one set of downloads serve several."""
    config = {
        "displaylogo": False,
        "toImageButtonOptions": {"filename": key, "scale": 2},
        "displayModeBar": "hover",
    }
    st.plotly_chart(fig, theme=None, key=f"figure-{key}", config=config, alt=alt)


def downloads(
    figures: Sequence[go.Figure], key: str, table: pd.DataFrame, titles: Sequence[str] = ()
) -> None:
    """The numbers as CSV, the figures as one page that opens without a network."""
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Data (CSV)",
            lambda: table.to_csv(index=False),
            f"{key}.csv",
            "text/csv",
            key=f"csv-{key}",
            on_click="ignore",
            type="tertiary",
        )
        if figures:
            st.download_button(
                "Figure (HTML)",
                lambda: page(figures, titles),
                f"{key}.html",
                "text/html",
                key=f"html-{key}",
                on_click="ignore",
                type="tertiary",
                help="One file that opens without a network. The camera above a figure saves a "
                "PNG.",
            )


def page(figures: Sequence[go.Figure], titles: Sequence[str] = ()) -> str:
    """Figures as one HTML file with plotly inside, titled and with legends, on their own ground."""
    parts = []
    for i, fig in enumerate(figures):
        copy = go.Figure(fig)
        ground = next(
            (g for g in GROUNDS.values() if g.text == fig.layout.font.color), GROUNDS["light"]
        )
        copy.update_layout(paper_bgcolor=ground.paper)
        if titles:
            copy.update_layout(
                title={"text": html.escape(titles[i]), "x": 0.02}, margin={"t": 70}, showlegend=True
            )
        parts.append(str(copy.to_html(include_plotlyjs=i == 0, full_html=False)))
    return f'<!doctype html><html><head><meta charset="utf-8"></head><body>{"".join(parts)}</body></html>'
