"""Estimates as measures of a result, and measures as cells of a table: a number, or a dash whose
footnote says why there is none.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from grace_geom.errors import NotFiniteError
from grace_geom.geometry.trace import StochasticEstimate
from grace_geom.quantities import FIXED, plus_minus
from grace_geom.records import NOT_MEASURED, Measure
from grace_geom.tables import MISSING, Cell, Table

ELSEWHERE = "this checkpoint has no such entry"
UNCERTAIN = "~"
"""Before an eigenvalue that has not converged."""
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
    known = measure.error is not None and math.isfinite(measure.error)
    text = plus_minus(measure.value, measure.error if known else None)
    return Cell(_about(measure) + text, value=measure.value)


def _about(measure: Measure) -> str:
    return UNCERTAIN if "not converged" in measure.estimator else ""


def alike(measures: Iterable[Measure | None]) -> Callable[[Measure], Cell]:
    """How the numbers of one column look, for :meth:`Footnotes.cell`: all with an exponent or none,
    and where their sizes are near enough all to one decimal place.

    With errors that place has two digits of the largest one, or one digit of the smallest; without
    it has three digits of the smallest number. A column that knows the errors of some numbers only,
    or whose numbers have nothing in common, has each as :func:`number` has it.
    """
    known = [m for m in measures if m is not None and math.isfinite(m.value)]
    errors = [m.error for m in known if m.error is not None and math.isfinite(m.error)]
    sizes = [_power(m.value) for m in known if m.value]
    if not sizes or len(errors) not in (0, len(known)) or not all(errors):
        return number
    if errors:
        low, high = min(map(_power, errors)), max(map(_power, errors))
        shared = {0: high - 1, 1: high - 1, 2: low}.get(high - low)
        least = low - 1 if shared is None else shared
    elif max(sizes) - min(sizes) > APART:
        return number
    else:
        shared = least = min(0, min(sizes) - 2)
    fixed = max(sizes) < FIXED[1] and least >= -MOST_DECIMALS

    def draw(m: Measure) -> Cell:
        """With a sign before it where an eigenvalue has not converged."""
        if m.error is not None and not math.isfinite(m.error):  # of one group, say
            return number(m)
        place = _power(m.error or 0) - 1 if shared is None else shared
        text = _to_place(m.value, m.error, place) if fixed else _with_power(m.value, m.error)
        return Cell(_about(m) + text, value=m.value)

    return draw


APART = 4
"""Powers of ten between numbers that one decimal place cannot show."""
MOST_DECIMALS = 6
"""Behind the point; smaller numbers have an exponent."""


def _to_place(value: float, error: float | None, place: int) -> str:
    """``-0.0`` is 0."""
    both = [value] if error is None else [value, error]
    return " ± ".join(f"{round(x, -place) + 0.0:.{max(0, -place)}f}" for x in both)


def _with_power(value: float, error: float | None) -> str:
    if error is None:
        return f"{value:.3e}"
    digits = max(0, _power(value) - _power(error) + 1) if value else 0
    return f"{value:.{digits}e} ± {error:.1e}"


def _power(value: float) -> int:
    """Power of ten of the first digit, once rounded to two."""
    return int(f"{value:.1e}".partition("e")[2])


def three_digits(measure: Measure) -> Cell:
    """``0.0971``: a number without an error whose further digits nobody compares."""
    return Cell(f"{measure.value:#.3g}".rstrip(".") if measure.value else "0", value=measure.value)


def with_error(head: str, measures: Iterable[Measure | None]) -> str:
    """The heading of a column, which says what stands behind ± where numbers have it:
    ``trace ± s.e.``, ``average ± s.e., ρ = 10``.
    """
    if not any(m is not None and m.error is not None and math.isfinite(m.error) for m in measures):
        return head
    name, comma, rest = head.partition(",")
    return f"{name} ± s.e.{comma}{rest}"


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
