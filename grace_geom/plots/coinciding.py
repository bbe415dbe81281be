"""Lines that lie over each other: only the last one is seen, so a caption says which they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

SAME = 0.005
"""Lines that are nowhere further apart than this share of their axis cannot be told apart."""
_MOST_NAMED, _MOST_GROUPS = 4, 3

Lines = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Run -> places and heights ``(n,)``, places in rising order."""


def coinciding(lines: Lines, width: float, height: float) -> list[tuple[str, ...]]:
    """Groups of runs whose lines have the same ends and are nowhere apart by more than
    :data:`SAME` of the axes; each line is compared with the first of its group, at the places of
    both.

    Args:
        lines: What is drawn, on the scales of the axes; what is not finite is left out.
        width, height: Of the axes, in units of the lines.
    """
    groups: list[list[str]] = []
    known = {run: _finite(*line) for run, line in lines.items()}
    for run, line in known.items():
        if not len(line[0]):
            continue
        fits = (g for g in groups if _same(known[g[0]], line, width, height))
        if (group := next(fits, None)) is None:
            groups.append([run])
        else:
            group.append(run)
    return [tuple(group) for group in groups if len(group) > 1]


def _finite(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _same(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], width: float, height: float
) -> bool:
    ends = abs(a[0][0] - b[0][0]), abs(a[0][-1] - b[0][-1])
    if max(ends) > SAME * width:
        return False
    if np.array_equal(a[0], b[0]):
        gaps = a[1] - b[1]
    else:  # straight lines are farthest apart at a place of one of them
        gaps = np.concatenate([a[1] - np.interp(a[0], *b), np.interp(b[0], *a) - b[1]])
    return bool(np.abs(gaps).max() <= SAME * height)


def said(drawn: Mapping[str, go.Figure], names: Mapping[str, str]) -> str:
    """A sentence for the caption of some panels: ``Lines of a and b coincide.``, with the panels
    where that is not so in all of them; empty where no lines coincide.

    Args:
        drawn: Title -> figure, whose lines have their run as ``legendgroup``; a figure of several
            panels has their names as annotations.
        names: How runs are called.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    panels = 0
    for title, figure in drawn.items():
        for part, groups in _of_figure(figure).items():
            panels += 1
            for group in groups:
                found.setdefault(group, []).append(part or title)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    parts = []
    for group, where in ordered[:_MOST_GROUPS]:
        who = _listed([names[run] for run in group])
        place = f" ({', '.join(where)})" if len(where) < panels else ""
        parts.append(f"of {who}{place}")
    more = len(ordered) - len(parts)
    rest = f", and {more} more group{'s' if more > 1 else ''}" if more > 0 else ""
    return f"Lines {'; '.join(parts)}{rest} coincide." if parts else ""


def _listed(names: Sequence[str]) -> str:
    """``a, b and c``; of many, the first ones and how many more."""
    if len(names) > _MOST_NAMED:
        shown = names[: _MOST_NAMED - 1]
        names = [*shown, f"{len(names) - len(shown)} more"]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _of_figure(figure: go.Figure) -> dict[str, list[tuple[str, ...]]]:
    """Name of each pair of axes with at least two lines -> the groups that coincide."""
    lines: dict[tuple[str, str], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for trace in figure.data:
        drawn = trace.type == "scatter" and "lines" in (trace.mode or "") and trace.legendgroup
        if drawn and trace.hoverinfo != "skip":  # bands, and numbers as logged, have no pointer
            axes = trace.xaxis or "x", trace.yaxis or "y"
            lines.setdefault(axes, {})[trace.legendgroup] = (
                _scaled(figure, axes[0], trace.x), _scaled(figure, axes[1], trace.y),
            )  # fmt: skip
    heads = {str(note.yref).removesuffix(" domain"): str(note.text)
             for note in figure.layout.annotations
             if str(note.yref).endswith(" domain") and not note.name}  # fmt: skip
    return {
        heads.get(axes[1], ""): coinciding(
            of_runs, _length(figure, axes[0], [x for x, _ in of_runs.values()]),
            _length(figure, axes[1], [y for _, y in of_runs.values()]),
        )
        for axes, of_runs in lines.items() if len(of_runs) > 1
    }  # fmt: skip


def _axis(figure: go.Figure, name: str) -> Any:
    return figure.layout[f"{name[0]}axis{name[1:]}"]


def _scaled(figure: go.Figure, name: str, values: Any) -> np.ndarray:
    found = np.asarray(values, float)
    if _axis(figure, name).type != "log":
        return found
    return np.log10(np.where(found > 0, found, np.nan))


def _length(figure: go.Figure, name: str, values: Sequence[np.ndarray]) -> float:
    """Of an axis, on its scale: as it was set, else what the lines span."""
    ends = _axis(figure, name).range
    if ends and None not in ends:
        return float(abs(ends[1] - ends[0]))
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    return float(np.ptp(every)) if every.size else 0.0
