"""Heat maps on colour scales that they share, and ticks of their colour bars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from grace_geom.plots.palette import Ground
from grace_geom.plots.shades import contrast
from grace_geom.plots.style import dressed, plain_html

MOST_CELLS = 256
INKS = ("#000000", "#ffffff")
"""Of numbers in cells: one of them has the contrast of text with any colour."""


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


def write(figure: go.Figure, words: np.ndarray, size: int = 11) -> go.Figure:
    """Write into the cells of :func:`heat`, in black or white, whichever has more contrast with the
    cell; plotly's own choice is a grey that is hard to read on middling colours.

    Args:
        figure: With the cells and their last colour scale.
        words: ``(rows, columns)``, empty where nothing is to stand.
        size: Of the letters, in pixels.
    """
    cells = figure.data[0]
    z, low, high = np.asarray(cells.z, float), float(cells.zmin), float(cells.zmax)
    at = np.argwhere((np.asarray(words) != "") & np.isfinite(z))
    inks = [_ink(cells.colorscale, (z[i, j] - low) / (high - low)) for i, j in at]
    for ink in INKS:
        here = [(i, j) for (i, j), own in zip(at, inks, strict=True) if own == ink]
        if here:
            figure.add_scatter(
                x=[cells.x[j] for _, j in here], y=[cells.y[i] for i, _ in here], mode="text",
                text=[str(words[i, j]) for i, j in here], textfont={"size": size, "color": ink},
                hoverinfo="skip", showlegend=False,
            )  # fmt: skip
    return figure


def behind(scale: Any, share: float) -> str:
    """The ``#rrggbb`` of a colour scale at a share of its length; beyond it, that of its end."""
    (rgb,) = sample_colorscale(
        [[at, color] for at, color in scale], [float(np.clip(share, 0, 1))], colortype="tuple"
    )
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)


def _ink(scale: Any, share: float) -> str:
    color = behind(scale, share)
    return max(INKS, key=lambda ink: contrast(ink, color))


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
