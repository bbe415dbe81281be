"""The overview's tables: runs in order, and the paper's rows beside them; each to be taken along as
CSV, Markdown or LaTeX.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from app import compare, costs, paired, paper, ranking, widths
from app.ranking import Ranking
from app.shell import Choice, inline, text
from app.store import Entry
from app.widths import NUMBER
from grace_geom.plots.variants import cut
from grace_geom.records import Estimate, attack_said, headline_attack
from grace_geom.records.printed import MISSING, Cell, Figure, Printed

PAPER = ("OOD'", "Adv'")
FIRST = ("HM", "ID", "Adv", "OOD")
"""What a telephone shows: of three numbers beside a long name, those that are traded off."""
AT_FIRST = ("HM'", "AutoAttack", "passes", "ms a step", "ZS", "NatAdv")
"""Columns that follow, as far as there is room, and in this order; a click shows the others."""
MOST_KEYED = 12
"""Long names that are written out in sight below the table; more are folded there."""
MOST_ROWS, FEW_ROWS, ROW = 15, 6, 30
"""Rows that are seen at once, and pixels of each where there are more than a few: figures stay in
sight. A telephone shows one more than there are few.
"""
HELP = {
    NUMBER: "Stands at the run's point in the figures.",
    "HM": "Harmonic mean of ID, OOD and Adv: low if any of the three is low.",
    "ID": "Accuracy on test images like those it was trained on.",
    "OOD": "Mean accuracy over data sets under shift: other styles, renditions, corruptions.",
    "Adv": "Accuracy under attack; the note below says which.",
    "HM'": "Harmonic mean of ID, OOD' = (OOD + ZS) / 2 and Adv' = (Adv + NatAdv) / 2.",
    "ZS": "Zero-shot transfer: mean accuracy on tasks that it was not fine-tuned for.",
    "NatAdv": "Accuracy on unmodified images that are hard: the zero-shot model gets them wrong.",
    "OOD'": "(OOD + ZS) / 2",
    "Adv'": "(Adv + NatAdv) / 2",
    "AutoAttack": "Accuracy under all attacks of AutoAttack, of which Adv is the first, APGD-CE.",
    "passes": "A training step in forward passes of its batch, timed before the study.",
    "ms a step": "A training step by the clock of the machine that trained, evaluations included.",
}


def with_intervals(shown: Sequence[Entry], columns: Sequence[str]) -> pd.DataFrame:
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
    """What the controls of the table ask for.

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


def ranked(choice: Choice, found: Ranking) -> None:
    """Every run, the best first: numbers with intervals, in bold the best of each column and what
    is not clearly worse; differences, settings and the paper's columns on demand.
    """
    place, below = st.container(), st.container(gap="small")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        with st.popover("Columns and filter", type="tertiary"):
            wanted = _controls()
        listed = [e for e in found.entries if wanted.keeps(choice.names[e.id], e.method)]
        whole = table = _printed(choice, found, listed, wanted)
        if not (wanted.deltas or wanted.paper or wanted.settings):
            with below:
                table = _at_first(found, listed, whole)
        if listed:
            _buttons(whole, "runs", "table-ranked")
    with place:
        if not listed:
            st.info(f"No run matches '{text(wanted.filter)}'.")
            return
        colors = {choice.names[e.id]: choice.legend.looks[e.id].color for e in listed}
        draw(table, "Accuracies of the chosen runs, best first, in percent", colors)
    with below:
        keys = [f"{n}: {text(choice.names[run])}" for run, n in found.numbers(choice.names).items()
                if cut(choice.names[run]) != choice.names[run]]  # fmt: skip
        if len(keys) > MOST_KEYED:
            with st.expander(f"{len(keys)} names that the table cuts", key="table-names"):
                st.caption("  \n".join(keys))
        elif keys:
            st.caption("; ".join(keys) + ".")
        st.caption(inline(" ".join(table.notes)), help=BOLD)


BOLD = (
    "Not clearly worse: the difference to the best, paired over the same images or seeds, has "
    "p \u2265 0.05 or an interval that holds 0. A click on a head sorts by number."
)


def _at_first(found: Ranking, listed: Sequence[Entry], whole: Printed) -> Printed:
    """The columns that there is room for; all of them at a click on the control for it."""
    heads, others = widths.fitting(whole, AT_FIRST)
    if not others or st.toggle(
        f"Also {', '.join(others)}", key="overview_every", bind="query-params",
        help="More columns than there is room for: the table then scrolls sideways.",
    ):  # fmt: skip
        return whole
    at = [whole.heads.index(head) for head in heads]
    return Printed(
        heads, [[row[i] for i in at] for row in whole.rows], _notes(found, listed, heads)
    )


def _controls() -> Wanted:
    deltas = st.toggle(
        "Differences to the baseline", key="overview_differences", bind="query-params",
        help="In points; \u2013 for the baseline and where runs cannot be compared.",
    )  # fmt: skip
    paper_columns = st.toggle(
        "The paper's columns", key="overview_paper", bind="query-params",
        help="OOD' = (OOD + ZS) / 2, Adv' = (Adv + NatAdv) / 2, HM' of these.",
    )  # fmt: skip
    settings = st.toggle(
        "Settings that differ", key="overview_settings", bind="query-params",
        help="Only settings in which the chosen runs differ.",
    )  # fmt: skip
    part = st.text_input(
        "Filter", placeholder="Part of a name or method", key="filter", bind="query-params"
    )
    return Wanted(deltas, paper_columns, settings, part or "")


def _printed(choice: Choice, found: Ranking, listed: Sequence[Entry], wanted: Wanted) -> Printed:
    columns = [c for c in FIRST if c in found.leads]
    columns += [c for c in ranking.COLUMNS if c in found.leads and c not in columns]
    if wanted.paper:
        columns += [c for c in PAPER if any(e.estimates.get(c) for e in listed)]
    heads = ["run", *columns]
    cells: list[list[Cell]] = [
        [choice.names[e.id], *(_cell(e, c, e.id in found.bold(c)) for c in columns)] for e in listed
    ]
    if numbers := found.numbers(choice.names):  # they stand at the points of the figures
        heads.insert(0, NUMBER)
        for e, row in zip(listed, cells, strict=True):
            row.insert(0, numbers[e.id])
    for head, values in _further(choice, listed).items():
        _add(heads, cells, head, values)
    if wanted.deltas:
        gaps = [[_difference(e, choice.baseline, c) for c in columns] for e in listed]
        for column, of_all in zip(columns, zip(*gaps, strict=True), strict=False):
            _add(heads, cells, f"\u0394 {column}", of_all)
    if any(e.members for e in listed):
        seeds = [", ".join(str(m.seed) for m in e.members) or str(e.seed) for e in listed]
        _add(heads, cells, "seeds", seeds)
    if wanted.settings:
        differ = compare.differing(listed)
        for key in dict.fromkeys(key for run in differ.values() for key in run):
            known = [
                compare.written(key, run[key]) if key in run else None for run in differ.values()
            ]
            _add(heads, cells, "method" if key == "method" else key, known)
    return Printed(heads, cells, _notes(found, listed, heads))


def _add(heads: list[str], rows: list[list[Cell]], head: str, cells: Sequence[Cell]) -> None:
    """One more column, unless there is one of that name."""
    if head in heads:
        return
    heads.append(head)
    for row, cell in zip(rows, cells, strict=True):
        row.append(cell)


def _cell(entry: Entry, column: str, best: bool) -> Figure | None:
    return _percent(entry.estimates.get(column), best)


def _percent(found: Estimate | None, best: bool = False) -> Figure | None:
    if found is None:
        return None
    return Figure(100 * found.value, 100 * found.low, 100 * found.high, best)


def _further(choice: Choice, listed: Sequence[Entry]) -> dict[str, list[Figure | None]]:
    """The whole of AutoAttack, and what a step cost, where some run has it on record."""
    known: dict[str, list[Figure | None]] = {
        "AutoAttack": [_percent(ranking.autoattack(e)) for e in listed]
    }
    steps = [costs.passes(e, choice.root) for e in listed]
    if any(step is not None for step in steps):
        known["passes"] = [Figure(x) if x is not None else None for x in steps]
    else:
        times = [costs.seconds(e) for e in listed]
        known["ms a step"] = [Figure(1000 * x, digits=None) if x else None for x in times]
    return {head: cells for head, cells in known.items() if any(cells)}


def _difference(entry: Entry, baseline: Entry | None, column: str) -> Figure | None:
    value = compare.delta(entry, baseline, column)
    if value is None or baseline is None:
        return None
    gap = paired.gap(entry, baseline, column)
    if gap is None:
        return Figure(100 * value, signed=True)
    return Figure(100 * gap.value, 100 * gap.low, 100 * gap.high, signed=True)


def _notes(found: Ranking, listed: Sequence[Entry], heads: Sequence[str]) -> list[str]:
    """What bold, \u00b1 and the columns mean."""
    attacks = {
        attack_said(a.attack): a.n
        for e in listed for a in headline_attack(e.accuracies) if a.attack
    }  # fmt: skip
    notes = [
        "Top-1 accuracy in %, \u00b1 half of a 95 % interval (lopsided ones in full).",
        "Bold: best or not clearly worse." if any(map(found.bold, found.leads)) else "",
        f"Adv: {'; '.join(sorted(attacks))}, {_either(attacks.values())} images."
        if attacks else "",
        "Passes: forward passes of a training step." if "passes" in heads else "",
    ]  # fmt: skip
    return [note for note in notes if note]


def _either(numbers: Any) -> str:
    return " or ".join(map(str, sorted(set(numbers))))


def draw(
    table: Printed,
    alt: str,
    colors: Mapping[str, str] | None = None,
    helps: Mapping[str, str] = HELP,
) -> None:
    """A table on the page: sorted by number at a click, each number with its interval, the best in
    bold, and names in the colours of the figures. No column is narrower than what it holds; below
    it stand the columns for which it must be scrolled.

    Args:
        table: What it holds.
        alt: Alternative text.
        colors: Name -> colour of the first column.
        helps: Head -> what it means, for the pointer.
    """
    numeric = [
        head == NUMBER or any(isinstance(row[i], Figure) for row in table.rows)
        for i, head in enumerate(table.heads)
    ]
    frame = pd.DataFrame(
        {
            head: [_value(row[i], numeric[i]) for row in table.rows]
            for i, head in enumerate(table.heads)
        }
    )
    config: dict[str, Any] = {}
    for i, head in enumerate(table.heads):
        kind = st.column_config.NumberColumn if numeric[i] else st.column_config.TextColumn
        needed = widths.taken(head, [row[i] for row in table.rows])
        config[head] = kind(help=helps.get(head), width=needed)
    height: int | Literal["content"] = "content"
    if len(frame) > MOST_ROWS:
        height = ROW * (MOST_ROWS + 1) + ROW // 2
    st.dataframe(
        _styled(frame, table, colors or {}), hide_index=True, column_config=config,
        height=height, row_height=ROW if len(frame) > FEW_ROWS else None, placeholder="\u2013",
        alt=alt,
    )  # fmt: skip
    if said := widths.further(table):
        st.html(said)


def _value(cell: Cell, numeric: bool) -> object:
    if isinstance(cell, Figure):
        return cell.value
    if cell is None:
        return float("nan") if numeric else ""
    return int(cell) if numeric and cell.isdecimal() else cell


def _styled(frame: pd.DataFrame, table: Printed, colors: Mapping[str, str]) -> Any:
    """The frame with what stands in each cell and how."""
    looks: list[list[str]] = [[""] * len(table.heads) for _ in table.rows]
    styler = frame.style
    for j, head in enumerate(table.heads):
        column = [row[j] for row in table.rows]
        for i, cell in enumerate(column):
            if isinstance(cell, Figure):
                looks[i][j] = "font-weight: 700" if cell.best else ""
            elif head in (NUMBER, "run") and isinstance(cell, str):
                color = colors.get(str(table.rows[i][table.heads.index("run")]))
                weight = 500 if NUMBER in table.heads else 600
                looks[i][j] = f"color: {color}; font-weight: {weight}" if color else ""
        if head == "run" and any(cut(str(name)) != name for name in column):
            styler.format(lambda name: cut(str(name)), subset=["run"])
        for rows, shown in _wordings(column):
            styler.format(_wording(shown), subset=pd.IndexSlice[rows, [head]])
    look = pd.DataFrame(looks, index=frame.index, columns=frame.columns)
    return styler.apply(lambda _: look, axis=None)


def _wordings(column: Sequence[Cell]) -> list[tuple[list[int], dict[float, str]]]:
    """Rows with what is written for their numbers: all in one, since pandas takes long for each,
    but for equal numbers with unlike intervals, which one wording cannot tell apart.
    """
    parts: list[tuple[list[int], dict[float, str]]] = []
    for i, cell in enumerate(column):
        if isinstance(cell, Figure):
            value, short = float(cell.value), cell.short()
            fits = (part for part in parts if part[1].get(value, short) == short)
            if (part := next(fits, None)) is None:
                part = [], {}
                parts.append(part)
            part[0].append(i)
            part[1][value] = short
    return parts


def _wording(shown: Mapping[float, str]) -> Callable[[float], str]:
    return lambda value: MISSING if math.isnan(value) else shown[value]


def downloads(table: Printed, name: str, key: str) -> None:
    """A table as CSV with every digit, as Markdown, and as LaTeX with booktabs."""
    with st.container(horizontal=True, gap="small"):
        _buttons(table, name, key)


def _buttons(table: Printed, name: str, key: str) -> None:
    kinds: dict[str, tuple[Callable[[], str], str, str]] = {
        "CSV": (table.csv, "csv", "text/csv"),
        "Markdown": (table.markdown, "md", "text/markdown"),
        "LaTeX": (table.latex, "tex", "application/x-tex"),
    }
    for kind, (made, ending, mime) in kinds.items():
        st.download_button(
            f"Table ({kind})", made, f"{name}.{ending}", mime, key=f"{key}-{ending}",
            on_click="ignore", type="tertiary",
        )  # fmt: skip


def papers_rows(choice: Choice, shown: Sequence[Entry]) -> None:
    """The paper's rows above ours: other data and another model, so only the order within each
    block compares.
    """
    ours = [e for e in shown if all(e.estimates.get(c) for c in paper.COLUMNS)]
    heads = ("ID", "OOD", "Adv", "HM")
    rows: list[list[Cell]] = [
        ["paper: ViT-B/32, ImageNet-1K", name, *(Figure(x, digits=2) for x in row)]
        for name, row in paper.TABLE6.items()
    ]
    for e in ours:
        rows.append(
            ["these runs", choice.names[e.id], *(_cell(e, c, False) for c in paper.COLUMNS)]
        )
    notes = [
        "Top-1 accuracy in %. The paper's rows have another model and other data: compare the "
        "order of methods within a block, never a number of one block with one of the other.",
        "Of these runs OOD = (OOD + ZS) / 2, Adv = (Adv + NatAdv) / 2, and HM is the harmonic "
        "mean of ID and these; runs that lack one of them are left out.",
    ]
    table = Printed(["source", "method", *heads], rows, notes)
    with st.expander("The paper's Table 6 with these runs", key="papers-table"):
        draw(table, "Table 6 of the paper beside the chosen runs, in percent")
        st.caption(inline(" ".join(notes)))
        downloads(table, "table6", "table-paper")
