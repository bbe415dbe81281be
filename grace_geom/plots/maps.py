"""Heat maps on colour scales that they share, and ticks of their colour bars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.palette import Ground
from grace_geom.plots.style import dressed, plain_html

MOST_CELLS = 256


def averaged(grid: np.ndarray, most: int = MOST_CELLS) -> tuple[np.ndarray, list[np.ndarray]]:
    """A grid averaged in blocks to at most ``most`` cells a side, and which rows and columns went
    into each block.
    """
    blocks = [np.array_split(np.arange(n), min(n, most)) for n in grid.shape]
    for axis, parts in enumerate(blocks):
        if grid.shape[axis] > most:
            grid = np.stack(
                [np.nanmean(grid.take(part, axis), axis=axis) for part in parts], axis=axis
            )
    return grid, [np.array([part[0] for part in parts]) for parts in blocks]


def heat(
    grid: np.ndarray,
    xs: Sequence[str],
    ys: Sequence[str],
    ends: tuple[float, float],
    title: str,
    ground: Ground,
    axes: tuple[str, str] = ("", ""),
    *,
    square: bool = True,
    words: bool = False,
    height: int = 320,
    bar: Mapping[str, Any] | None = None,
    shown: np.ndarray | None = None,
    interval: np.ndarray | None = None,
) -> go.Figure:
    """A heat map on a colour scale that it shares with its neighbours.

    Args:
        grid: ``(rows, columns)``, the first row below; averaged in blocks above 256 a side.
        xs, ys: Names of columns and rows.
        ends: Of the colour scale.
        title: Of the colour bar.
        ground: Light or dark.
        axes: Titles of the axes.
        square: Equal cells.
        words: Write what is coloured into the cells.
        height: In pixels.
        bar: More settings of the colour bar.
        shown: What is coloured, where that is not ``grid`` itself (its logarithm).
        interval: ``(2, rows, columns)`` ends of an interval for the pointer.
    """
    coloured, (rows, columns) = averaged(np.asarray(grid if shown is None else shown, float))
    numbers, _ = averaged(np.asarray(grid, float))
    hover = "%{customdata:.4g}"
    if interval is not None:
        numbers = np.stack(
            [numbers, *(averaged(np.asarray(end, float))[0] for end in interval)], -1
        )
        hover = "%{customdata[0]:.4g} [%{customdata[1]:.4g}, %{customdata[2]:.4g}]"
    cells = {
        "type": "heatmap", "z": np.where(np.isfinite(coloured), coloured, np.nan),
        "customdata": numbers, "x": [plain_html(xs[i]) for i in columns],
        "y": [plain_html(ys[i]) for i in rows], "zmin": ends[0], "zmax": ends[1],
        "colorscale": "Viridis", "hovertemplate": f"%{{y}}, %{{x}}: {hover}<extra></extra>",
        "texttemplate": "%{z:.0f}" if words else "", "textfont": {"size": 11},
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 10, "outlinewidth": 0}
        | dict(bar or {}),
    }  # fmt: skip
    y: dict[str, Any] = {"title": axes[1], "type": "category", "ticks": "", "nticks": 26}
    if square:
        y |= {"scaleanchor": "x", "constrain": "domain", "constraintoward": "top"}
    x = {"title": axes[0], "type": "category", "constrain": "domain", "ticks": "", "nticks": 26}
    return dressed([cells], ground, height, xaxis=x, yaxis=y)


def log_ticks(ends: tuple[float, float]) -> dict[str, Any]:
    """Powers of ten for a colour bar of logarithms, with 2 and 5 between them where there are
    few."""
    tens = range(int(np.floor(ends[0])), int(np.ceil(ends[1])) + 1)
    heads = (1,) if ends[1] - ends[0] > 3 else (1, 2, 5)
    ticks = [(np.log10(head) + ten, f"{head}·10<sup>{ten}</sup>") for ten in tens for head in heads]
    return {
        "tickvals": [t for t, _ in ticks],
        "ticktext": [name.removeprefix("1·") for _, name in ticks],
    }
