"""Configuration -> the evaluation of one checkpoint."""

from grace_geom.evaluation.accuracy import evaluate_set, reader_for
from grace_geom.evaluation.image_sets import Sets
from grace_geom.evaluation.interpolation import DialOptions, dial
from grace_geom.evaluation.measures import Measures, Source, Target, short_name, targets
from grace_geom.evaluation.one_checkpoint import answer, assess, image_set_of, question
from grace_geom.evaluation.record_files import record_file
from grace_geom.evaluation.reporting import report
from grace_geom.evaluation.watching import Console, Silent, Watcher

__all__ = [
    "Console",
    "DialOptions",
    "Measures",
    "Sets",
    "Silent",
    "Source",
    "Target",
    "Watcher",
    "answer",
    "assess",
    "dial",
    "evaluate_set",
    "image_set_of",
    "question",
    "reader_for",
    "record_file",
    "report",
    "short_name",
    "targets",
]
