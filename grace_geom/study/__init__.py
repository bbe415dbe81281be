"""A comparison of methods on equal terms: plan, runs, tables.

Importing the package itself loads nothing: ``python -m grace_geom.study analyse --help`` needs no
torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grace_geom.study.options import StudyOptions
    from grace_geom.study.rows import Row
    from grace_geom.study.run import Study

__all__ = ["Row", "Study", "StudyOptions"]

_HOMES = {"Row": "rows", "Study": "run", "StudyOptions": "options"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
