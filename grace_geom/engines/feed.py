"""Tasks that are decided on while others run."""

from collections.abc import Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

from grace_geom.engines.base import Engine, T, Task, TaskOutcome


@runtime_checkable
class Feeding(Protocol):
    """An engine that takes the next task when it has room for it."""

    def feed(self, tasks: Iterator[Task[T] | None]) -> Iterator[TaskOutcome[T]]:
        """As :meth:`grace_geom.engines.Engine.run`. A task is asked for when there is room for it,
        after the caller has had the outcomes before; ``None``: none is ready until another one has
        ended.
        """
        ...


def feed(engine: Engine, tasks: Iterator[Task[T] | None]) -> Iterator[TaskOutcome[T]]:
    """Run tasks of which later ones may depend on how earlier ones ended.

    Args:
        engine: One that does not take tasks one by one is given as many as it runs at a time, and
            the next ones when all of these have ended.
        tasks: See :class:`Feeding`.
    """
    if isinstance(engine, Feeding):
        yield from engine.feed(tasks)
        return
    while some := list(islice(ready(tasks), engine.at_once(MOST))):
        yield from engine.run(some)


MOST = 10**6
"""More tasks than there are."""


def ready(tasks: Iterator[Task[T] | None]) -> Iterator[Task[T]]:
    """Tasks up to the first ``None``."""
    return iter(lambda: next(tasks, None), None)
