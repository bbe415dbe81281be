"""The rank curriculum of a run: rank and curvature score of each matrix at every refresh."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.maps import heat, log_ticks
from grace_geom.plots.palette import Ground
from grace_geom.plots.weight_names import in_order, site
from grace_geom.records import number


def curriculum(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[list[int], list[str], dict[str, np.ndarray]]:
    """Refresh steps ``(t,)``, matrices ``(m,)`` in the network's order, ``(m, t)`` of rank and
    score (NaN: none).
    """
    steps = [int(row["step"]) for row in rows if isinstance(row.get("matrices"), dict)]
    tables = [row["matrices"] for row in rows if isinstance(row.get("matrices"), dict)]
    matrices = in_order(dict.fromkeys(name for table in tables for name in table))
    grids = {
        key: np.array(
            [[_number(table.get(name), key) for table in tables] for name in matrices], float
        )
        for key in ("rank", "score")
    }
    return steps, matrices, grids


def _number(entry: Any, key: str) -> float:
    value = number(entry.get(key)) if isinstance(entry, dict) else None
    return float("nan") if value is None else value


def refreshes(
    grid: np.ndarray,
    steps: Sequence[int],
    matrices: Sequence[str],
    ends: tuple[float, float],
    title: str,
    ground: Ground,
    log: bool = False,
) -> go.Figure:
    """Matrices down, refreshes across; ``ends`` are shared by the figures that stand side by side.

    Args:
        grid: ``(matrices, steps)``.
        steps: Of the refreshes.
        matrices: Names.
        ends: Of the colour scale, of the logarithm where ``log``.
        title: Of the colour bar.
        ground: Light or dark.
        log: Colour the logarithm to base 10.
    """
    with np.errstate(divide="ignore"):
        shown = np.log10(grid) if log else grid
    bar = log_ticks(ends) if log else {"dtick": 1} if ends[1] <= 10 else {}
    figure = heat(
        grid,
        [str(s) for s in steps],
        [site(m).brief for m in matrices],
        ends,
        title,
        ground,
        ("Step of the refresh", ""),
        square=False,
        height=120 + 18 * len(matrices),
        bar=bar,
        shown=shown,
    )
    figure.update_xaxes(nticks=12)
    return figure.update_yaxes(autorange="reversed", dtick=1)
