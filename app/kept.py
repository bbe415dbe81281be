"""What was computed before is kept by what it was computed from: a page that is opened again, or a
control that is turned back, draws the figures that are there.

Records are told apart by which object they are: :mod:`app.store` reads a file that has changed into
another one. Everything else is told apart by what it says.
"""

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Set
from functools import lru_cache
from pathlib import PurePath
from typing import Any, ParamSpec, TypeVar

import numpy as np

from app.columns import Columns
from app.logs import Lines
from app.store import Entry
from grace_geom.plots.legend import Legend
from grace_geom.records import Accuracy, EvalRecord, Itself, Result

RECORDS = (Accuracy, Columns, Entry, EvalRecord, Lines, Result)
"""Never changed once they are made; what reads or makes them gives out the same one again."""
P = ParamSpec("P")
T = TypeVar("T")


class KeptResults:
    """What functions of their arguments returned, by these arguments.

    It is shared by all visitors, so nobody may change what it returns. Of too many results the one
    that was not asked for the longest goes first.

    Args:
        most: Results that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``make(*args, **kwargs)``, computed once.

        Args:
            make: A function of its arguments alone, defined in a module: it reads no file, no clock
                and no control.
            args, kwargs: Records, numbers, text, arrays, and lists, mappings and dataclasses of
                them.

        Raises:
            TypeError: If an argument is of another kind, which could change unseen, or the function
                is a page's own.
        """
        if make.__module__ == "__main__":
            raise TypeError(f"{make.__name__} is a page's own function, another one at each run")
        key = (make, told_apart(args), told_apart(kwargs))
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                found: T = self._known[key]
                return found
        made = make(*args, **kwargs)
        with self._lock:
            self._known[key] = made
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return made


kept = KeptResults(most=160)
"""Figures and tables."""
kept_of_runs = KeptResults(most=1024)
"""What is small and of a single run, several for each of some hundred runs; it holds the log that
it was read from.
"""
kept_of_logs = KeptResults(most=24)
"""Figures of logs, which another one replaces with each line of a running training."""


def told_apart(value: object) -> Hashable:
    """What is equal for two values exactly where one does as well as the other.

    Raises:
        TypeError: If nothing is known of such a value.
    """
    if isinstance(value, RECORDS):
        return Itself(value)
    if value is None or isinstance(value, (str, bytes, bool, int, float, PurePath)):
        return type(value), value
    if isinstance(value, np.generic):
        return type(value), value.item()
    if isinstance(value, Mapping):
        return "mapping", tuple((told_apart(k), told_apart(v)) for k, v in value.items())
    if isinstance(value, Set):
        return "set", frozenset(map(told_apart, value))
    if isinstance(value, (list, tuple)):
        return "sequence", tuple(map(told_apart, value))
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
        return "array", value.shape, str(value.dtype), digest
    if isinstance(value, Legend):
        return _legend(Itself(value))
    if dataclasses.is_dataclass(value):
        return _fields(value)
    raise TypeError(f"kept() cannot tell one {type(value).__name__} from another")


@lru_cache(maxsize=8)  # each of the figures of a page asks for the same one, with all its runs
def _legend(held: Itself) -> Hashable:
    return _fields(held.held)


def _fields(value: Any) -> Hashable:
    fields = tuple(told_apart(getattr(value, f.name)) for f in dataclasses.fields(value))
    return type(value), fields
