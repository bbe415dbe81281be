"""Two checkpoints on the same images: which one is right, class by class, and what classes are
taken for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.maps import heat, write
from grace_geom.plots.style import dress, plain_html
from grace_geom.plots.variants import in_quotes
from grace_geom.records import Accuracy, RecordError, confusion, paired_interval, wilson

MOST_CLASSES = 20
"""Rows of a figure; further classes are those on which two checkpoints differ least."""
MOST_WORDS = 12
"""Classes up to which cells have numbers in them."""
WIDE = 464
"""Pixels of a panel that a matrix fills."""
GAINED = [
    [0.0, "#B2182B"],
    [0.25, "#EF8A62"],
    [0.5, "#F7F7F7"],
    [0.75, "#67A9CF"],
    [1.0, "#2166AC"],
]
"""Red below zero, a loss, and blue above, a gain."""


@dataclass(frozen=True)
class Split:
    """Images of each class by who is right.

    Attributes:
        names: ``K`` class names.
        n: ``(K,)`` images.
        only_a, only_b: ``(K,)`` images that only the first, only the second gets right.
        both: ``(K,)`` images that both get right.
    """

    names: tuple[str, ...]
    n: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray
    both: np.ndarray

    @property
    def most_gained(self) -> int:
        """Where the second gains most images over the first."""
        return int(np.argmax(self.only_b - self.only_a))

    def shown(self, most: int = MOST_CLASSES) -> np.ndarray:
        """Classes with images, by what the second gains, the most first; of many those on which the
        two differ most.
        """
        there = np.flatnonzero(self.n)
        apart = (self.only_a + self.only_b)[there]
        kept = there[np.argsort(-apart, kind="stable")[:most]]
        gain = (self.only_b - self.only_a)[kept] / self.n[kept]
        found: np.ndarray = kept[np.argsort(-gain, kind="stable")]
        return found


def split(a: Accuracy, b: Accuracy) -> Split:
    """Who is right on which class; under an attack, who withstands it.

    Raises:
        RecordError: If a record has no label or no outcome for each image, or the two did not see
            the same images.
    """
    if not a.paired_with(b):
        raise RecordError(f"{a.suite}/{a.data}: the two were not evaluated on the same images")
    labels, one, other = a.label_of_each(), a.right(), b.right()
    k = len(a.class_names)

    def counted(which: np.ndarray) -> np.ndarray:
        return np.bincount(labels[which], minlength=k)

    every = np.ones(len(labels), bool)
    return Split(
        a.class_names,
        counted(every),
        counted(one & ~other),
        counted(other & ~one),
        counted(one & other),
    )


def by_class(found: Split, runs: tuple[str, str], legend: Legend) -> go.Figure | None:
    """Images that only one of the two gets right, in percent of the class: those of the first to
    the left, those of the second to the right. The pointer tells Wilson's intervals; whiskers over
    both bars of a row would lie over each other, and :func:`gains` has the interval of the
    difference. ``None`` where the two never differ.
    """
    rows = found.shown()
    if not len(rows) or not (found.only_a + found.only_b)[rows].any():
        return None
    figure, n = go.Figure(), found.n[rows]
    most = 0.0
    for run, counts, side in ((runs[0], found.only_a, -1), (runs[1], found.only_b, 1)):
        share = 100 * counts[rows] / n
        ends = 100 * np.array(
            [wilson(int(k), int(of)) for k, of in zip(counts[rows], n, strict=True)]
        )
        name, most = plain_html(legend.names[run]), max(most, float(share.max()))
        figure.add_bar(
            x=side * share, y=_names(found, rows), orientation="h", name=f"only <b>{name}</b>",
            marker={"color": legend.looks[run].color},
            customdata=np.stack([counts[rows], n, share, *ends.T], axis=1),
            hovertemplate="%{y}: %{customdata[0]} of %{customdata[1]} images (%{customdata[2]:.1f} % "
            f"[%{{customdata[3]:.1f}}, %{{customdata[4]:.1f}}]) only {name}<extra></extra>",
        )  # fmt: skip
    ticks = _even_ticks(most)
    x = {
        "title": "Only one is right (% of the class)", "tickvals": ticks,
        "ticktext": [f"{abs(tick):g}" for tick in ticks], "range": [-1.05 * most, 1.05 * most],
    }  # fmt: skip
    return dress(
        figure, legend.ground, _high(rows), xaxis=x, yaxis=_rows_axis(found, rows),
        barmode="relative", bargap=0.25,
    )  # fmt: skip


def gains(found: Split, runs: tuple[str, str], legend: Legend) -> go.Figure | None:
    """What the second gains over the first in each class of :func:`by_class`, in points, with the
    paired interval (:func:`~grace_geom.records.paired_interval`): in the colour of the one that is
    clearly ahead there, hollow where neither is.
    """
    rows = found.shown()
    if not len(rows) or not (found.only_a + found.only_b)[rows].any():
        return None
    a, b, n = (counts[rows] for counts in (found.only_a, found.only_b, found.n))
    value = 100 * (b - a) / n
    low, high = (
        100 * np.array([paired_interval(*map(int, row)) for row in zip(a, b, n, strict=True)]).T
    )
    colors = [legend.looks[run].color for run in runs]
    ground, names = legend.ground, _names(found, rows)
    figure = go.Figure()
    sides = (
        (high < 0, f"<b>{plain_html(legend.names[runs[0]])}</b> ahead", colors[0], True),
        ((low <= 0) & (high >= 0), "not clear", ground.muted, False),
        (low > 0, f"<b>{plain_html(legend.names[runs[1]])}</b> ahead", colors[1], True),
    )
    for where, name, color, full in sides:
        at = np.flatnonzero(where)
        if len(at):
            figure.add_scatter(
                x=value[at], y=at, text=[names[i] for i in at], mode="markers", name=name, cliponaxis=False,
                error_x=_bars(high[at] - value[at], value[at] - low[at], color),
                marker={"color": color if full else ground.paper, "size": 8,
                        "line": {"color": color, "width": 2}},
                customdata=np.stack([low[at], high[at]], axis=1),
                hovertemplate="%{text}: %{x:+.1f} points [%{customdata[0]:.1f}, "
                "%{customdata[1]:.1f}]<extra></extra>",
            )  # fmt: skip
    x = {"title": "Gain (points)", "range": [min(low.min() - 3, -5), max(high.max() + 3, 5)]}
    figure.add_vline(x=0, line={"color": ground.muted, "width": 1}, layer="below")
    axis = _rows_axis(found, rows) | {"type": "linear", "tickvals": list(range(len(rows)))}
    return dress(figure, ground, _high(rows), xaxis=x, yaxis=axis | {"ticktext": names})


def _names(found: Split, rows: np.ndarray) -> list[str]:
    return [plain_html(found.names[i]) for i in rows]


def _bars(right: np.ndarray, left: np.ndarray, color: str) -> dict[str, Any]:
    """Error bars of these lengths to the right and to the left."""
    return {
        "type": "data", "symmetric": False, "array": right, "arrayminus": left, "color": color,
        "thickness": 1.2, "width": 0,
    }  # fmt: skip


def _high(rows: np.ndarray) -> int:
    """Pixels of a figure of these classes."""
    return 110 + 24 * len(rows)


def _rows_axis(found: Split, rows: np.ndarray) -> dict[str, Any]:
    """A row a class, the first on top."""
    return {
        "type": "category", "ticks": "", "showgrid": False, "tickmode": "array",
        "tickvals": _names(found, rows), "range": [len(rows) - 0.5, -0.5],
    }  # fmt: skip


def _even_ticks(most: float) -> list[float]:
    """Round numbers either side of zero, about three a side."""
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50) if most / s <= 4 or s == 50)
    ticks = np.arange(0, most + 1e-9, step)
    return sorted({*(-ticks).tolist(), *ticks.tolist()})


def matrices(
    found: Sequence[tuple[str, Accuracy]], legend: Legend, most: int = MOST_CLASSES
) -> dict[str, go.Figure]:
    """What images of a class are taken for, in percent of the class: a panel a run and, of two,
    what the second gains over the first: right answers on the diagonal, mistakes that it makes less
    often beside it.

    Args:
        found: Run and accuracy, one or two of the same data set.
        legend: Names of the runs.
        most: Classes at most; of more those on which the runs differ most, or which are most often
            taken for another.

    Raises:
        RecordError: If a record has no prediction for each image.
    """
    counts = [confusion(a) for _, a in found]
    rows = _most_moved(counts, most)
    names = [found[0][1].class_names[i] for i in rows]
    shares = [_in_percent(c)[np.ix_(rows, rows)] for c in counts]
    drawn = {
        legend.names[run]: _map(share, names, (0, 100), "% of the class", legend)
        for (run, _), share in zip(found, shares, strict=True)
    }
    if len(found) == 2:
        gap = shares[1] - shares[0]
        gap = np.where(np.eye(len(rows), dtype=bool), gap, -gap) + 0.0  # a mistake more is a loss
        ends = max(float(np.nanmax(np.abs(gap), initial=0)), 1.0)
        figure = _map(gap, names, (-ends, ends), "Gain (points)", legend, GAINED)
        first, second = (in_quotes(legend.names[run]) for run, _ in found)
        drawn[f"Gain of {second} over {first}"] = figure
    return drawn


def _map(
    grid: np.ndarray, names: Sequence[str], ends: tuple[float, float], title: str, legend: Legend,
    colors: Sequence[Sequence[Any]] | None = None,
) -> go.Figure:  # fmt: skip
    """One confusion matrix, its first class on top, with numbers in the cells where few are."""
    few, letters = len(names) <= MOST_WORDS, min(max(map(len, names), default=1), 24)
    side = min(WIDE - 45 - 6.6 * letters, 44 * max(len(names), 5))
    below = 45 + 0.71 * 6.6 * letters  # of names aslant
    figure = heat(
        grid, names, names, ends, title, legend.ground, ("Taken for", "Label"),
        height=round(side + below),
    )  # fmt: skip
    if colors is not None:
        figure.update_traces(colorscale=colors)
    if few:  # zeros would hide the other numbers
        z = np.asarray(figure.data[0].z, float)
        digits = np.char.replace(np.char.mod("%.0f", z), "-", "\u2212")
        write(figure, np.where(np.abs(np.nan_to_num(z)) < 0.5, "", digits))
    last = len(names) - 0.5  # ends are those of the cells: letters in them would ask for more
    figure.update_yaxes(range=[last, -0.5], title_standoff=6)
    return figure.update_xaxes(
        range=[-0.5, last], tickangle=-45, constraintoward="left", title_standoff=6
    )


def _most_moved(counts: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Classes with images, in their order: at most ``most``."""
    there = np.flatnonzero(counts[0].sum(axis=1))
    gap = np.abs(counts[-1] - counts[0]) if len(counts) > 1 else counts[0].copy()
    np.fill_diagonal(gap, 0)
    moved = (gap.sum(axis=0) + gap.sum(axis=1))[there]
    kept: np.ndarray = np.sort(there[np.argsort(-moved, kind="stable")[:most]])
    return kept


def _in_percent(counts: np.ndarray) -> np.ndarray:
    of = counts.sum(axis=1, keepdims=True)
    found: np.ndarray = np.divide(100 * counts, of, out=np.full(counts.shape, np.nan), where=of > 0)
    return found


def mistakes(found: Sequence[Accuracy], most: int = 10) -> list[tuple[str, str, int, list[int]]]:
    """The commonest mistakes: label, what it is taken for, images of the class, and how often each
    run makes it; the largest sum first.

    Raises:
        RecordError: If a record has no prediction for each image.
    """
    counts = [confusion(a) for a in found]
    wrong: np.ndarray = np.sum(counts, axis=0)
    np.fill_diagonal(wrong, 0)
    names = found[0].class_names
    rows = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        i, j = divmod(int(cell), len(wrong))
        if wrong[i, j]:
            each = [int(c[i, j]) for c in counts]
            rows.append((names[i], names[j], int(counts[0][i].sum()), each))
    return rows
