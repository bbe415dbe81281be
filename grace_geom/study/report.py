"""The tables of a study: the paper's Tables 6, 7 and 8 in both definitions, for a terminal and as
Markdown. CSV and JSON are in :mod:`grace_geom.study.data_files`.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace

from grace_geom.records import (
    COLUMNS,
    SUITES,
    Accuracy,
    Estimate,
    Uneven,
    attack_text,
    convention_notes,
    headline_attack,
    how_intervals,
    mean_corruption,
    over_levels,
    questions,
    uneven,
)
from grace_geom.records.summary import BY_CONSTRUCTION, OVER_SEEDS, by_construction
from grace_geom.study.effective import effective, effective_table
from grace_geom.study.options import GROUPS
from grace_geom.study.rows import Row, difference
from grace_geom.study.sets import (
    corruption_levels,
    in_parts,
    lacking,
    set_estimate,
    set_of,
    suite_estimates,
    whole_attack,
)
from grace_geom.tables import Cell, Table, percent

OURS = ("ID", "OOD", "Adv", "NatAdv", "ZS", "HM")
PAPER = ("ID", "OOD'", "Adv'", "HM'")
DEFINITIONS = {
    "OOD": "OOD: mean over OOD sets.",
    "Adv": "Adv: {attack}.",
    "NatAdv": "NatAdv: mean over natural adversarial sets.",
    "ZS": "ZS: mean over zero-shot sets.",
    "HM": "HM = 3 / (1/ID + 1/OOD + 1/Adv).",
}
PAPER_DEFINITIONS = (
    "OOD' = (OOD + ZS) / 2, Adv' = (Adv + NatAdv) / 2, HM' = harmonic mean of ID, OOD', Adv'."
)

COLUMN_OF = {"ood": "OOD", "natural_adv": "NatAdv", "zeroshot": "ZS"}
SET_TITLES = {
    "ood": "OOD sets",
    "natural_adv": "Natural adversarial sets",
    "zeroshot": "Zero-shot sets",
}
Cells = list[list[Cell | str]]
NONE: Mapping[str, Estimate] = {}
ER = (
    "ER: effective robustness, OOD minus what a line through the methods that train without attack "
    "foretells for ID."
)


def main_table(
    rows: Sequence[Row],
    columns: Sequence[str] = OURS,
    title: str = "",
    above: Mapping[str, Estimate] = NONE,
) -> Table:
    """One row a method; one whose runs all failed says so.

    Args:
        rows: The methods.
        columns: Those that no row has are left out.
        title: A line above.
        above: Effective robustness by method, for a last column ``ER``.
    """
    shown = [c for c in columns if any(row.estimate(c) for row in rows)]
    names = [row.label if row.records or not row.error else f"{row.label} (failed)" for row in rows]
    apart = uneven_rows(rows, shown)
    cells: Cells = [
        [name, *(_cell(row.estimate(c)).marked(apart.mark(i, c)) for c in shown)]
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    if any(row.label in above for row in rows):
        shown.append("ER")
        for row, line in zip(rows, cells, strict=True):
            line.append(_cell(above.get(row.label), signed=True))
    notes = [intervals_note(rows), *conventions(rows), *copies(rows), *apart.notes]
    return Table(["method", *shown], cells, title=title, notes=notes)


def uneven_rows(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> Uneven:
    """Which numbers were measured on other images, or under another attack, than most of their
    column.
    """
    shown = [(row.label, [r.accuracies for r in row.seeds.values()]) for row in rows]
    return uneven(shown, columns)


def conventions(rows: Sequence[Row], suites: Sequence[str] = SUITES) -> list[str]:
    """Which numbers are mean per-class accuracies, as papers report them."""
    counted = [
        a for row in rows for r in row.seeds.values() for a in questions(r.accuracies).values()
    ]
    return convention_notes(a for a in counted if a.suite in suites)


def copies(rows: Sequence[Row]) -> list[str]:
    """A sentence for each row that holds one training more than once."""
    return [f"{row.label}: {row.copies}." for row in rows if row.copies]


def sets_table(rows: Sequence[Row], suite: str, title: str) -> Table | None:
    """One column a data set of a suite; ``None`` where there are none."""
    names: dict[str, None] = {}
    for row in rows:
        for record in row.records.values():
            names |= {
                a.data: None for a in record.accuracies if a.suite == suite and a.attack is None
            }
    if not names:
        return None
    apart = uneven_rows(rows, [COLUMN_OF[suite]])
    cells: Cells = [
        [
            row.label,
            *(
                _cell(set_estimate(row, suite, name)).marked(apart.mark_set(i, suite, name))
                for name in names
            ),
        ]
        for i, row in enumerate(rows)
    ]
    notes = [*conventions(rows, [suite]), *apart.notes, *lacking(rows, set_of(suite))]
    return Table(["method", *names], cells, title=title, notes=notes)


def suite_table(rows: Sequence[Row]) -> Table | None:
    """One column an attack of several parts; ``None`` where none was run."""
    found = suite_estimates(rows)
    names = sorted({name for some in found for name in some})
    if not names:
        return None
    cells: Cells = [
        [row.label, *(_cell(some.get(n)) for n in names)]
        for row, some in zip(rows, found, strict=True)
    ]
    note = "Images that stand under every part of the attack; Adv and HM count its APGD-CE part, as the paper does."
    notes = [note, *conventions(rows, ["adv"]), *lacking(rows, whole_attack)]
    return Table(["method", *names], cells, title="Whole attack", notes=notes)


def corruption_table(rows: Sequence[Row]) -> Table | None:
    """One column a corruption, mean over severities, and the mean corruption accuracy; ``None``
    where there is none.
    """
    found = [
        (row.label, data, levels)
        for row, by_set in zip(rows, corruption_levels(rows), strict=True)
        for data, levels in by_set.items()
    ]
    names = list(dict.fromkeys(name for _, _, levels in found for name in levels))
    if not names:
        return None
    cells: Cells = [
        [
            label,
            data,
            *(percent(over_levels(levels).get(name)) for name in names),
            percent(mean_corruption(levels)),
        ]
        for label, data, levels in found
    ]
    note = "Top-1 accuracy in %, mean over severities and seeds; severities are in table.json, intervals in eval.json."
    return Table(
        ["method", "data", *names, "mean"],
        cells,
        2,
        "Corruptions",
        [note, *lacking(rows, in_parts)],
    )


def difference_table(
    rows: Sequence[Row], baseline: Row, columns: Sequence[str] = (*OURS, "HM'")
) -> Table | None:
    """Every other row minus the baseline, in points, with 95 % interval and p."""
    others = [row for row in rows if row.label != baseline.label]
    shown = [c for c in columns if any(difference(row, baseline, c) for row in others)]
    trivial = [c for c in shown if by_design(c, baseline)]
    shown = [c for c in shown if c not in trivial]
    if not shown:
        return None
    apart = [uneven_rows([baseline, row], shown) for row in others]
    cells: Cells = [
        [row.label, *(_difference_cell(row, baseline, c).marked(a.mark(1, c)) for c in shown)]
        for row, a in zip(others, apart, strict=True)
    ]
    found = [difference(row, baseline, c) for row in others for c in shown]
    how = sorted({d.how for d in found if d is not None})
    title = f"Difference to {baseline.label}, points with 95 % interval (p)"
    notes = [f"Tests: {'; '.join(how)}.", *([BY_CONSTRUCTION] if trivial else [])]
    notes += [note for a in apart for note in a.notes]
    return Table(["method", *shown], cells, title=title, notes=notes)


def by_design(column: str, baseline: Row) -> bool:
    """Whether the baseline's accuracy in this column is fixed by how the data were made."""
    records = baseline.records.values()
    return any(by_construction(column, r.method, r.accuracies) for r in records)


def cost_table(rows: Sequence[Row]) -> Table:
    """Learning rate, steps and training seconds a run, and a step and a run in forward passes of
    its batch.
    """
    cells: Cells = []
    for row in rows:
        seconds = f"{sum(row.seconds) / len(row.seconds):.0f}" if row.seconds else "-"
        bound = "≤ " if row.at_most else ""
        cost = f"{bound}{row.cost:.1f}" if row.cost else "-"
        run = f"{bound}{row.cost * row.steps:.0f}" if row.cost and row.steps else "-"
        rate = f"{row.lr:.3g}" if row.lr is not None else "-"
        cells.append([row.label, rate, str(row.steps or "-"), seconds, cost, run])
    note = "A step in forward passes (without gradients) of its batch, timed on this machine before the study started."
    notes = [note]
    if any(row.at_most for row in rows):
        notes.append(
            "≤: timed as if no image left its attack early; `attack_looks` in metrics.jsonl says "
            "how many do."
        )
    columns = ["peak lr", "steps", "training seconds", "step in forwards", "run in forwards"]
    return Table(["method", *columns], cells, notes=notes)


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most ``width``."""
    return textwrap.fill(text, width)


def definitions(rows: Sequence[Row]) -> str:
    """What the columns of the main table mean."""
    shown = [
        text for column, text in DEFINITIONS.items() if any(row.estimate(column) for row in rows)
    ]
    return " ".join(shown).format(attack=attack_note(rows))


def failures(rows: Sequence[Row]) -> list[str]:
    """A line for each row that lacks runs."""
    return [f"{row.label}: {row.error}" for row in rows if row.error]


def intervals_note(rows: Sequence[Row]) -> str:
    """Which intervals stand in a table."""
    seeds = sorted({len(row.seeds) for row in rows if row.records and row.trains})
    over = f"means over {' or '.join(map(str, seeds))} seeds with {OVER_SEEDS}"
    alone = [row.estimate(c) for row in rows if len(row.seeds) == 1 for c in COLUMNS]
    images = how_intervals(alone)
    fixed = any(not row.trains for row in rows)
    if not seeds or seeds == [1]:
        return f"Top-1 accuracy in %, one seed, {images}: it says nothing of other seeds."
    return f"Top-1 accuracy in %, {over}" + (f"; without training: {images}." if fixed else ".")


def attack_note(rows: Sequence[Row]) -> str:
    """Loss, steps, restarts, images, eps, precision and seed of the attack behind ``Adv``."""
    found: list[Accuracy] = [
        a for row in rows for r in row.records.values() for a in headline_attack(r.accuracies)
    ]
    texts = [
        f"{attack_text(a.attack, 'all')} on {a.n} of {a.subset.get('of', a.n)} test images"
        for a in found
    ]
    return "; or ".join(dict.fromkeys(texts)) or "no attack"


def markdown(rows: Sequence[Row], baseline: Row | None, heading: str, rates: str = "") -> str:
    """Every table of the study; ``rates`` is the part on the learning rates that were tried."""
    parts, shift = [f"# {heading}\n"], effective(rows)
    for title, some in grouped(rows).items():
        parts.append(f"## {title}\n\n{main_table(some, above=shift.column).markdown()}")
        if any(row.estimate("OOD'") or row.estimate("Adv'") for row in some):
            paper = replace(main_table(some, PAPER), notes=uneven_rows(some, PAPER).notes)
            parts.append(f"In the paper's columns:\n\n{paper.markdown()}")
    meanings = " ".join([definitions(rows), *([ER] if shift.column else [])])
    parts.append(meanings + "\n\n" + PAPER_DEFINITIONS + "\n")
    if baseline is not None and (table := difference_table(rows, baseline)) is not None:
        parts.append(f"## {table.title}\n\n{replace(table, title='').markdown()}")
    if (table := suite_table(rows)) is not None:
        parts.append(f"## {table.title}\n\n{replace(table, title='').markdown()}")
    for suite, title in SET_TITLES.items():
        if (table := sets_table(rows, suite, "")) is not None:
            parts.append(f"## {title}\n\n{table.markdown()}")
    if (table := corruption_table(rows)) is not None:
        parts.append(f"## {table.title}\n\n{replace(table, title='').markdown()}")
    if (table := effective_table(shift)) is not None:
        parts.append(f"## {table.title}\n\n{replace(table, title='').markdown()}")
    elif shift.lacking:
        parts.append(
            "## Effective robustness\n\n" + "\n".join(f"- {s}" for s in shift.lacking) + "\n"
        )
    parts.append("## Cost\n\n" + cost_table(rows).markdown())
    if rates:
        parts.append(rates)
    if lines := failures(rows):
        parts.append("## Failed\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts)


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The paper's three tables, 7 and 8 where the study has at least three of their rows.

    Rows of no table, and those of tables that are not shown, stand in the first.
    """
    by_label = {row.label: row for row in rows}
    lora = [by_label[label] for label in GROUPS["table7"] if label in by_label]
    ablation = [by_label[label] for label in GROUPS["table8"] if label in by_label]
    extra = {"LoRA group (Table 7)": lora, "Ablation (Table 8)": ablation}
    extra = {title: some for title, some in extra.items() if len(some) > 2}
    elsewhere = {row.label for some in extra.values() for row in some} - set(GROUPS["table6"])
    first = [row for row in rows if row.label not in elsewhere]
    return ({"Comparison (Table 6)": first} if first else {}) | extra


def _cell(estimate: Estimate | None, signed: bool = False) -> Cell:
    if estimate is None:
        return percent(None)
    return percent(estimate.value, estimate.low, estimate.high, signed)


def _difference_cell(row: Row, baseline: Row, column: str) -> Cell:
    d = difference(row, baseline, column)
    if d is None:
        return percent(None)
    if math.isnan(d.low):
        return percent(d.value, signed=True)
    p = "p < 0.001" if d.p < 0.001 else f"p {d.p:.2g}"
    number = percent(d.value, d.low, d.high, signed=True)
    return Cell(f"{number.full} ({p})", f"{number.short} ({p.replace(' < ', '<')})", d.value)
