"""How sure a few checks of held-out images are: bars on the lines of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.style import see_through
from grace_geom.records import number
from grace_geom.records.statistics import wilson_of

COUNTS = {"val_acc": "val_n", "val_acc_pgd": "val_pgd_n"}
"""Share of images -> how many they are, by their names in the log."""


def counts(rows: Sequence[Mapping[str, Any]], key: str, along: str) -> list[float]:
    """Of how many images each share is that :func:`grace_geom.plots.training.points` finds; empty
    where that is not known of all.

    Args:
        rows: Records of a run.
        key: The share.
        along: A key of :data:`grace_geom.plots.training.ALONG`.
    """
    of, count = "step" if along == "share" else along, COUNTS.get(key, "")
    placed = [row for row in rows if number(row.get(of)) is not None]
    known = [number(row.get(count)) for row in placed if number(row.get(key)) is not None]
    return [n for n in known if n] if all(known) else []


def intervals(values: np.ndarray, n: Sequence[float], color: str) -> dict[str, Any]:
    """Wilson's 95 % intervals of shares as bars; nothing where ``n`` are not theirs."""
    if len(n) != len(values):
        return {}
    low, high = np.array([wilson_of(float(p), k) for p, k in zip(values, n, strict=True)]).T
    return {"error_y": {
        "type": "data", "symmetric": False, "array": high - values, "arrayminus": values - low,
        "color": see_through(color, 0.5), "thickness": 1.2, "width": 0,
    }}  # fmt: skip


def heights(lines: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Run -> what its lines and bars reach, ``(n,)``."""
    found: dict[str, list[np.ndarray]] = {}
    for line in lines:
        ends = found.setdefault(line["legendgroup"], [])
        ends.append(line["y"])
        if bars := line.get("error_y"):
            ends += [line["y"] + bars["array"], line["y"] - bars["arrayminus"]]
    return {run: np.concatenate(each) for run, each in found.items()}


def has_bars(figure: go.Figure | None) -> bool:
    """Whether lines of a figure of :func:`grace_geom.plots.training.stack` have intervals."""
    return figure is not None and any(trace.error_y.array is not None for trace in figure.data)
