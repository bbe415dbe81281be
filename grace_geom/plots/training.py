"""What a run logged while it trained, as figures: panels below each other on one axis."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots import checks, ranges
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Look
from grace_geom.plots.style import dressed, plain_html, see_through
from grace_geom.records import number, titles

TITLES = titles.LOGGED
"""Logged number -> its name."""
MEANINGS = {
    "loss": "what the optimiser minimises, the sum of the terms below",
    "loss_task": "cross-entropy on clean images: accuracy where the run trains",
    "loss_lar": "cross-entropy on attacked images at weights that were moved to where it is "
    "highest, times its factor: it presses on sharpness",
    "loss_gv": "volume spanned by the clean, the attacked and the perturbed-weight feature of an "
    "image, times its factor: 0 where all three agree",
    "loss_adv": "cross-entropy on attacked images",
    "loss_attention_adv": "distance of the text-guided attention from the pretrained model's on the "
    "clean image",
    "loss_attention_clean": "the same for the clean image",
    "gram_volume": "what the clean, the attacked and the perturbed-weight feature of an image span, "
    "between 0 (all agree) and 1 (orthogonal)",
    "cos_id_adv": "how far the attack turns a feature: 1, not at all",
    "cos_id_awp": "how far the attack and the weight perturbation turn it together",
    "cos_adv_awp": "what the weight perturbation adds to the attack",
    "train_acc_awp": "of the worst case that GRACE and AWP train on",
    "val_acc_pgd": "of images that no step has seen, under a short attack: the number that shows "
    "robust overfitting",
    "grad_norm": "before clipping; a rise by powers of ten comes before divergence",
}
"""One line for what the name of a logged number does not say."""
GROUPS = {
    "Accuracy": r"(train|val)_acc", "Loss": r"loss$|loss_", "Feature geometry": r"cos_|gram_",
    "Optimiser and speed": r"lr$|grad_norm|images_per_s",
}  # fmt: skip
OWN, MOST_OWN = "Terms of single methods", 4
"""Heading of loss terms that one line alone has; how many of them stand among the others."""

ALONG = {"step": "Step", "epoch": "Epoch", "images_seen": "Images seen", "seconds": "Time",
         "share": "Share of the log"}  # fmt: skip
"""What numbers can be drawn against, by its name in the log; ``share``: of its last step."""
_UNITS = ((3 * 3600.0, 3600.0, "h"), (180.0, 60.0, "min"), (0.0, 1.0, "s"))
_PANEL, _TALL, _GAP, _AROUND = 180, 240, 40, 74
"""Pixels of a panel, of the first one of many lines, between two, and around all."""
ALONG_NOTE, BEYOND_NOTE, MOST_BEYOND, LINE = "along", "beyond", 3, 18
"""Names of notes that are no panel's: what the axis is, which lines lie above a panel; how many of
these are named; and pixels of a line of them.
"""
MOST_MARKED, FEW_POINTS, MOST_ABOVE_AXIS = 5, 5, 2
"""Lines whose points are marked: more hide each other, but those of few points. Panels above their
axis: it heads more.
"""
OVER_AXIS, LIFTED, NARROW = 26, 17, 330
"""Pixels from the first panel to its name, over the numbers of the axis; from there to the axis'
name where both do not fit on one line of the narrowest figure, a telephone's; and its width.
"""
LOG = ", logarithmic"
"""After the name of a panel whose axis is: its neighbour's is often linear."""
BAND = 0.15
"""Strength of the colour of a band."""
FEW = 20
"""Numbers that are shown as they are: an average of so few would hide when they were measured."""
Rows = Sequence[Mapping[str, Any]]
Points = Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]
"""Logged number -> run -> places and values, ``(n,)`` each."""
Bands = Points
"""The same with the lowest and the highest value at each place."""


@dataclass(frozen=True)
class View:
    """How logged numbers are shown.

    Attributes:
        along: A key of :data:`ALONG`.
        smoothing: Weight of the past in the moving average, in [0, 1); 0: none.
        scale: A key of :data:`~.ranges.SCALES`: ``log`` for all positive numbers without a bound,
            ``auto`` for losses and norms that span more than a factor of :data:`~.ranges.WIDE` or
            whose lines lie far apart; ``auto`` also leaves out what lies far above the rest.
    """

    along: str = "step"
    smoothing: float = 0.0
    scale: str = "auto"


def groups(
    records: Mapping[str, Rows], lines: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[str]]:
    """The logged numbers by heading, in a fixed order; what is no series of its own (n, seconds) is
    left out.

    Args:
        records: Run -> its records.
        lines: What is drawn -> the runs that it is the mean of; default each run. Where more than
            :data:`MOST_OWN` terms of the loss have one line alone among several, these stand under
            a heading of their own, at the end.
    """
    of_run = {run: dict.fromkeys(k for row in rows for k in row) for run, rows in records.items()}
    keys = dict.fromkeys(key for known in of_run.values() for key in known)
    found = {}
    for title, pattern in GROUPS.items():
        known = [key for key in TITLES if key in keys and re.match(pattern, key)]
        other = [key for key in keys if key not in TITLES and re.match(pattern, key)]
        if known or other:
            found[title] = known + other
    each = list((lines or {run: (run,) for run in records}).values())
    having = {k: sum(any(k in of_run[run] for run in runs) for runs in each) for k in keys}
    own = [key for key in found.get("Loss", ()) if key != "loss" and having[key] == 1]
    if len(each) > 1 and len(own) > MOST_OWN:
        found["Loss"] = [key for key in found["Loss"] if key not in own]
        found[OWN] = own
    return {heading: known for heading, known in found.items() if known}


def title(key: str) -> str:
    """What a logged number is called; one that nobody has named, by the words of its key."""
    if key in TITLES:
        return TITLES[key]
    kind, _, rest = key.partition("_")
    words = f"{rest} loss" if kind == "loss" else key
    return words.replace("_", " ").capitalize()


def smooth(values: Sequence[float] | np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average without the pull to zero of its start.

    ``m_t = weight m_{t-1} + (1 - weight) v_t`` from ``m_0 = 0``, divided by ``1 - weight^t``
    (Kingma & Ba 2015, sec. 3), in steps towards each value: the first is the first value, and a
    constant stays what it is to the last bit, or its axis would show nothing but rounding.

    Args:
        values: ``(n,)``, finite.
        weight: Of the past, in [0, 1).

    Returns:
        ``(n,)`` float64.
    """
    found, mean, share = np.array(values, float), 0.0, 1.0
    for i, value in enumerate(found):
        share *= weight
        mean += (1 - weight) / (1 - share) * (float(value) - mean)
        found[i] = mean
    return found


def series(
    rows: Iterable[Mapping[str, Any]], key: str, most: int = 2000, along: str = "step"
) -> tuple[list[float], list[float]]:
    """Places and values of one logged number, thinned to at most ``most`` points with both ends
    kept. NaN and infinities are left out: they would cut a line into nothing.

    Args:
        rows: Records.
        key: The number.
        most: Points.
        along: A key of :data:`ALONG`.
    """
    known = [(number(row.get(along)), number(row.get(key))) for row in rows]
    pairs = [(at, value) for at, value in known if at is not None and value is not None]
    kept = [pairs[i] for i in _thinned(len(pairs), most)]
    return [at for at, _ in kept], [value for _, value in kept]


def _thinned(n: int, most: int) -> Iterable[int]:
    return (round(i * (n - 1) / (most - 1)) for i in range(most)) if n > most else range(n)


def points(records: Mapping[str, Rows], keys: Sequence[str], along: str = "step") -> Points:
    """What :func:`series` finds of several numbers and runs, not thinned; nothing of runs that have
    none.
    """
    found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {key: {} for key in keys}
    for run, rows in records.items():
        of = "step" if along == "share" else along
        placed = [(at, row) for row in rows if (at := number(row.get(of))) is not None]
        if along == "share":
            last = max((at for at, _ in placed), default=0.0) or 1.0
            placed = [(at / last, row) for at, row in placed]
        for key in keys:
            pairs = [(at, v) for at, row in placed if (v := number(row.get(key))) is not None]
            if pairs:
                at, values = np.array(pairs).T
                found[key][run] = at, values
    return found


def stack(
    records: Mapping[str, Rows],
    legend: Legend,
    keys: Sequence[str],
    view: View | None = None,
    known: Points | None = None,
    bands: Bands | None = None,
) -> go.Figure | None:
    """Logged numbers below each other on one axis, one line a run; ``None`` where nothing is there.

    The smoothed line stands before the numbers as logged, which are faint, or before its band. The
    pointer marks one place in all panels.

    Args:
        records: Run -> its records.
        legend: Name and look of each run.
        keys: Logged numbers, the first above.
        view: How they are shown.
        known: What :func:`points` finds of them, where somebody has asked before; or means of it,
            see :func:`grace_geom.plots.seed_bands.over_seeds`.
        bands: Of means, smoothed as these are.
    """
    view, unit = view or View(), _unit(records, view or View())
    every = known or points(records, keys, view.along)
    runs = max(map(len, every.values()), default=0)
    most = max(200, min(2000, 12_000 // max(1, runs)))
    shown: list[tuple[str, list[dict[str, Any]]]] = []
    for key, of_runs in every.items():
        lines: list[dict[str, Any]] = []
        ends = (bands or {}).get(key, {})
        for run, (at, values) in of_runs.items():
            who = _who(run, legend)
            own = _lines(at / unit[0], values, key, who, view, most, ends.get(run))
            if run not in ends and len(at) <= FEW_POINTS:
                n = checks.counts(records.get(run, ()), key, view.along)
                own[-1] |= checks.intervals(values, n, legend.looks[run].color)
            lines += own
        if lines:
            lines.sort(key=lambda line: line["hoverinfo"] != "skip")  # bands lie below all lines
            on = {"xaxis": "x", "yaxis": _axis("y", len(shown) + 1)}
            shown.append((key, [_unmarked(line, runs) | on for line in lines]))
    return _drawn(legend, shown, view, unit[1]) if shown else None


def _unmarked(line: dict[str, Any], lines: int) -> dict[str, Any]:
    """One of many lines without markers, unless it has few points."""
    few = len(line["x"]) <= FEW_POINTS
    return line if lines <= MOST_MARKED or few else line | {"mode": "lines"}


def _who(run: str, legend: Legend) -> tuple[str, str, Look]:
    return run, plain_html(legend.names[run]), legend.looks[run]


def _lines(
    xs: np.ndarray, values: np.ndarray, key: str, who: tuple[str, str, Look], view: View, most: int,
    ends: tuple[np.ndarray, np.ndarray] | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The line of a run in a panel, and its numbers as logged where it is smoothed; of a mean, its
    band.
    """
    run, name, look = who
    smoothed = view.smoothing > 0 and len(values) > FEW
    kept = list(_thinned(len(xs), most))
    drawn = smooth(values, view.smoothing) if smoothed else values
    base = {"type": "scatter", "x": xs[kept], "name": name, "legendgroup": run}
    line = base | {
        "y": drawn[kept], "mode": "lines" if len(xs) > 40 else "lines+markers",
        "line": {"color": look.color, "dash": look.dash, "width": 1.8}, "showlegend": False,
        "marker": {"symbol": look.marker, "size": 6, "color": look.color},
        "hovertemplate": f"{plain_html(key)} %{{y:.4g}}", "hoverinfo": "all",
    }  # fmt: skip
    below = base | {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    if ends is not None:
        low, high = (smooth(e, view.smoothing)[kept] if smoothed else e[kept] for e in ends)
        return [below | {
            "x": np.concatenate([xs[kept], xs[kept][::-1]]), "y": np.concatenate([low, high[::-1]]),
            "fill": "toself", "fillcolor": see_through(look.color, BAND), "line": {"width": 0},
        }, line]  # fmt: skip
    if not smoothed:
        return [line]
    faint = {"color": see_through(look.color, 0.28), "width": 1}
    return [below | {"y": values[kept], "line": faint}, line]


def _axis(letter: str, turn: int) -> str:
    return letter if turn == 1 else f"{letter}{turn}"


def _unit(records: Mapping[str, Rows], view: View) -> tuple[float, str]:
    """What a unit of the axis is in the log's units, and what the axis is called."""
    if view.along == "share":
        return 0.01, "Share of log (%)"
    if view.along != "seconds":
        return 1.0, ALONG[view.along]
    known = [number(row.get("seconds")) or 0.0 for rows in records.values() for row in rows]
    longest = max(known, default=0.0)
    _, seconds, name = next(unit for unit in _UNITS if longest >= unit[0])
    return seconds, f"Time ({name})"


def _drawn(
    legend: Legend, shown: Sequence[tuple[str, list[dict[str, Any]]]], view: View, along: str
) -> go.Figure:
    """Places of the panels, their names, and one pointer for all."""
    n = len(shown)
    many = any(len({x["legendgroup"] for x in lines}) > MOST_MARKED for _, lines in shown)
    first = _TALL if many else _PANEL
    inner = first + (n - 1) * (_PANEL + _GAP)
    last = max(float(np.max(line["x"])) for _, lines in shown for line in lines)
    spike = {"showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "solid",
             "spikecolor": legend.ground.muted, "spikesnap": "cursor"}  # fmt: skip
    above = n > MOST_ABOVE_AXIS
    axes: dict[str, Any] = {"xaxis": spike | {
        "anchor": "y" if above else _axis("y", n), "side": "top" if above else "bottom",
        "range": [0, 1.03 * last] if last else [-0.5, 1],
        "title": {} if above else {"text": along, "standoff": 6},
    }}  # fmt: skip
    scaled = [
        _scaled(key, checks.heights(lines), view, first if not turn else _PANEL)
        for turn, (key, lines) in enumerate(shown)
    ]
    heads = [_short(key) + LOG * (numbers.get("type") == "log")
             for (key, _), (numbers, _) in zip(shown, scaled, strict=True)]  # fmt: skip
    notes, lifted = [], LIFTED if above and not _fits(heads[0], along) else 0
    for turn, (numbers, far) in enumerate(scaled, 1):
        tall = first if turn == 1 else _PANEL
        top = 1 if turn == 1 else 1 - (first - _PANEL + (turn - 1) * (_PANEL + _GAP)) / inner
        own, at = _axis("y", turn), {"domain": [max(0.0, top - tall / inner), top]}
        axes[_axis("yaxis", turn)] = numbers | at | {"anchor": "x", "nticks": 5}
        head = _written(plain_html(heads[turn - 1]), own, legend.ground.text, above and turn == 1)
        notes += [head] if turn > 1 or not above else [head, _along(along, head, lifted, legend)]
        if far:
            notes.append(_beyond({legend.names[run]: v for run, v in far.items()}, head, legend))
    return dressed(
        [line for _, lines in shown for line in lines], legend.ground, inner + _AROUND + lifted,
        **axes,
        annotations=notes, showlegend=False, hovermode="x unified", hoversubplots="axis",
        uirevision=view.along, margin={"t": 48 + lifted if above else 26},
        hoverlabel={"namelength": -1, "bgcolor": legend.ground.paper},
    )  # fmt: skip


def _scaled(
    key: str, heights: ranges.Heights, view: View, tall: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The axis of a panel of so many pixels, and the lines that lie above it."""
    far = ranges.beyond(key, heights, view.scale)
    held = {run: values for run, values in heights.items() if run not in far}
    room = min(len(far), MOST_BEYOND + 1) * LINE / tall
    return ranges.axis(key, held, view.scale, room), {run: heights[run] for run in far}


def _written(text: str, panel: str, color: str, over_axis: bool) -> dict[str, Any]:
    """The name of a panel, above it."""
    return {
        "text": text, "showarrow": False, "x": 0, "xref": "x domain", "xanchor": "left",
        "y": 1, "yref": f"{panel} domain", "yanchor": "bottom",
        "yshift": OVER_AXIS if over_axis else 3, "font": {"size": 13, "color": color},
    }  # fmt: skip


def _fits(name: str, along: str) -> bool:
    """Whether the names of a panel and of the axis have room on one line."""
    return 5.9 * len(name) + 5.4 * len(along) + 8 <= NARROW


def _along(text: str, head: Mapping[str, Any], lifted: int, legend: Legend) -> dict[str, Any]:
    """What the axis above the first panel is, at the other end of the line of the panel's name, or
    above that line.
    """
    return {**head, "text": text, "x": 1, "xanchor": "right", "name": ALONG_NOTE,
            "yshift": head["yshift"] + lifted,
            "font": {"size": 12, "color": legend.ground.muted}}  # fmt: skip


def _beyond(
    heights: Mapping[str, np.ndarray], head: Mapping[str, Any], legend: Legend
) -> dict[str, Any]:
    """Which lines lie above a panel, and where, in its corner."""
    said = [
        f"\u2191 {plain_html(name)}: {_signed(values.min())} to {_signed(values.max())}"
        for name, values in list(heights.items())[:MOST_BEYOND]
    ]
    said += [f"and {len(heights) - MOST_BEYOND} more"] * (len(heights) > MOST_BEYOND)
    return {**head, "text": "<br>".join(said), "x": 1, "xanchor": "right", "align": "right",
            "yanchor": "top", "yshift": -3, "name": BEYOND_NOTE, "borderpad": 2,
            "bgcolor": see_through(legend.ground.paper, 0.8),
            "font": {"size": 12, "color": legend.ground.text}}  # fmt: skip


def _signed(value: float) -> str:
    return f"{float(f'{value:.3g}'):g}".replace("-", "\u2212")


def leaves_out(figure: go.Figure | None) -> bool:
    """Whether a figure of :func:`stack` names lines that lie beyond its axes."""
    return figure is not None and any(n.name == BEYOND_NOTE for n in figure.layout.annotations)


def _short(key: str) -> str:
    return textwrap.shorten(title(key).split(":")[0], 50, placeholder=" …")
