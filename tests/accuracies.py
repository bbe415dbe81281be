"""Accuracies of a record that are changed by hand, and still consistent with themselves."""

import dataclasses
from typing import Any

import numpy as np

from grace_geom.records import Accuracy, pack, wilson


def all_wrong(accuracy: Accuracy, **changes: Any) -> Accuracy:
    """As if every image had been answered wrongly, with further changes."""
    low, high = wilson(0, accuracy.n)
    outcomes = pack(np.zeros(accuracy.n, bool)) if accuracy.outcomes else accuracy.outcomes
    wrong = {"correct": 0, "accuracy": 0.0, "ci_low": low, "ci_high": high, "outcomes": outcomes}
    wrong |= {"predictions": ""}  # the classes that were answered are not known
    return dataclasses.replace(accuracy, **wrong, **changes)
