"""Effective robustness of a study's methods: OOD accuracy beyond what a line through the methods
that train without attack foretells.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grace_geom.evaluation.shift_tables import without_attack
from grace_geom.records import Accuracy, Estimate, RecordError, counted, measured_on
from grace_geom.records.effective import LEAST, ProbitLine, above_line, line_through, smoothed
from grace_geom.study.rows import Row
from grace_geom.study.sets import set_estimate
from grace_geom.tables import Cell, Table, percent

MEAN = "mean over sets"
CLEAN = ("zero-shot", "ft", "lora", "wise-ft", "l2-sp", "sam", "lp-ft", "flyp", "linear-probe")
"""Methods that train without attack, in the order in which they are offered."""


@dataclass(frozen=True)
class Placed:
    """One method beside the line.

    Attributes:
        label: The method.
        on_line: Whether the line goes through it.
        clean, shifted: ID and OOD accuracy, means over seeds.
        foretold: What the line says of its ID accuracy, and the 95 % band there.
        above: Effective robustness.
    """

    label: str
    on_line: bool
    clean: Estimate
    shifted: Estimate
    foretold: tuple[float, float, float]
    above: Estimate


@dataclass(frozen=True)
class Shift:
    """One OOD set, or the mean over all.

    Attributes:
        data: Its name.
        line: Through the methods that train without attack.
        placed: Every method that was measured like most.
        notes: What else must be known of it.
    """

    data: str
    line: ProbitLine
    placed: tuple[Placed, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effective:
    """Of a study.

    Attributes:
        shifts: The mean over OOD sets first, where there are several; those with a line.
        lacking: Why others, or all, have none, and what would give them one.
        column: Method -> the number of the main table, that of the OOD column.
    """

    shifts: tuple[Shift, ...] = ()
    lacking: tuple[str, ...] = ()
    column: Mapping[str, Estimate] = field(default_factory=dict)


def effective(rows: Sequence[Row]) -> Effective:
    """Lines through the methods that train without attack, a method a point (its mean over seeds,
    which are no models independent of each other), for each OOD set and their mean.
    """
    sets = list(dict.fromkeys(
        a.data for row in rows for r in row.seeds.values() for a in r.accuracies
        if a.suite == "ood" and a.attack is None
    ))  # fmt: skip
    names = ([MEAN] if len(sets) > 1 else []) + sets
    if sets and all(row.estimate("ID") is None for row in rows):
        return Effective(lacking=("a line needs ID accuracies: add id to --suites",))
    shifts: list[Shift] = []
    without: dict[str, list[str]] = {}
    for data in names:
        try:
            shifts.append(_shift(rows, data))
        except RecordError as error:
            without.setdefault(str(error), []).append(data)
    lacking = [f"{', '.join(some)}: {reason}" for reason, some in without.items()]
    whole = shifts[0] if shifts and shifts[0].data == names[0] else None
    column = {p.label: p.above for p in whole.placed} if whole else {}
    return Effective(tuple(shifts), tuple(lacking), column)


def effective_table(found: Effective) -> Table | None:
    """Rows are OOD sets and methods; ``None`` where no set has a line."""
    if not found.shifts:
        return None
    cells: list[list[Cell | str]] = [
        [
            shift.data,
            p.label + " *" * p.on_line,
            percent(p.clean.value),
            percent(p.shifted.value, p.shifted.low, p.shifted.high),
            percent(*p.foretold),
            percent(p.above.value, p.above.low, p.above.high, signed=True),
        ]
        for shift in found.shifts
        for p in shift.placed
    ]
    heads = ["data", "method", "ID", "OOD", "line", "effective robustness"]
    return Table(heads, cells, labels=2, title="Effective robustness", notes=_notes(found))


def _notes(found: Effective) -> list[str]:
    notes = [
        "Effective robustness (ER): OOD accuracy minus what the line foretells for the ID accuracy, "
        "in points (Taori et al. 2020; probit axes). A method is one point, its mean over seeds; "
        "the line goes through those that train without attack (*), and its 95 % band is Student's "
        "t. The interval joins the band and that of the OOD accuracy (Newcombe), taken as "
        "independent: for methods of the line itself (*), which pull it towards them, it is only a "
        "guide."
    ]
    for shift in found.shifts:
        line = shift.line
        text = f"probit(OOD) = {line.intercept:.3f} + {line.slope:.3f} probit(ID)"
        text = f"{shift.data}: {text}, {line.n} methods, R² = {line.r2:.2f}"
        notes.append("; ".join([text, *shift.notes]) + ".")
    return [*notes, *(f"{text}." for text in found.lacking)]


def plain_lines(found: Effective) -> dict[str, Any]:
    """The lines and what lacks one, as plain types."""
    lines = {s.data: vars(s.line) | {"notes": list(s.notes)} for s in found.shifts}
    return {"lines": lines, "lacking": list(found.lacking)}


def plain_of(found: Effective, label: str) -> dict[str, Any]:
    """A method's effective robustness by OOD set, as plain types, in shares of 1."""
    return {
        s.data: {"value": p.above.value, "low": p.above.low, "high": p.above.high,
                 "foretold": p.foretold[0], "on_line": p.on_line}
        for s in found.shifts for p in s.placed if p.label == label
    }  # fmt: skip


def _shift(rows: Sequence[Row], data: str) -> Shift:
    found: dict[str, tuple[bool, Estimate, Estimate, tuple[float, float]]] = {}
    bases: dict[str, object] = {}
    for row in rows:
        clean = row.estimate("ID")
        shifted = row.estimate("OOD") if data == MEAN else set_estimate(row, "ood", data)
        if clean is None or shifted is None:
            continue
        used = [_used(r.accuracies, data) for r in row.seeds.values()]
        at = (
            smoothed(clean.value, sum(a.n for a in used[0][0])),
            smoothed(shifted.value, sum(a.n for a in used[0][1])),
        )
        found[row.label] = _on_line(row), clean, shifted, at
        bases[row.label] = frozenset(
            (a.suite, a.data, measured_on(a)) for pair in used for some in pair for a in some
        )
    on_line = Counter(bases[label] for label, (clean_model, *_) in found.items() if clean_model)
    every = Counter(bases.values())
    usual = max(every, key=lambda basis: (on_line[basis], every[basis]), default=None)
    apart = [label for label in found if bases[label] != usual]
    kept = {label: one for label, one in found.items() if label not in apart}
    try:
        line = line_through([at for clean_model, _, _, at in kept.values() if clean_model])
    except RecordError as error:
        raise RecordError(_what_is_needed(str(error), apart, [row.label for row in rows])) from None
    placed = tuple(
        Placed(label, clean_model, clean, shifted, line.at(at[0]), above_line(line, at[0], shifted))
        for label, (clean_model, clean, shifted, at) in kept.items()
    )
    return Shift(data, line, placed, tuple(_left_out(apart)))


def _on_line(row: Row) -> bool:
    return bool(row.seeds) and all(without_attack(r) for r in row.seeds.values())


def _used(accuracies: Sequence[Accuracy], data: str) -> tuple[list[Accuracy], list[Accuracy]]:
    """The ID and OOD accuracies behind a row's place."""
    shifted = counted(accuracies, "OOD").values()
    return [*counted(accuracies, "ID").values()], [a for a in shifted if data in (MEAN, a.data)]


def _what_is_needed(reason: str, apart: Sequence[str], labels: Sequence[str]) -> str:
    """Why there is no line, and methods that the study does not have and that would help."""
    what = reason.partition(": name ")[0]
    others = [name for name in CLEAN if name not in labels][:LEAST]
    such = f", such as {', '.join(others)}" if others else ""
    more = f"add methods that train without attack to --methods{such}"
    return "; ".join([f"{what}: {more}", *_left_out(apart)])


def _left_out(apart: Sequence[str]) -> list[str]:
    if not apart:
        return []
    return [f"left out, for their ID or OOD images are not those of the others: {', '.join(apart)}"]
