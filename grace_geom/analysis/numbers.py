"""Estimates as measures of a result, and measures as cells of a table: a number, or a dash whose
footnote says why there is none.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from grace_geom.errors import NotFiniteError
from grace_geom.geometry.trace import StochasticEstimate
from grace_geom.quantities import plus_minus
from grace_geom.records import NOT_MEASURED, Measure
from grace_geom.tables import MISSING, Cell, Table

ELSEWHERE = "this checkpoint has no such entry"
_MARKS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def as_measure(estimate: StochasticEstimate, scale: float = 1.0) -> Measure:
    """An estimate, scaled, with its 95 % interval: Student's, as few probes tell their scatter
    poorly. One whose error cannot be told has none.
    """
    value, error = scale * estimate.value, scale * estimate.error
    if not math.isfinite(error):
        return Measure(value, estimator=estimate.estimator)
    half = scale * estimate.half_width()
    return Measure(value, error, value - half, value + half, 0.95, estimate.estimator)


def absent(why: str) -> Measure:
    """A measure without a value, and the reason."""
    return Measure(math.nan, estimator=NOT_MEASURED + why)


def or_absent(
    measure: Callable[[], Mapping[str, Measure]], keys: Iterable[str]
) -> dict[str, Measure]:
    """What ``measure`` finds; where its numbers are not finite, no value under any of ``keys``."""
    try:
        return dict(measure())
    except NotFiniteError as why:
        return {key: absent(str(why)) for key in keys}


def number(measure: Measure) -> Cell:
    """``12.3 ± 0.4``; ``~12.3`` where an eigenvalue has not converged; a dash where there is no
    finite number.
    """
    if not math.isfinite(measure.value):
        return Cell(MISSING)
    about = "~" if "not converged" in measure.estimator else ""
    known = measure.error is not None and math.isfinite(measure.error)
    text = plus_minus(measure.value, measure.error if known else None)
    return Cell(about + text, value=measure.value)


def three_digits(measure: Measure) -> Cell:
    """``0.0971``: a number without an error whose further digits nobody compares."""
    return Cell(f"{measure.value:#.3g}".rstrip(".") if measure.value else "0", value=measure.value)


class Footnotes:
    """The cells of one table. Where there is no number they hold a dash with a mark, and
    :attr:`notes` says what each mark means.
    """

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def cell(
        self,
        measure: Measure | None,
        draw: Callable[[Measure], Cell] = number,
        undefined: str = "not defined on these images",
        missing: str = ELSEWHERE,
    ) -> Cell:
        """The measure as ``draw`` shows it, or a marked dash.

        Args:
            measure: The number; ``None`` where the checkpoint has none of this name.
            draw: How a number looks.
            undefined: Reason for a value that is not finite and does not bring its own.
            missing: Reason for ``None``.
        """
        if measure is None:
            return self.dash(missing)
        if math.isfinite(measure.value):
            return draw(measure)
        own = measure.estimator.startswith(NOT_MEASURED)
        return self.dash(measure.estimator.removeprefix(NOT_MEASURED) if own else undefined)

    def dash(self, why: str) -> Cell:
        """A dash for this reason; the same reason has the same mark."""
        if why not in self._reasons:
            self._reasons.append(why)
        return Cell(MISSING + _mark(self._reasons.index(why) + 1))

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons told so far, in the order of their marks."""
        return tuple(self._reasons)

    @property
    def notes(self) -> list[str]:
        """One line for each reason, in the order of the marks."""
        return [f"{_mark(i)} {why}" for i, why in enumerate(self._reasons, start=1)]


def gathered(remarks: Iterable[tuple[str, str]], told: Collection[str] = ()) -> list[str]:
    """Remarks on parts of a table as one line for each text: ``ft, id; ft, adv: 14 images ...``.

    Args:
        remarks: What a remark is about, and its text.
        told: Texts that the table's footnotes say already; they are left out.
    """
    about: dict[str, list[str]] = {}
    for where, text in remarks:
        if text not in told:
            about.setdefault(text, []).append(where)
    return [f"{'; '.join(places)}: {text}" for text, places in about.items()]


def _mark(i: int) -> str:
    return str(i).translate(_MARKS)


def with_refused(table: Table, refused: Mapping[str, str]) -> Table:
    """The table with a row of dashes for each checkpoint that could not be measured, and why.

    Args:
        table: The others.
        refused: Label -> reason.
    """
    rows = [[label, *[MISSING] * (len(table.columns) - 1)] for label in refused]
    notes = [f"{label}: {NOT_MEASURED}{why}" for label, why in refused.items()]
    return replace(table, rows=[*table.rows, *rows], notes=[*table.notes, *notes])
