"""Logged numbers as figures and rows, from the logs as they were read: a log that has grown is
another one, so :func:`app.kept.kept` knows which figures are still right.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from app import verdict
from app.kept import kept_of_logs
from app.logs import Lines
from grace_geom.plots import training
from grace_geom.plots.below import numbers_below
from grace_geom.plots.ends import name_panels
from grace_geom.plots.legend import Legend
from grace_geom.plots.seed_bands import over_seeds
from grace_geom.records import number

Logs = Mapping[str, Lines]
"""Run -> its log."""
Families = Mapping[str, Sequence[str]]
"""What is drawn -> the runs that it is the mean of, itself where it is a run."""


def groups(logs: Logs, lines: Families) -> dict[str, list[str]]:
    """Names of the logged numbers by heading."""
    return training.groups(_rows(logs), lines)


def stack(
    logs: Logs, legend: Legend, keys: Sequence[str], view: training.View, lines: Families
) -> go.Figure | None:
    """Numbers below each other, a line for a run or for the mean of some, with a band and with its
    name at its end; ``None`` where nothing is there.
    """
    known = kept_of_logs(points, logs, keys, view.along)
    figure = training.stack(_rows(logs), legend, keys, view, *over_seeds(known, lines))
    return numbers_below(name_panels(figure, legend)) if figure is not None else None


def points(logs: Logs, keys: Sequence[str], along: str) -> training.Points:
    """Places and values of the numbers of :func:`stack`."""
    return training.points(_rows(logs), keys, along)


def table(known: training.Points, along: str) -> pd.DataFrame:
    """The same, a row each."""
    return pd.DataFrame([
        {"run": run, along: at, "name": key, "value": value}
        for key, of_runs in known.items() for run, pair in of_runs.items()
        for at, value in zip(*(each.tolist() for each in pair), strict=True)
    ])  # fmt: skip


def trend(log: Lines) -> verdict.Trend:
    """How the loss of a run ends."""
    return verdict.trend(log.rows)


def held(log: Lines, key: str) -> verdict.HeldOut | None:
    """Best and last check of held-out images of a run."""
    return verdict.held(log.rows, key)


def checked(log: Lines, key: str) -> bool:
    """Whether a run has logged a number."""
    return any(key in row for row in log.rows)


def pace(log: Lines) -> tuple[float | None, float | None]:
    """The last logged speed in images a second, and seconds of training so far."""
    return _last(log, "images_per_s"), _last(log, "seconds")


def _last(log: Lines, key: str) -> float | None:
    return next((x for row in reversed(log.rows) if (x := number(row.get(key))) is not None), None)


def _rows(logs: Logs) -> dict[str, training.Rows]:
    return {run: log.rows for run, log in logs.items()}
