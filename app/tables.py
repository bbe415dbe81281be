"""The overview's tables: every number of the chosen runs, and the paper's rows beside them."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd
import streamlit as st

from app import compare, paper
from app.shell import Choice, text
from app.store import Entry
from grace_geom.plots import accuracies

COLUMNS = ("ID", "OOD", "Adv", "NatAdv", "ZS", "HM")
PAPER = ("OOD'", "Adv'", "HM'")


def with_intervals(shown: list[Entry], columns: tuple[str, ...]) -> pd.DataFrame:
    """Numbers of the summary with their intervals, in percent."""
    rows = []
    for e in shown:
        row: dict[str, object] = {"run": e.id}
        for column in columns:
            if found := e.estimates.get(column):
                row |= {
                    column: 100 * found.value,
                    f"{column} low": 100 * found.low,
                    f"{column} high": 100 * found.high,
                }
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Wanted:
    """What the controls above the table ask for.

    Attributes:
        deltas: Differences to the baseline.
        paper: The paper's columns.
        settings: Settings in which the runs differ.
        filter: Part of a name or method; only runs that have it.
    """

    deltas: bool
    paper: bool
    settings: bool
    filter: str

    def keeps(self, name: str, method: str) -> bool:
        """Whether a run of this name and method is shown."""
        return self.filter.lower() in f"{name} {method}".lower()


def all_numbers(choice: Choice, shown: list[Entry]) -> None:
    """Every run, sortable; differences to the baseline, settings that differ and the paper's
    columns on demand.
    """
    st.subheader("All numbers", anchor=False)
    wanted = _controls()
    columns = [
        c
        for c in (*COLUMNS, *(PAPER if wanted.paper else ()))
        if any(e.estimates.get(c) for e in shown)
    ]
    listed = [e for e in shown if wanted.keeps(choice.names[e.id], e.method)]
    if not listed:
        st.info(f"No run matches '{text(wanted.filter)}'.")
        return
    other = compare.differing(shown) if wanted.settings else {}
    _draw(
        pd.DataFrame(
            [_row(choice, e, columns, wanted.deltas, other.get(e.id, {})) for e in listed]
        ),
        columns,
    )
    how = compare.how_measured(listed, tuple(accuracies.SUITE_TITLES))
    st.caption(
        f"In percent; higher is better in every column; a click on a column's head sorts. {how}"
    )
    wide = with_intervals(listed, tuple(columns))
    st.download_button(
        "Table with intervals (CSV)",
        lambda: wide.to_csv(index=False),
        "runs.csv",
        "text/csv",
        on_click="ignore",
        type="tertiary",
    )


def _controls() -> Wanted:
    with st.container(horizontal=True):
        deltas = st.toggle(
            "Differences to the baseline",
            help="In points; – for the baseline and where runs cannot be compared.",
        )
        paper_columns = st.toggle(
            "The paper's columns",
            help="OOD' = (OOD + ZS) / 2, Adv' = (Adv + NatAdv) / 2, HM' of these.",
        )
        settings = st.toggle(
            "Settings that differ", help="Only the columns in which the runs differ."
        )
        part = st.text_input(
            "Filter",
            placeholder="Filter by name or method",
            label_visibility="collapsed",
            width=240,
            key="filter",
        )
    return Wanted(deltas, paper_columns, settings, part)


def _row(
    choice: Choice, e: Entry, columns: list[str], deltas: bool, settings: dict[str, object]
) -> dict[str, object]:
    seed = ", ".join(str(m.seed) for m in e.members) if e.members else str(e.seed)
    row: dict[str, object] = {"run": choice.names[e.id], "method": e.method, "seed": seed}
    for column in columns:
        found = e.estimates.get(column)
        row[column] = 100 * found.value if found else None
        if deltas:
            gap = compare.delta(e, choice.baseline, column)
            row[f"Δ {column}"] = None if gap is None else 100 * gap
    return row | {
        key: compare.written(key, value) for key, value in settings.items() if key not in row
    }


def _draw(frame: pd.DataFrame, columns: list[str]) -> None:
    formats = {c: st.column_config.NumberColumn(c, format="%.1f") for c in columns}
    formats |= {f"Δ {c}": st.column_config.NumberColumn(f"Δ {c}", format="%+.1f") for c in columns}
    height: Literal["content", "auto"] = "content" if len(frame) <= 25 else "auto"
    st.dataframe(
        frame, hide_index=True, column_config=formats, height=height, placeholder="–",
        alt="Accuracies of the chosen runs, in percent",
    )  # fmt: skip


def papers_rows(choice: Choice, shown: list[Entry]) -> None:
    """The paper's rows above ours: other data and another model, so only the order within each
    block compares.
    """
    ours = [e for e in shown if all(e.estimates.get(c) for c in paper.COLUMNS)]
    with st.expander("The paper's Table 6 with these runs", key="papers-table"):
        heads = ("ID", "OOD", "Adv", "HM")
        rows: list[dict[str, object]] = [
            {"source": "paper: ViT-B/32, ImageNet-1K", "method": name}
            | dict(zip(heads, row, strict=True))
            for name, row in paper.TABLE6.items()
        ]
        for e in ours:
            row: dict[str, object] = {"source": "these runs", "method": choice.names[e.id]}
            known = zip(heads, map(e.estimates.get, paper.COLUMNS), strict=True)
            rows.append(row | {head: 100 * x.value for head, x in known if x is not None})
        formats = {head: st.column_config.NumberColumn(head, format="%.1f") for head in heads}
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, column_config=formats, height="content",
            alt="Table 6 of the paper beside the chosen runs, in percent",
        )  # fmt: skip
        st.caption(
            "Top-1, in percent. Other model and other data: what compares is the order within a "
            "block, not a number of one with a number of the other. Of these runs: OOD = (OOD + "
            "ZS) / 2, Adv = (Adv + NatAdv) / 2, HM the harmonic mean of the three; runs that lack "
            "one of them are left out."
        )
