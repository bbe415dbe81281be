"""The tables of analyses for those who want them as tables, beside what is printed."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from grace_geom.tables import Table


@dataclass
class AnalysisTold:
    """What an analysis told.

    Attributes:
        tables: That it showed.
        measured: Checkpoints that it measured in this call; ``None`` where it did not come to its
            end.
    """

    tables: list[Table] = field(default_factory=list)
    measured: int | None = None


_LISTENING: list[AnalysisTold] = []


@contextlib.contextmanager
def heard() -> Iterator[AnalysisTold]:
    """What an analysis tells meanwhile."""
    _LISTENING.append(AnalysisTold())
    try:
        yield _LISTENING[-1]
    finally:
        _LISTENING.pop()


def tell(tables: Sequence[Table], measured: int) -> None:
    """Give whoever listens the tables, and how many checkpoints were measured for them now."""
    for listener in _LISTENING:
        listener.tables.extend(tables)
        listener.measured = measured
