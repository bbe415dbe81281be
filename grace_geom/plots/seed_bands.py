"""Logged numbers of several seeds as one line with a band."""

from collections.abc import Mapping, Sequence

import numpy as np

from grace_geom.plots.training import Bands, Points


def over_seeds(known: Points, families: Mapping[str, Sequence[str]]) -> tuple[Points, Bands]:
    """Means over runs, and the lowest and the highest of them, where all have numbers: from the
    last of their first places to the first of their last ones, straight lines in between.

    Args:
        known: Numbers of single runs, their places in rising order.
        families: What is drawn -> the runs that it is the mean of; of one run, its own numbers.

    Returns:
        Means, and bands of those that rest on at least two runs.
    """
    means: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    bands: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for key, of_runs in known.items():
        means[key], bands[key] = {}, {}
        for family, runs in families.items():
            each = [of_runs[run] for run in runs if run in of_runs]
            if len(each) == 1:
                means[key][family] = each[0]
            elif each and len(at := _common([at for at, _ in each])):
                values = np.array([np.interp(at, *one) for one in each])
                means[key][family] = at, values.mean(axis=0)
                bands[key][family] = values.min(axis=0), values.max(axis=0)
    return means, bands


def _common(places: Sequence[np.ndarray]) -> np.ndarray:
    """Every place of some runs that lies within the range of all of them."""
    every = np.unique(np.concatenate(places))
    first, last = max(at[0] for at in places), min(at[-1] for at in places)
    return every[(every >= first) & (every <= last)]
