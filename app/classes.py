"""Two runs class by class: who is right alone, and what is taken for what."""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from app import scale, show
from app.pair import TwoRuns, lacking, title
from app.shell import text
from grace_geom.plots import confusion
from grace_geom.plots.variants import LONG, fitted, in_quotes
from grace_geom.records import RecordError

HEADING = "Class by class: who is right alone?"


def by_class(pair: TwoRuns, headed: bool) -> None:
    """Classes on which one of two gains; a heading of its own where the page has had another."""
    if len(pair.asked) < 2:
        return
    if headed:
        st.header(HEADING, anchor=False)
    try:
        found = confusion.split(*pair.asked)
    except RecordError:
        st.info(lacking(pair.asked[0], "of which class each is, or who is right"))
        return
    runs, legend = (pair.ids[0], pair.ids[1]), pair.choice.legend
    drawn = {
        "Right alone": confusion.by_class(found, runs, legend),
        f"Gain of {in_quotes(pair.name(1))} over {in_quotes(pair.name(0))}": confusion.gains(
            found, runs, legend
        ),
    }
    figures = {head: figure for head, figure in drawn.items() if figure is not None}
    if not figures:
        st.info("The two are right on the same images.")
        return
    rows = len(found.shown())
    fewer = rows < int((found.n > 0).sum())
    many = " The classes on which the two differ most." if fewer else ""
    show.panels(
        figures,
        "classes-apart",
        "Images of each class that only one of two runs gets right, a row a class",
        f"Data set {text(title(pair.asked[0]))}, {pair.asked[0].n} images, of each class "
        f"{_few(found.n)}. Lines: 95 % over images, paired (Bonett and Price 2012). Without any gain "
        f"{0.05 * rows:.1g} of these {rows} would leave out zero by chance. The pointer has Wilson's "
        f"interval of each bar.{many}",
        lambda: _class_table(pair, found),
        width=474,
    )  # fmt: skip


def _class_table(pair: TwoRuns, found: confusion.Split) -> pd.DataFrame:
    return pd.DataFrame(
        {"class": found.names, "images": found.n, f"only {pair.name(0)}": found.only_a,
         f"only {pair.name(1)}": found.only_b, "both": found.both}
    )  # fmt: skip


def _few(n: np.ndarray) -> str:
    there = n[n > 0]
    return f"{there.min()}" if there.min() == there.max() else f"{there.min()} to {there.max()}"


def confusions(pair: TwoRuns) -> None:
    """What classes are taken for."""
    if not pair.asked:
        return
    st.header("What is taken for what?", anchor=False)
    named = list(zip(pair.ids, pair.asked, strict=True))
    try:
        drawn = confusion.matrices(named, pair.choice.legend)
        rows = confusion.mistakes(pair.asked)
    except RecordError:
        st.info(lacking(pair.asked[0], "what each is taken for"))
        return
    short = fitted({run: pair.choice.names[run] for run in pair.ids}, LONG)
    frame = pd.DataFrame([
        {"label": label, "taken for": other, "images": n}
        | {short[run]: count for run, count in zip(pair.ids, counts, strict=True)}
        for label, other, n, counts in rows
    ])  # fmt: skip
    alt = "Heat map of the share of each class (row) that is taken for each class (column)"
    caption = (
        f"Data set {text(title(pair.asked[0]))}; in percent of the class. Under attack: predictions "
        "for the attacked images."
    )
    if len(drawn) > 2:
        caption += (
            " In the gain blue is better: right answers more often (on the diagonal), a mistake less "
            "often (beside it). Red is worse."
        )
    scale.bar(drawn)
    with show.wide_where_alone("panels-confusion", "top"):
        for i, (head, figure) in enumerate(scale.barless(drawn).items()):
            with st.container(width=confusion.WIDE, gap="small"):
                st.markdown(f"**{text(head)}**")
                if i == 2:
                    scale.bar({head: drawn[head]}, ("worse", "better"))
                show.chart(figure, f"confusion-{i}", f"{alt}: {head}")
        if len(frame):
            with st.container(width=confusion.WIDE, gap="small"):
                st.markdown("**The commonest mistakes, in images**")
                st.dataframe(frame, hide_index=True, height="content", alt="The commonest mistakes")
    st.caption(caption)
    exhibit = replace(show.exhibit(drawn, alt, caption), columns=2)  # numbers need the room
    show.downloads(exhibit, "confusion", lambda: frame)
