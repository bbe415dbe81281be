"""Accuracies data set by data set."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.ends import LETTERS
from grace_geom.plots.legend import Legend
from grace_geom.plots.style import dressed, plain_html, row_bands
from grace_geom.plots.tradeoff import span
from grace_geom.plots.variants import fitted
from grace_geom.records import Accuracy, class_counts, is_mean_per_class, shown

Key = tuple[str, str]
"""Suite and data set."""

SUITE_TITLES = {
    "id": "In distribution",
    "ood": "Under shift",
    "adv": "Under attack",
    "natural_adv": "Naturally adversarial",
    "zeroshot": "Zero-shot transfer",
}


def data_sets(asked: Iterable[Mapping[Key, Accuracy]], suites: Sequence[str]) -> list[Key]:
    """Every (suite, data set) that a run was evaluated on, suites in the order given."""
    keys = dict.fromkeys(key for some in asked for key in some)
    return sorted((key for key in keys if key[0] in suites), key=lambda key: suites.index(key[0]))


def distribution(key: Key) -> str:
    """What the sidebar calls a (suite, data set): ``id``, ``adv``, or the data set's name."""
    return key[0] if key[0] in ("id", "adv") else key[1]


def dots(
    asked: Mapping[str, Mapping[Key, Accuracy]],
    legend: Legend,
    keys: Sequence[Key],
    seeds: Mapping[str, int] | None = None,
) -> go.Figure | None:
    """Accuracy on every (suite, data set) of ``keys``, a row each, a point with its 95 % interval
    for each run.

    Args:
        asked: What :func:`~grace_geom.records.questions` finds for each run.
        legend: Name and look of each run.
        keys: The rows.
        seeds: Of runs that are means over seeds, how many.
    """
    if not keys:
        return None
    step = 0.72 / max(len(asked), 4)
    traces = []
    for i, (run, known) in enumerate(asked.items()):
        rows = [(j, known[key]) for j, key in enumerate(keys) if key in known]
        offset = (i - (len(asked) - 1) / 2) * step
        traces.append(_points(run, rows, legend, offset, (seeds or {}).get(run, 1)))
    border = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": "y"}
    border["line"] = {"color": legend.ground.muted, "width": 1}
    borders = [
        border | {"y0": j - 0.5, "y1": j - 0.5}
        for j in range(1, len(keys))
        if keys[j][0] != keys[j - 1][0]
    ]
    per_row = max(30, 9 * len(asked))
    drawn = [known[key] for known in asked.values() for key in keys if key in known]
    by_class = " or mean per-class" if any(a.metric for a in drawn) else ""
    return dressed(
        traces,
        legend.ground,
        80 + per_row * len(keys),
        showlegend=False,
        shapes=row_bands(len(keys), legend.ground) + borders,
        xaxis={"title": f"Top-1{by_class} accuracy (%)", "range": span([shown(a) for a in drawn])},
        yaxis={
            "range": [len(keys) - 0.5, -0.5],
            "tickvals": list(range(len(keys))),
            "showgrid": False,
            "ticks": "",
            "ticktext": [_row_name(key) for key in keys],
        },
    )


def _points(
    run: str, rows: Sequence[tuple[int, Accuracy]], legend: Legend, offset: float, seeds: int
) -> dict[str, Any]:
    """The points of a run, in rows by their number, with intervals."""
    style, means = legend.looks[run], [shown(a) for _, a in rows]
    return {
        "type": "scatter", "mode": "markers", "name": plain_html(legend.names[run]),
        "x": [100 * e.value for e in means],
        "y": [j + offset for j, _ in rows],
        # Small before its interval, which on a telephone is no longer than it.
        "marker": {"color": style.color, "symbol": style.marker, "size": 6},
        "error_x": {
            "type": "data", "symmetric": False,
            "array": [100 * (e.high - e.value) for e in means],
            "arrayminus": [100 * (e.value - e.low) for e in means],
            "color": style.color, "thickness": 2, "width": 0,
        },
        "customdata": [[plain_html(a.data), counted(a, seeds)] for _, a in rows],
        "hovertemplate": "%{customdata[0]}: %{x:.1f} % (%{customdata[1]})",
    }  # fmt: skip


AXES = {
    "ID": "Accuracy in distribution, ID (%)", "OOD": "Mean accuracy under shift, OOD (%)",
    "Adv": "Accuracy under attack, Adv (%)", "ZS": "Zero-shot accuracy, ZS (%)",
}  # fmt: skip
"""Column of the summary -> the title of its axis, with the name that it has in tables."""
TINTS = {"light": "#9cc3e6", "dark": "#2b5c8f"}
"""The highest of a column, on either ground, under text of its own colour; the lowest is as the
page is.
"""


def as_map(
    asked: Mapping[str, Mapping[Key, Accuracy]], legend: Legend, keys: Sequence[Key]
) -> go.Figure | None:
    """The same numbers for many runs: a row a run, the first on top, a column for each of ``keys``,
    the percent in its cell. Cells are coloured from the lowest to the highest of their column, with
    lines between suites. The pointer tells the intervals.
    """
    if not keys or not asked:
        return None
    runs, ground = list(asked)[::-1], legend.ground  # the first row of a map lies below
    grid = np.full((len(runs), len(keys), 3), np.nan)
    for i, run in enumerate(runs):
        for j, key in enumerate(keys):
            if (a := asked[run].get(key)) is not None:
                e = shown(a)
                grid[i, j] = 100 * e.value, 100 * e.low, 100 * e.high
    known, rows = grid[..., 0], fitted({run: legend.names[run] for run in asked}, LETTERS)
    low = np.nanmin(known, axis=0)  # a column is there because a run has its number
    apart = np.nanmax(known, axis=0) - low
    cells = {
        "type": "heatmap", "z": (known - low) / np.where(apart > 0, apart, 1), "zmin": 0, "zmax": 1,
        "x": [f"{plain_html(data)} ({_suite(suite)})" for suite, data in keys],
        "y": [plain_html(rows[run]) for run in runs], "customdata": grid, "showscale": False,
        "colorscale": [[0, ground.paper], [1, TINTS[ground.name]]], "texttemplate": "%{text}",
        "text": [["" if np.isnan(v) else f"{v:.1f}" for v in row] for row in known],
        "textfont": {"size": 12, "color": ground.text},
        "hovertemplate": "%{y}, %{x}: %{customdata[0]:.1f} % [%{customdata[1]:.1f}, "
        "%{customdata[2]:.1f}]<extra></extra>",
    }  # fmt: skip
    line = {"type": "line", "yref": "y domain", "y0": 0, "y1": 1, "xref": "x"}
    line["line"] = {"color": ground.muted, "width": 1}
    heads = [f"{plain_html(data)}<br>{_faint(_suite(suite))}" for suite, data in keys]
    plain = {"type": "category", "ticks": "", "showgrid": False, "title": ""}
    return dressed(
        [cells], ground, 70 + 27 * len(runs), showlegend=False,
        shapes=[line | {"x0": j - 0.5, "x1": j - 0.5} for j in range(1, len(keys))
                if keys[j][0] != keys[j - 1][0]] or None,
        xaxis=plain | {"side": "top", "tickvals": list(range(len(keys))), "ticktext": heads},
        yaxis=plain | {"dtick": 1},
    )  # fmt: skip


def widest(asked: Mapping[str, Mapping[Key, Accuracy]], keys: Sequence[Key]) -> float:
    """Half of the widest interval of these numbers, in points."""
    drawn = [shown(known[key]) for known in asked.values() for key in keys if key in known]
    return max((50 * (e.high - e.low) for e in drawn), default=0.0)


def counted(a: Accuracy, seeds: int = 1) -> str:
    """What an accuracy was counted from."""
    if seeds > 1:
        return f"mean of {seeds} seeds, n = {a.n} each"
    if is_mean_per_class(a):
        return f"mean of {len(class_counts(a).n)} classes, n = {a.n}"
    return f"{a.correct} of {a.n}"


def row_title(suite: str, data: str) -> str:
    """What a row of :func:`dots` is called, as plain text: ``v2 (OOD)``."""
    return f"{data} ({_SHORT.get(suite, suite)})"


def _row_name(key: Key) -> str:
    suite, data = key
    return f"{plain_html(data)} {_faint(f'({_suite(suite)})')}"


_SHORT = {
    "id": "ID", "ood": "OOD", "adv": "attack", "natural_adv": "natural adv.",
    "zeroshot": "zero-shot",
}  # fmt: skip


def _suite(suite: str) -> str:
    return _SHORT.get(suite, plain_html(suite))


def _faint(words: str) -> str:
    return f"<span style='opacity:0.65'>{words}</span>"
