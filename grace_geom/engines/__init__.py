"""Where the parts of a large piece of work run: an engine takes tasks and hands back outcomes.

An engine knows nothing of trainings or studies. A task is a function that another process can be
given, its arguments, and what it needs; :func:`make_engine` gives the engine that a command line
asks for.
"""

from grace_geom.engines.base import Engine, Resources, Task, TaskOutcome, attempt
from grace_geom.engines.choice import EngineOptions, check_engine, make_engine
from grace_geom.engines.feed import Feeding, feed

__all__ = [
    "Engine",
    "EngineOptions",
    "Feeding",
    "Resources",
    "Task",
    "TaskOutcome",
    "attempt",
    "check_engine",
    "feed",
    "make_engine",
]
