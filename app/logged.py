"""Logged numbers as figures and rows, from the logs as they were read: a log that has grown is
another one, so :func:`app.kept.kept` knows which figures are still right.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from app.logs import Lines
from grace_geom.plots import training
from grace_geom.plots.legend import Legend

Logs = Mapping[str, Lines]
"""Run -> its log."""


def groups(logs: Logs) -> dict[str, list[str]]:
    """Names of the logged numbers by heading."""
    return training.groups(_rows(logs))


def stack(logs: Logs, legend: Legend, keys: Sequence[str], view: training.View) -> go.Figure | None:
    """Numbers below each other, a line a run; ``None`` where nothing is there."""
    return training.stack(_rows(logs), legend, keys, view)


def table(logs: Logs, keys: Sequence[str], along: str) -> pd.DataFrame:
    """The numbers of :func:`stack`, a row each."""
    return pd.DataFrame([
        {"run": run, along: at, "name": key, "value": value}
        for key in keys for run, rows in _rows(logs).items()
        for at, value in zip(*training.series(rows, key, along=along), strict=True)
    ])  # fmt: skip


def _rows(logs: Logs) -> dict[str, training.Rows]:
    return {run: log.rows for run, log in logs.items()}
