"""Which runs are meant: ``method=grace eps>4/255 tag:final``

A query is terms with spaces between them; a run must meet all of them.

==================  ================================================================
``shapes``          part of the name or the method
``method=grace,at`` the setting is one of these, as written or as a number
``data~shapes``     the setting has this part
``eps>4/255``       ``<``, ``<=``, ``>``, ``>=``: numbers, also as fractions
``lr!=1e-3``        anything else, or no such setting
``HM>70``           a column of the summary, in percent
``tag:final``       a tag; ``tag:hidden`` shows hidden runs
``-TERM``           not this
``note~"two words"``  quotes keep spaces
==================  ================================================================

Names of settings are those of ``config.yaml`` and ``name``, ``folder``, ``method``, ``data``,
``seed``, ``tag`` and ``note``; upper and lower case are one in values.
"""

import difflib
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from grace_geom.records import number

Facts = Mapping[str, Any]
"""What is known of a run, by name: settings, columns in percent, and a list of tags."""

TERM = re.compile(r"(?P<field>\w[\w.+-]*?)(?P<op><=|>=|!=|=|~|<|>|:)(?P<value>.*)", re.DOTALL)
ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class QueryError(ValueError):
    """A query that cannot be understood. The message says which term, and what would do."""


@dataclass(frozen=True)
class Term:
    """One condition.

    Attributes:
        field: Name of a setting; empty for a word that names or methods may have.
        op: ``=``, ``!=``, ``~``, ``<``, ``<=``, ``>`` or ``>=``.
        values: Alternatives; one where the operator compares numbers.
        negated: Whether the others are meant.
    """

    field: str
    op: str
    values: tuple[str, ...]
    negated: bool = False

    def meets(self, facts: Facts) -> bool:
        """Whether a run is meant."""
        return self._holds(facts) != self.negated

    def _holds(self, facts: Facts) -> bool:
        if not self.field:
            return any(_has(facts.get(key), self.values[0]) for key in ("name", "id", "method"))
        value = facts.get(self.field)
        if self.op in ORDERS:
            ours, theirs = as_number(value), as_number(self.values[0])
            return ours is not None and theirs is not None and ORDERS[self.op](ours, theirs)
        if self.op == "~":
            return any(_has(value, part) for part in self.values)
        same = any(_is(value, wanted) for wanted in self.values)
        return same != (self.op == "!=")


def parse(query: str) -> tuple[Term, ...]:
    """The terms of a query; none for an empty one.

    Raises:
        QueryError: If a quote is not closed, a term lacks its value, or no number follows ``<`` or
            ``>``.
    """
    try:
        parts = shlex.split(query)
    except ValueError:
        raise QueryError('A quote is not closed: write note~"two words".') from None
    return tuple(_term(part) for part in parts)


def _term(part: str) -> Term:
    negated, plain = part.startswith("-"), part.removeprefix("-")
    found = TERM.fullmatch(plain)
    if found is None:
        if not plain:
            raise QueryError("A lone - means nothing: write -tag:old, without a space.")
        return Term("", "~", (plain,), negated)
    field, op, value = found["field"], found["op"].replace(":", "="), found["value"]
    if not value:
        raise QueryError(
            f"{plain} lacks a value: write {field}{found['op']}VALUE, without a space."
        )
    if op in ORDERS and as_number(value) is None:
        raise QueryError(
            f"{plain}: {value} is no number. Numbers are written as 0.1, 1e-3 or 4/255."
        )
    values = tuple(value.split(",")) if op in ("=", "!=") else (value,)
    return Term(field, op, values, negated)


def matching(terms: Iterable[Term], runs: Mapping[str, Facts]) -> list[str]:
    """The runs that meet every term.

    Args:
        terms: Of :func:`parse`.
        runs: Run -> what is known of it.

    Raises:
        QueryError: If no run has a setting that a term names.
    """
    terms = tuple(terms)
    known = {key for facts in runs.values() for key in facts}
    for term in terms:
        if term.field and runs and term.field not in known:
            raise QueryError(_unknown(term.field, known))
    return [run for run, facts in runs.items() if all(term.meets(facts) for term in terms)]


def _unknown(field: str, known: Iterable[str]) -> str:
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(field.casefold(), names, n=1)
    help = f"Did you mean {names[close[0]]}?" if close else "The Run page lists the settings."
    return f"No run has a setting {field}. {help}"


def asks_for(terms: Iterable[Term], tag: str) -> bool:
    """Whether a query speaks of a tag."""
    return any(term.field == "tag" and tag in term.values for term in terms)


def written(field: str, value: object) -> str:
    """``field=value`` for a query, with quotes where it needs them."""
    return f"{field}={shlex.quote(str(value))}"


def as_number(value: object) -> float | None:
    """A number, a fraction such as ``4/255``, or text that is one; ``None`` for anything else."""
    if not isinstance(value, str):
        return number(value)
    over, _, under = value.partition("/")
    try:
        found = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return found if math.isfinite(found) else None


def _each(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _has(value: object, part: str) -> bool:
    known = (str(one) for one in _each(value) if one is not None)
    return any(part.casefold() in one.casefold() for one in known)


def _is(value: object, wanted: str) -> bool:
    for one in _each(value):
        if one is not None and str(one).casefold() == wanted.casefold():
            return True
        ours, theirs = as_number(one), as_number(wanted)
        if ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=1e-9):
            return True
    return False
