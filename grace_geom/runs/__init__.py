"""Training runs: from settings to a run directory."""

from grace_geom.runs.training import train_run

__all__ = ["train_run"]
