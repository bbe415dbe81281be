"""Data: a SPEC resolves to an ImageSet, a loader turns that into batches in [0, 1]."""

from grace_geom.data.base import ImageSet, from_arrays
from grace_geom.data.loader import Loader, loader
from grace_geom.data.specs import resolve
from grace_geom.data.splits import Split, hold_out
from grace_geom.data.subsets import restrict_classes
from grace_geom.data.suites import suites

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
]
