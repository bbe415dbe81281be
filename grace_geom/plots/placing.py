"""Where names stand beside points: clear of other points, of bars and of each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.crossing import crossed, through
from grace_geom.plots.palette import Ground
from grace_geom.plots.style import plain_html
from grace_geom.records import Estimate

BESIDE = (
    "middle right", "middle left", "top center", "bottom center",
    "top right", "bottom right", "top left", "bottom left",
)  # fmt: skip
LINE = 16
"""Height of a line of text, in pixels."""
# A line costs as much as covering 40 square pixels of a bar, and one more for each of its pixels.
_LEADER = 40.0
_LED = [(r, math.pi * k / 8) for r in (22, 34, 48, 64) for k in range(16) if k % 4]
_CROSSING = 300.0  # of one line with another
_THROUGH = 1200.0  # of a line with the marker of another point, which would seem to have its name
_ROUNDS = 4
_DEAR = 800.0  # what all places cost together where another order is tried
_HALF = 11  # pixels from the middle of a point to the edge of its ring

Point = tuple[Estimate, Estimate]
Boxes = np.ndarray
"""``(n, 4)``: left, bottom, right and top of boxes, in pixels."""


@dataclass
class _Scene:
    """What names keep clear of, in pixels from the lower left corner.

    Attributes:
        middles: ``(n, 2)``, of all points.
        lines: Bars and other lines.
        steps: Of the front.
        ringed: Numbers of the points of the front.
        size: Of the plot.
    """

    middles: np.ndarray
    lines: Boxes
    steps: Boxes
    ringed: frozenset[int]
    size: tuple[int, int]


@dataclass
class _Tried:
    """The places that a name may take.

    Attributes:
        names: ``(n,)`` of :func:`place_labels`.
        boxes: ``(n, 4)``: the words.
        paths: ``(n, k, 2)`` points of the line from the point to the words; NaN without one.
        base: ``(n,)`` what a place costs where nothing else is.
    """

    names: list[str]
    boxes: Boxes
    paths: np.ndarray
    base: np.ndarray


def place_labels(
    points: Mapping[str, Point],
    texts: Mapping[str, str],
    spans: Sequence[Sequence[float]],
    size: tuple[int, int],
    front: Sequence[str] = (),
    line: Sequence[tuple[float, float]] = (),
    narrow: int | None = None,
) -> dict[str, str]:
    """Where each name stands: of plotly's eight places beside its point, or at the end of a thin
    line some way off, the one that covers least.

    A name without a line is nearer to its own point than to any other, where there is room. Names
    are placed in turn, and each of them again once all others stand; lines that still cross
    exchange their ends.

    Args:
        points: All runs, in shares of 1.
        texts: The names that are written.
        spans: Ranges of the axes, in percent.
        size: Width and height of the plot that the names are placed for, in pixels.
        front: Runs of the Pareto front, best ``x`` first, whose steps names keep clear of.
        line: Points of a line that names keep clear of, in percent.
        narrow: Width in pixels that the same plot has elsewhere, as on a telephone: names stay
            inside of it and clear of each other and of points there too.

    Returns:
        Places that :func:`label_at` and :func:`add_leaders` understand.
    """
    scale = [size[i] / (spans[i][1] - spans[i][0]) for i in (0, 1)]
    at = {
        run: tuple(scale[i] * (100 * p[i].value - spans[i][0]) for i in (0, 1))
        for run, p in points.items()
    }
    lines = [box for run, p in points.items() for box in _bars(p, at[run], scale)]
    for x, y in (tuple((p[i] - spans[i][0]) * scale[i] for i in (0, 1)) for p in line):
        lines.append((x - 4, y - 4, x + 4, y + 4))
    order = list(at)
    scene = _Scene(
        np.array([*at.values()]).reshape(-1, 2),
        _boxes(lines),
        _boxes(_steps([at[run] for run in front])),
        frozenset(map(order.index, front)),
        size,
    )
    widths = {run: _width(text) for run, text in texts.items()}
    tried = {run: _places(at[run], width) for run, width in widths.items()}
    slim = {} if narrow is None else _squeezed(at, widths, (narrow, size[1]), size[0])
    turns = {run: order.index(run) for run in tried}
    chosen, dear = _settled(tried, slim, scene, turns)
    if dear > _DEAR:  # whoever chooses first may take the only room of another
        back = dict(reversed(tried.items()))
        chosen = min((chosen, dear), _settled(back, slim, scene, turns), key=lambda way: way[1])[0]
    return uncrossed({run: tried[run].names[chosen[run]] for run in tried}, at)


def _settled(
    tried: Mapping[str, _Tried], slim: Mapping[str, _Tried], scene: _Scene, turns: Mapping[str, int]
) -> tuple[dict[str, int], float]:
    """Numbers of the places that names take in turn, and again until none finds a better one; and
    what they cost together.

    Args:
        tried: The places of each.
        slim: The same in a narrower plot, if there is one.
        scene: Points and lines.
        turns: Numbers of the names' points.
    """
    chosen: dict[str, int] = {}
    for _ in range(_ROUNDS):
        before, sum_of = dict(chosen), 0.0
        for run, places in tried.items():
            others = [tried[o] for o in chosen if o != run], [chosen[o] for o in chosen if o != run]
            cost = _cost(places, turns[run], scene, *_written(*others), _lines(*others))
            if run in slim:
                cost = cost + _there(slim[run], [slim[o] for o in chosen if o != run], others[1])
            chosen[run] = int(cost.argmin())
            sum_of += float(cost.min())
        if chosen == before:
            break
    return chosen, sum_of


def _squeezed(
    at: Mapping[str, tuple[float, ...]],
    widths: Mapping[str, float],
    size: tuple[int, int],
    wide: int,
) -> dict[str, _Tried]:
    """The same places in a narrower plot, where letters and lines keep their pixels. They cost what
    they cover of points, less than where the plot is ``wide``, and what lies outside.
    """
    there = {run: (size[0] / wide * x, y) for run, (x, y) in at.items()}
    found = {run: _places(there[run], width) for run, width in widths.items()}
    for run, places in found.items():
        others = np.array([middle for other, middle in there.items() if other != run])
        places.base = _outside(places.boxes, size)
        places.base += 2 * _covered(places.boxes, _around(others.reshape(-1, 2)))
        places.base += _THROUGH * through(places.paths, others.reshape(-1, 2))
    return found


def _there(places: _Tried, others: Sequence[_Tried], chosen: Sequence[int]) -> np.ndarray:
    """``(n,)``: what places cost in a narrower plot, where they cover names or the lines to them
    too.
    """
    written, drawn = _written(others, chosen)
    names = written + np.array([-5, 0, 5, 0])  # names need a space between them
    cost = places.base + 10 * _covered(places.boxes, names)
    return cost + 10 * _covered(places.boxes, _around(drawn, 3))


def uncrossed(places: Mapping[str, str], at: Mapping[str, tuple[float, ...]]) -> dict[str, str]:
    """The places with ends of lines exchanged until no two lines cross. Each exchange makes the
    lines shorter, so there is an end to it.

    Args:
        places: Of :func:`place_labels`.
        at: Of each point, in pixels.
    """
    led = [run for run, place in places.items() if place.startswith("led ")]
    starts = np.array([at[run] for run in led]).reshape(-1, 2)
    ends = starts + np.array([places[run].split()[1:] for run in led], float).reshape(-1, 2)
    while True:
        crossing = np.argwhere(crossed(np.stack([starts, ends], axis=1)))
        if not len(crossing):
            break
        i, j = crossing[0]
        ends[[i, j]] = ends[[j, i]]
    moved = {
        run: f"led {round(right)} {round(up)}"
        for run, (right, up) in zip(led, ends - starts, strict=True)
    }
    return {run: moved.get(run, place) for run, place in places.items()}


def label_at(place: str, text: str) -> dict[str, object]:
    """A place of :func:`place_labels` as plotly takes it; a name at the end of a line is left to
    :func:`add_leaders`.
    """
    if place.startswith("led "):
        return {"text": [""], "textposition": "top center"}
    return {"text": [text], "textposition": place}


def add_leaders(
    figure: go.Figure,
    places: Mapping[str, str],
    at: Mapping[str, tuple[float, float]],
    texts: Mapping[str, str],
    ground: Ground,
    panel: Mapping[str, int] | None = None,
) -> None:
    """Write the names that stand some way off, each with a thin line to its point.

    Args:
        figure: That has the points.
        places: Of :func:`place_labels`.
        at: Of each point, on the axes.
        texts: The names, as plain text.
        ground: Colours of letters and lines.
        panel: ``row`` and ``col``, where there are several.
    """
    for run, place in places.items():
        if place.startswith("led "):
            right, up = map(float, place.split()[1:])
            figure.add_annotation(
                text=plain_html(texts[run]), x=at[run][0], y=at[run][1], ax=right, ay=-up,
                showarrow=True, arrowhead=0, arrowwidth=1, arrowcolor=ground.muted, standoff=6,
                xanchor="center", yanchor="middle", borderpad=0,
                font={"color": ground.text, "size": 13}, **(panel or {}),
            )  # fmt: skip


def _width(text: str) -> float:
    """Pixels at 13 px: figures are wider than the letters of a name are on average."""
    return sum(8.3 if letter.isdigit() else 7.2 for letter in text)


_ALONG = np.linspace(0.0, 1.0, 8)[:, None]
"""Places on the line to a name that stands some way off."""


def _places(at: Sequence[float], width: float) -> _Tried:
    boxes = [_box(at, width, place) for place in BESIDE]
    base = [0.0] * len(BESIDE)
    names, paths = list(BESIDE), [np.full((8, 2), np.nan)] * len(BESIDE)
    for r, angle in _LED:
        right, up = math.cos(angle) * (r + width / 2), math.sin(angle) * (r + LINE / 2)
        right, up = round(right), round(up)
        x, y = at[0] + right, at[1] + up
        names.append(f"led {right} {up}")
        boxes.append((x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2))
        paths.append(np.array(at[:2]) + _ALONG * np.array([right, up]))
        base.append(_LEADER + r)
    return _Tried(names, _boxes(boxes), np.stack(paths), np.array(base))


def _cost(
    places: _Tried, own: int, scene: _Scene, written: Boxes, drawn: np.ndarray, led_to: np.ndarray
) -> np.ndarray:
    """``(n,)``: square pixels that a place covers, weighted by how much that matters.

    Args:
        places: To choose from.
        own: Number of the name's point.
        scene: Points and lines.
        written: Boxes of the other names.
        drawn: ``(k, 2)`` points of the lines to them.
        led_to: ``(m, 2, 2)``: both ends of each of these lines.
    """
    others = np.delete(scene.middles, own, axis=0)
    boxes, margin = places.boxes, np.array([5, 0, 5, 0])  # names need a space between them
    cost = places.base + _covered(boxes, scene.lines) + _outside(boxes, scene.size)
    cost = cost + 4 * _covered(boxes, scene.steps)
    ring = 3.0 if own in scene.ringed else 0.5
    cost = cost + ring * _covered(boxes, _around(scene.middles[own : own + 1]))
    cost = cost + 5 * _covered(boxes, _around(others))
    cost = cost + 10 * _covered(boxes, written + margin * [-1, 0, 1, 0])
    cost = cost + 10 * _covered(boxes, _around(drawn, 3))
    led = ~np.isnan(places.paths[:, 0, 0])
    # Where another point lies over the name's own, each line begins within that one too.
    begins = _gaps(_around(scene.middles[own : own + 1], 0), places.paths.reshape(-1, 2)) < 16
    away = np.where(begins.reshape(*led.shape, -1, 1), np.nan, places.paths)
    near = _within(away, _around(others, 12)) + _within(places.paths, written)
    cost = cost + np.where(led, 100.0 * near, 0.0)
    cost = cost + _THROUGH * through(places.paths, others)
    both = crossed(places.paths[:, [0, -1]], led_to).sum(axis=1)
    cost = cost + np.where(led, _CROSSING * both, 0.0)
    if len(others):
        gap = _gaps(boxes, scene.middles[own : own + 1])[:, 0]
        nearest = _gaps(boxes, others).min(axis=1)
        unclear = np.clip(100 * (1.5 - nearest / np.maximum(gap, 1.0)), 0.0, 50.0)
        cost = cost + np.where(led, 0.0, np.where(nearest < 1.1 * gap, 400.0, unclear))
    return cost


def _written(places: Sequence[_Tried], chosen: Sequence[int]) -> tuple[Boxes, np.ndarray]:
    """The boxes of names that stand, and points of the lines to them."""
    boxes = _boxes([p.boxes[i] for p, i in zip(places, chosen, strict=True)])
    paths = [p.paths[i] for p, i in zip(places, chosen, strict=True)]
    ends = np.concatenate(paths) if paths else np.zeros((0, 2))
    return boxes, ends[~np.isnan(ends[:, 0])]


def _lines(places: Sequence[_Tried], chosen: Sequence[int]) -> np.ndarray:
    """``(m, 2, 2)``: both ends of the lines to names that stand."""
    ends = [p.paths[i][[0, -1]] for p, i in zip(places, chosen, strict=True)]
    known = [pair for pair in ends if not np.isnan(pair).any()]
    return np.array(known).reshape(-1, 2, 2)


def _bars(p: Point, at: Sequence[float], scale: Sequence[float]) -> list[Sequence[float]]:
    """Boxes around the two intervals of a point."""
    (a, b), (x, y) = p, at
    left, right = (100 * scale[0] * d for d in (a.value - a.low, a.high - a.value))
    down, up = (100 * scale[1] * d for d in (b.value - b.low, b.high - b.value))
    return [(x - left, y - 2, x + right, y + 2), (x - 2, y - down, x + 2, y + up)]


def _steps(corners: Sequence[tuple[float, ...]]) -> list[Sequence[float]]:
    """Boxes around the steps of the front, in pixels: from below up to the first point, left to the
    next one's x and up to it, and from the last one to the left.
    """
    boxes: list[Sequence[float]] = []
    bottom = 0.0
    for i, (x, y) in enumerate(corners):
        left = corners[i + 1][0] if i + 1 < len(corners) else 0.0
        boxes += [(x - 4, bottom, x + 4, y), (left, y - 4, x, y + 4)]
        bottom = y
    return boxes


def _box(at: Sequence[float], width: float, place: str) -> tuple[float, float, float, float]:
    vertical, horizontal = place.split()
    x = at[0] + {"left": -width - 9, "center": -width / 2, "right": 9}[horizontal]
    y = at[1] + {"bottom": -25, "middle": -8, "top": 9}[vertical]
    return x, y, x + width, y + LINE


def _boxes(boxes: Sequence[Sequence[float]]) -> Boxes:
    return np.array(boxes, float).reshape(-1, 4)


def _around(middles: np.ndarray, half: float = _HALF) -> Boxes:
    """Squares around points."""
    return np.concatenate([middles - half, middles + half], axis=1)


def _covered(boxes: Boxes, others: Boxes) -> np.ndarray:
    """``(n,)``: square pixels that each box shares with all others together."""
    a, b = boxes[:, None], others[None]
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared: np.ndarray = (np.clip(width, 0, None) * np.clip(height, 0, None)).sum(axis=1)
    return shared


def _outside(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    whole = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return 10 * (whole - _covered(boxes, _boxes([(0, 0, *size)])))


def _within(paths: np.ndarray, boxes: Boxes) -> np.ndarray:
    """``(n,)``: how many points of each path lie in boxes."""
    at = paths[:, :, None]
    there = (at >= boxes[:, :2]) & (at <= boxes[:, 2:])
    counted: np.ndarray = there.all(axis=-1).sum(axis=(1, 2))
    return counted


def _gaps(boxes: Boxes, points: np.ndarray) -> np.ndarray:
    """``(n, m)``: pixels between boxes and points."""
    low = boxes[:, None, :2] - points
    high = points - boxes[:, None, 2:]
    return np.linalg.norm(np.maximum(np.maximum(low, high), 0.0), axis=-1)
