"""A comparison of methods on equal terms: plan, runs, tables."""

from grace_geom.study.options import StudyOptions
from grace_geom.study.rows import Row
from grace_geom.study.run import Study

__all__ = ["Row", "Study", "StudyOptions"]
