"""The records that evaluations and analyses leave behind: schema, save, load, list. No torch is
imported here.
"""

from grace_geom.records.accuracy import SUITES, Accuracy, pack
from grace_geom.records.analysis import RESULT_FORMAT, Measure, Result
from grace_geom.records.dial import DIAL_FORMAT, DialRecord, Point
from grace_geom.records.evaluation import EVAL_FORMAT, EvalRecord
from grace_geom.records.groups import Levels, by_level, mean_corruption, over_levels
from grace_geom.records.listing import (
    RunFiles,
    analysis_files,
    find_runs,
    inside,
    list_runs,
    read_run,
    run_folders,
)
from grace_geom.records.paired import Difference, image_difference, mcnemar
from grace_geom.records.schema import NewerRecordError, RecordError, read_settings
from grace_geom.records.summary import (
    COLUMNS,
    Estimate,
    counted,
    harmonic_of,
    headline_attack,
    mean_of,
    summarise,
)

__all__ = [
    "COLUMNS",
    "DIAL_FORMAT",
    "EVAL_FORMAT",
    "RESULT_FORMAT",
    "SUITES",
    "Accuracy",
    "DialRecord",
    "Difference",
    "Estimate",
    "EvalRecord",
    "Levels",
    "Measure",
    "NewerRecordError",
    "Point",
    "RecordError",
    "Result",
    "RunFiles",
    "analysis_files",
    "by_level",
    "counted",
    "find_runs",
    "harmonic_of",
    "headline_attack",
    "image_difference",
    "inside",
    "list_runs",
    "mcnemar",
    "mean_corruption",
    "mean_of",
    "over_levels",
    "pack",
    "read_run",
    "read_settings",
    "run_folders",
    "summarise",
]
