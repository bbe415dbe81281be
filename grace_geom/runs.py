"""Deprecated name of :mod:`grace_geom.training`; it will go in the next minor version."""

import warnings

from grace_geom.training import train_run

__all__ = ["train_run"]

warnings.warn("grace_geom.runs is now grace_geom.training", DeprecationWarning, stacklevel=2)
