"""The records that evaluations and analyses leave behind: schema, save, load, list. No torch is
imported here.
"""

from grace_geom.records.accuracy import SUITES, Accuracy, pack
from grace_geom.records.analysis import RESULT_FORMAT, Measure, Result
from grace_geom.records.dial import DIAL_FORMAT, DialRecord, Point
from grace_geom.records.evaluation import EVAL_FORMAT, EvalRecord
from grace_geom.records.groups import Levels, by_level, mean_corruption, over_levels
from grace_geom.records.listing import RunFiles, list_runs, read_run, run_folders
from grace_geom.records.paired import Difference, image_difference, mcnemar
from grace_geom.records.schema import RecordError
from grace_geom.records.summary import (
    BY_CONSTRUCTION,
    COLUMNS,
    Estimate,
    by_construction,
    counted,
    harmonic_of,
    headline_attack,
    mean_of,
    strongest,
    summarise,
)
from grace_geom.records.uneven import MARK, Uneven, measured_on, uneven

__all__ = [
    "BY_CONSTRUCTION",
    "COLUMNS",
    "DIAL_FORMAT",
    "EVAL_FORMAT",
    "MARK",
    "RESULT_FORMAT",
    "SUITES",
    "Accuracy",
    "DialRecord",
    "Difference",
    "Estimate",
    "EvalRecord",
    "Levels",
    "Measure",
    "Point",
    "RecordError",
    "Result",
    "RunFiles",
    "Uneven",
    "by_construction",
    "by_level",
    "counted",
    "harmonic_of",
    "headline_attack",
    "image_difference",
    "list_runs",
    "mcnemar",
    "mean_corruption",
    "mean_of",
    "measured_on",
    "over_levels",
    "pack",
    "read_run",
    "run_folders",
    "strongest",
    "summarise",
    "uneven",
]
