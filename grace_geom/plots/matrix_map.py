"""A number of every weight matrix of several runs as a map: a row a run, a column a matrix."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.columns import groups, matrix_axis
from grace_geom.plots.ends import LETTERS
from grace_geom.plots.legend import Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.panels import Point, log_axis, span
from grace_geom.plots.style import plain_html
from grace_geom.plots.variants import fitted
from grace_geom.plots.weight_names import weight_name


def matrix_map(
    of: Mapping[str, Mapping[str, Point]], names: Sequence[str], legend: Legend, marked: str = ""
) -> go.Figure | None:
    """Numbers coloured by their logarithm on one scale, white between stem, blocks and head. A
    number that is not above 0, or whose interval reaches 0, has no colour: its cell has a cross. A
    cell without a number is empty.

    Args:
        of: Run -> matrix -> number, the first run on top.
        names: Matrices in the network's order.
        legend: Name of each run.
        marked: A run whose name is bold.

    Returns:
        ``None`` where no number is clearly above 0.
    """
    runs = list(of)[::-1]  # the first row of a map lies below
    grid = np.full((3, len(runs), len(names)), np.nan)
    for i, run in enumerate(runs):
        for j, name in enumerate(names):
            if (p := of[run].get(name)) is not None:
                ends = (np.nan if end is None else end for end in (p.low, p.high))
                grid[:, i, j] = p.value, *ends
    clear = np.where(np.isnan(grid[1]), grid[0], grid[1]) > 0
    shown = np.where(clear, grid[0], np.nan)
    scale = span([shown], 0.0, log=True)
    if scale is None:
        return None
    axis, short = log_axis([shown]), fitted({run: legend.names[run] for run in of}, LETTERS)
    heads, rows = [weight_name(name) for name in names], [short[run] for run in runs]
    figure = heat(
        grid[0], heads, rows, (scale[0], scale[1]), "", legend.ground, square=False,
        height=150 + 22 * len(runs), shown=np.log10(shown),
        bar={"tickvals": np.log10(axis["tickvals"]).tolist(), "ticktext": axis["ticktext"]},
        interval=grid[1:] if np.isfinite(grid[1:]).any() else None,
    )  # fmt: skip
    _cross(figure, grid, clear, heads, rows, legend)
    for _, first, _ in groups(names)[1:]:
        figure.add_vline(x=first - 0.5, line={"color": legend.ground.paper, "width": 4})
    columns = matrix_axis(names) | {"range": [-0.5, len(names) - 0.5], "tickfont": {"size": 11}}
    figure.update_xaxes(columns).update_yaxes(dtick=1, showgrid=False)
    if marked in short:
        name = plain_html(short[marked])
        words = [f"<b>{row}</b>" if row == name else row for row in figure.data[0].y]
        figure.update_yaxes(tickvals=list(figure.data[0].y), ticktext=words)
    return figure


def _cross(
    figure: go.Figure,
    grid: np.ndarray,
    clear: np.ndarray,
    heads: Sequence[str],
    rows: Sequence[str],
    legend: Legend,
) -> None:
    """Mark the cells whose numbers are not ``clear``ly above 0; the pointer tells these and their
    intervals.
    """
    at = np.argwhere(np.isfinite(grid[0]) & ~clear)
    if not len(at):
        return
    figure.add_scatter(
        x=[plain_html(heads[j]) for _, j in at], y=[plain_html(rows[i]) for i, _ in at],
        mode="markers", name="not clearly above 0", showlegend=False,
        marker={"symbol": "x", "size": 7, "color": legend.ground.muted},
        customdata=[grid[:, i, j] for i, j in at],
        hovertemplate="%{y}, %{x}: %{customdata[0]:.4g} [%{customdata[1]:.4g}, "
        "%{customdata[2]:.4g}]<extra></extra>",
    )  # fmt: skip
