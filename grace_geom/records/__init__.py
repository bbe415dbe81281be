"""The records that evaluations and analyses leave behind: schema, save, load, list. No torch is
imported here.
"""

from grace_geom.quantities import in_levels, plus_minus, ten_to
from grace_geom.records.accuracy import SUITES, Accuracy, pack
from grace_geom.records.analysis import RESULT_FORMAT, Measure, Part, Result
from grace_geom.records.answers import SUITES_OF
from grace_geom.records.attack import attack_said, attack_text, radius_text
from grace_geom.records.classes import (
    ClassCounts,
    class_counts,
    confusion,
    is_mean_per_class,
    mean_per_class,
    shown,
    worst_class,
)
from grace_geom.records.conventions import convention_notes
from grace_geom.records.copies import distinct
from grace_geom.records.dial import DIAL_FORMAT, DialPoint, DialRecord
from grace_geom.records.estimate import Estimate
from grace_geom.records.evaluation import EVAL_FORMAT, EvalRecord
from grace_geom.records.finding import Finding
from grace_geom.records.flat import NOT_MEASURED
from grace_geom.records.groups import Levels, by_level, mean_corruption, over_levels
from grace_geom.records.itself import Itself
from grace_geom.records.length import DEFAULT_EPOCHS, total_steps
from grace_geom.records.listing import (
    RunFiles,
    analysis_files,
    find_runs,
    inside,
    list_runs,
    read_run,
    run_folders,
)
from grace_geom.records.paired import (
    Difference,
    image_difference,
    mcnemar,
    paired_interval,
    seeds_difference,
    set_difference,
)
from grace_geom.records.run_notes import HIDDEN, NOTES_FILE, RunNotes
from grace_geom.records.schema import NewerRecordError, RecordError, number, read_settings
from grace_geom.records.statistics import RankCorrelation, rank_correlation, rankdata, wilson
from grace_geom.records.summary import (
    BY_CONSTRUCTION,
    COLUMNS,
    by_construction,
    counted,
    harmonic_of,
    headline_attack,
    headline_whole,
    how_intervals,
    mean_accuracy,
    mean_of,
    over_seeds,
    point_estimates,
    questions,
    rank_range,
    strongest,
    summarise,
)
from grace_geom.records.uneven import MARK, Uneven, measured_on, uneven

__all__ = [
    "BY_CONSTRUCTION",
    "COLUMNS",
    "DEFAULT_EPOCHS",
    "DIAL_FORMAT",
    "EVAL_FORMAT",
    "HIDDEN",
    "MARK",
    "NOTES_FILE",
    "NOT_MEASURED",
    "RESULT_FORMAT",
    "SUITES",
    "SUITES_OF",
    "Accuracy",
    "ClassCounts",
    "DialPoint",
    "DialRecord",
    "Difference",
    "Estimate",
    "EvalRecord",
    "Finding",
    "Itself",
    "Levels",
    "Measure",
    "NewerRecordError",
    "Part",
    "RankCorrelation",
    "RecordError",
    "Result",
    "RunFiles",
    "RunNotes",
    "Uneven",
    "analysis_files",
    "attack_said",
    "attack_text",
    "by_construction",
    "by_level",
    "class_counts",
    "confusion",
    "convention_notes",
    "counted",
    "distinct",
    "find_runs",
    "harmonic_of",
    "headline_attack",
    "headline_whole",
    "how_intervals",
    "image_difference",
    "in_levels",
    "inside",
    "is_mean_per_class",
    "list_runs",
    "mcnemar",
    "mean_accuracy",
    "mean_corruption",
    "mean_of",
    "mean_per_class",
    "measured_on",
    "number",
    "over_levels",
    "over_seeds",
    "pack",
    "paired_interval",
    "plus_minus",
    "point_estimates",
    "questions",
    "radius_text",
    "rank_correlation",
    "rank_range",
    "rankdata",
    "read_run",
    "read_settings",
    "run_folders",
    "seeds_difference",
    "set_difference",
    "shown",
    "strongest",
    "summarise",
    "ten_to",
    "total_steps",
    "uneven",
    "wilson",
    "worst_class",
]
