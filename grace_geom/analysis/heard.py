"""The tables of analyses for those who want them as tables, beside what is printed."""

import contextlib
from collections.abc import Iterator, Sequence

from grace_geom.tables import Table

_LISTENING: list[list[Table]] = []


@contextlib.contextmanager
def tables_heard() -> Iterator[list[Table]]:
    """A list that every table goes into which an analysis shows meanwhile."""
    _LISTENING.append([])
    try:
        yield _LISTENING[-1]
    finally:
        _LISTENING.pop()


def tell(tables: Sequence[Table]) -> None:
    """Give tables to whoever listens."""
    for heard in _LISTENING:
        heard.extend(tables)
