"""Accuracies as figures: plain functions of records, tested without Streamlit."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.look import Ground, dress, faint, look, plain_html
from app.store import Entry
from grace_geom.records import Accuracy, Estimate, headline_attack, strongest

SUITE_TITLES = {
    "id": "In distribution",
    "ood": "Under shift",
    "adv": "Under attack",
    "natural_adv": "Naturally adversarial",
    "zeroshot": "Zero-shot transfer",
}
_PLACES = (
    "middle right", "middle left", "top center", "bottom center",
    "top right", "bottom right", "top left", "bottom left",
    "top center lifted",
)  # fmt: skip
_LINE = 16  # pixels
_AWAY = 200.0  # pixels that a name may cover before it leaves its point
_MOST_LABELS = 14

Point = tuple[Estimate, Estimate]


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that no other beats in both numbers (higher is better), best ``x`` first; equals stay
    together.
    """
    front: list[str] = []
    best = -math.inf
    for name, (x, y) in sorted(points.items(), key=lambda item: (-item[1][0], -item[1][1])):
        if y > best or (front and points[front[-1]] == (x, y)):
            front.append(name)
            best = y
    return front


def tradeoff(
    entries: Sequence[Entry],
    names: Mapping[str, str],
    x: str,
    y: str,
    ground: Ground,
    titles: tuple[str, str],
) -> go.Figure | None:
    """Two columns of the summary against each other, in percent, with 95 % intervals.

    Runs that no other beats in both are ringed and joined by the steps of the Pareto front; names
    stand at the points.

    Args:
        entries: Runs; those without both columns are left out.
        names: What is written at each run's point.
        x, y: Columns.
        ground: Light or dark.
        titles: Of the axes.

    Returns:
        ``None`` where no run has both columns.
    """
    points = {
        e.id: (a, b) for e in entries if (a := e.estimates.get(x)) and (b := e.estimates.get(y))
    }
    if not points:
        return None
    spans = [_span([p[i] for p in points.values()]) for i in (0, 1)]
    front = pareto({run: (a.value, b.value) for run, (a, b) in points.items()})
    figure = go.Figure()
    shown = list(points) if len(points) <= _MOST_LABELS else front
    places = place_labels(
        {run: points[run] for run in points}, {run: names[run] for run in shown}, spans
    )
    for run, (a, b) in points.items():
        style = look(run, ground)
        text = plain_html(names[run])
        figure.add_scatter(
            x=[100 * a.value],
            y=[100 * b.value],
            name=text,
            mode="markers+text" if run in places else "markers",
            **label_at(places.get(run, "top center"), text),
            textfont={"color": ground.text, "size": 13},
            marker={"color": style.color, "symbol": style.marker, "size": 11},
            error_x=_bars(a, style.color),
            error_y=_bars(b, style.color),
            showlegend=False,
            cliponaxis=False,
            customdata=[[100 * a.low, 100 * a.high, 100 * b.low, 100 * b.high]],
            hovertemplate=f"<b>{text}</b><br>{x} %{{x:.1f}} [%{{customdata[0]:.1f}}, "
            f"%{{customdata[1]:.1f}}]<br>{y} %{{y:.1f}} [%{{customdata[2]:.1f}}, "
            f"%{{customdata[3]:.1f}}]<extra></extra>",
        )
    _add_front(figure, [points[run] for run in front], spans, ground)
    axes = [{"title": title, "range": span} for title, span in zip(titles, spans, strict=True)]
    return dress(figure, ground, 430, xaxis=axes[0], yaxis=axes[1])


def _add_front(
    figure: go.Figure, front: Sequence[Point], spans: Sequence[list[float]], ground: Ground
) -> None:
    xs, ys = [100 * a.value for a, _ in front], [100 * b.value for _, b in front]
    figure.add_scatter(
        x=[xs[0], *xs, spans[0][0]],
        y=[spans[1][0], *ys, ys[-1]],
        mode="lines",
        name="Pareto front",
        hoverinfo="skip",
        line={"shape": "hv", "color": ground.muted, "width": 1.6, "dash": "dot"},
        showlegend=False,
    )
    figure.add_scatter(
        x=xs, y=ys, mode="markers", name="not beaten in both", hoverinfo="skip", showlegend=False,
        marker={"size": 21, "symbol": "circle-open", "color": ground.muted, "line": {"width": 1.2}},
    )  # fmt: skip


def _span(estimates: Sequence[Estimate]) -> list[float]:
    """Range of an axis, in percent: all intervals, and room for names at both ends."""
    low, high = min(e.low for e in estimates), max(e.high for e in estimates)
    room = 0.12 * max(high - low, 0.02)
    return [
        max(100 * (low - room), -4.0),
        min(100 * (high + room), 104.0),
    ]  # intervals over few seeds go further


def _bars(e: Estimate, color: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (e.high - e.value)],
        "arrayminus": [100 * (e.value - e.low)],
        "color": faint(color),
        "thickness": 1.2,
        "width": 0,
    }


def place_labels(
    points: Mapping[str, Point],
    texts: Mapping[str, str],
    spans: Sequence[list[float]],
    size: tuple[int, int] = (420, 360),
) -> dict[str, str]:
    """Where each name stands beside its point: of plotly's eight places, or a line above, the one
    that covers least.

    Args:
        points: All runs, in shares of 1.
        texts: The names that are written.
        spans: Ranges of the axes, in percent.
        size: Width and height of the plot that the names are placed for, in pixels.
    """
    at = {
        run: tuple(
            size[i] * (100 * p[i].value - spans[i][0]) / (spans[i][1] - spans[i][0]) for i in (0, 1)
        )
        for run, p in points.items()
    }
    scale = [size[i] / (spans[i][1] - spans[i][0]) for i in (0, 1)]
    taken: list[tuple[float, float, float, float]] = []
    for run, (a, b) in points.items():
        x, y = at[run]
        taken.append((x - 11, y - 11, x + 11, y + 11))
        taken.append(
            (
                x - 100 * (a.value - a.low) * scale[0],
                y - 2,
                x + 100 * (a.high - a.value) * scale[0],
                y + 2,
            )
        )
        taken.append(
            (
                x - 2,
                y - 100 * (b.value - b.low) * scale[1],
                x + 2,
                y + 100 * (b.high - b.value) * scale[1],
            )
        )
    chosen = {}
    for run, text in texts.items():
        boxes = {place: _box(at[run], 7.2 * len(text), place) for place in _PLACES}
        cost = {
            p: sum(_overlap(box, other) for other in taken) + _outside(box, size)
            for p, box in boxes.items()
        }
        cost = {p: c + _AWAY if p.endswith("lifted") else c for p, c in cost.items()}
        chosen[run] = min(_PLACES, key=lambda place: cost[place])
        taken.append(boxes[chosen[run]])
    return chosen


def label_at(place: str, text: str) -> dict[str, object]:
    """A place of :func:`place_labels` as plotly takes it; an empty line below lifts a name."""
    position = place.removesuffix(" lifted")
    return {"text": [text if position == place else f"{text}<br>\u00a0"], "textposition": position}


def _box(at: tuple[float, ...], width: float, place: str) -> tuple[float, float, float, float]:
    vertical, horizontal, *lifted = place.split()
    x = at[0] + {"left": -width - 9, "center": -width / 2, "right": 9}[horizontal]
    y = at[1] + {"bottom": -25, "middle": -8, "top": 9}[vertical] + _LINE * len(lifted)
    return x, y, x + width, y + _LINE


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Sequence[float], size: tuple[int, int]) -> float:
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return 10 * (whole - _overlap(box, (0, 0, *size)))


def questions(entry: Entry) -> dict[tuple[str, str], Accuracy]:
    """What the summary is made of, by suite and data set: clean accuracies, and the attack that
    ``Adv`` stands for.
    """
    found = [
        a for a in strongest(entry.accuracies) if a.attack is None and a.suite != "adv"
    ] + headline_attack(entry.accuracies)
    return {(a.suite, a.data): a for a in found}


def data_sets(entries: Sequence[Entry], suites: Sequence[str]) -> list[tuple[str, str]]:
    """Every (suite, data set) that a run was evaluated on, suites in the order given."""
    keys = dict.fromkeys(key for e in entries for key in questions(e))
    return sorted((key for key in keys if key[0] in suites), key=lambda key: suites.index(key[0]))


def distribution(key: tuple[str, str]) -> str:
    """What the sidebar calls a (suite, data set): ``id``, ``adv``, or the data set's name."""
    return key[0] if key[0] in ("id", "adv") else key[1]


def dots(
    entries: Sequence[Entry],
    names: Mapping[str, str],
    keys: Sequence[tuple[str, str]],
    ground: Ground,
) -> go.Figure | None:
    """Accuracy on every (suite, data set) of ``keys``, a row each, a point with its 95 % interval
    for each run.
    """
    if not keys:
        return None
    figure = go.Figure()
    step = 0.72 / max(len(entries), 4)
    for i, entry in enumerate(entries):
        style, asked = look(entry.id, ground), questions(entry)
        rows = [(j, asked[key]) for j, key in enumerate(keys) if key in asked]
        offset = (i - (len(entries) - 1) / 2) * step
        figure.add_scatter(
            x=[100 * a.accuracy for _, a in rows],
            y=[j + offset for j, _ in rows],
            mode="markers",
            name=plain_html(names[entry.id]),
            marker={"color": style.color, "symbol": style.marker, "size": 8},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (a.ci_high - a.accuracy) for _, a in rows],
                "arrayminus": [100 * (a.accuracy - a.ci_low) for _, a in rows],
                "color": style.color,
                "thickness": 1.2,
                "width": 0,
            },
            customdata=[[plain_html(a.data), counted(entry, a)] for _, a in rows],
            hovertemplate="%{customdata[0]}: %{x:.1f} % (%{customdata[1]})",
        )
    for j in range(0, len(keys), 2):
        figure.add_hrect(y0=j - 0.5, y1=j + 0.5, fillcolor=ground.band, line_width=0, layer="below")
    for j in range(1, len(keys)):
        if keys[j][0] != keys[j - 1][0]:
            figure.add_hline(y=j - 0.5, line={"color": ground.muted, "width": 1})
    per_row = max(30, 9 * len(entries))
    everything = [
        Estimate.of(asked[key]) for asked in map(questions, entries) for key in keys if key in asked
    ]
    return dress(
        figure,
        ground,
        80 + per_row * len(keys),
        showlegend=False,
        xaxis={"title": "Top-1 accuracy (%)", "range": _span(everything)},
        yaxis={
            "range": [len(keys) - 0.5, -0.5],
            "tickvals": list(range(len(keys))),
            "showgrid": False,
            "ticks": "",
            "ticktext": [_row_name(key) for key in keys],
        },
    )


def counted(entry: Entry, a: Accuracy) -> str:
    """What an accuracy was counted from."""
    return (
        f"mean of {len(entry.members)} seeds, n = {a.n} each"
        if entry.members
        else f"{a.correct} of {a.n}"
    )


def _row_name(key: tuple[str, str]) -> str:
    suite, data = key
    short = {
        "id": "ID",
        "ood": "OOD",
        "adv": "attack",
        "natural_adv": "natural adv.",
        "zeroshot": "zero-shot",
    }
    return f"{plain_html(data)} <span style='opacity:0.65'>({short.get(suite, plain_html(suite))})</span>"
