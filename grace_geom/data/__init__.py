"""Data: a SPEC resolves to an ImageSet, a loader turns that into batches in [0, 1].

Importing the package itself loads nothing: ``python -m grace_geom.data --help`` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grace_geom.data.base import ImageSet, from_arrays
    from grace_geom.data.batches import Loader, loader, workers_for
    from grace_geom.data.related import suites
    from grace_geom.data.specs import resolve
    from grace_geom.data.splits import Split, hold_out
    from grace_geom.data.subsets import restrict_classes

__all__ = [
    "ImageSet",
    "Loader",
    "Split",
    "from_arrays",
    "hold_out",
    "loader",
    "resolve",
    "restrict_classes",
    "suites",
    "workers_for",
]

_HOMES = {
    "base": ("ImageSet", "from_arrays"),
    "batches": ("Loader", "loader", "workers_for"),
    "related": ("suites",),
    "specs": ("resolve",),
    "splits": ("Split", "hold_out"),
    "subsets": ("restrict_classes",),
}
"""Module -> names; no name may be that of a module, which would hide it once it is imported."""


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
