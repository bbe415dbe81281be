"""What a run logged while it trained, as figures: panels below each other on one axis."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Look
from grace_geom.plots.panels import log_ticks
from grace_geom.plots.style import dressed, plain_html, see_through
from grace_geom.records import number

TITLES = {
    "loss": "Total loss",
    "loss_task": "Task loss: cross-entropy on clean images",
    "loss_lar": "LAR-AWP loss: on attacked images at perturbed weights",
    "loss_gv": "Gram-volume loss",
    "loss_adv": "Adversarial loss: cross-entropy on attacked images",
    "loss_soft": "Cross-entropy of attacked images with the pretrained answer",
    "loss_dirichlet": "Divergence from the pretrained Dirichlet distributions",
    "loss_contrastive": "Contrastive loss of images and captions",
    "loss_feat": "Distance of attacked features",
    "loss_logit": "Divergence of attacked answers",
    "loss_kl": "Divergence of attacked from clean answers",
    "loss_clean": "Divergence of clean from attacked answers",
    "loss_original": "Divergence of pretrained from attacked answers",
    "loss_cos": "Cosine of clean and attacked features, negative",
    "loss_fare": "Squared distance of attacked from pretrained features",
    "loss_attention_adv": "Attention loss under attack",
    "loss_attention_clean": "Attention loss on clean images",
    "loss_drift": "Squared distance of the weights from pretrained ones",
    "gram_volume": "Gram volume",
    "train_acc": "Training accuracy",
    "train_acc_adv": "Training accuracy under attack",
    "train_acc_awp": "Training accuracy, attacked, at perturbed weights",
    "val_acc": "Held-out accuracy",
    "val_acc_pgd": "Held-out accuracy under PGD",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "images_per_s": "Images a second",
    "cos_id_adv": "Cosine of clean and attacked features",
    "cos_id_awp": "Cosine of clean and perturbed-weight features",
    "cos_adv_awp": "Cosine of attacked and perturbed-weight features",
    "cos_id_base": "Cosine of clean and pretrained features",
    "cos_adv_base": "Cosine of attacked and pretrained features",
    "cos_base_awp": "Cosine of pretrained and perturbed-weight features",
}
MEANINGS = {
    "loss": "what the optimiser minimises, the sum of the terms below",
    "loss_task": "cross-entropy on clean images: accuracy where the run trains",
    "loss_lar": "cross-entropy on attacked images at weights that were moved to where it is "
    "highest, times its factor: it presses on sharpness",
    "loss_gv": "volume spanned by the clean, the attacked and the perturbed-weight feature of an "
    "image, times its factor: 0 where all three agree",
    "loss_adv": "cross-entropy on attacked images",
    "gram_volume": "the same volume without the factor, between 0 (features agree) and 1 "
    "(orthogonal)",
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
    "Loss": r"loss$|loss_", "Accuracy": r"(train|val)_acc", "Feature geometry": r"cos_|gram_",
    "Optimiser and speed": r"lr$|grad_norm|images_per_s",
}  # fmt: skip

ALONG = {"step": "Step", "epoch": "Epoch", "images_seen": "Images seen", "seconds": "Time",
         "share": "Share of the log"}  # fmt: skip
"""What numbers can be drawn against, by its name in the log; ``share``: of its last step."""
_UNITS = ((3 * 3600.0, 3600.0, "h"), (180.0, 60.0, "min"), (0.0, 1.0, "s"))
_PANEL, _GAP, _AROUND = 180, 40, 74
"""Pixels of a panel, between two, and around all."""
MOST_MARKED, MOST_ABOVE_AXIS = 5, 2
"""Lines whose points are marked: more hide each other. Panels above their axis: it heads more."""
BAND = 0.15
"""Strength of the colour of a band."""
FEW = 20
"""Numbers that are shown as they are: an average of so few would hide when they were measured."""
Rows = Sequence[Mapping[str, Any]]
Points = Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]
"""Logged number -> run -> places and values, ``(n,)`` each."""
Bands = Points
"""The same with the lowest and the highest value at each place."""

SCALES = {"auto": "Automatic", "linear": "Linear", "log": "Logarithmic"}
"""Of axes, and what they are called."""
WIDE = 30.0
"""How many times the smallest number the largest is where an axis turns logarithmic by itself."""
LEAST, LEAST_ACCURACY, LEAST_COSINE = 0.2, 0.1, 0.05
"""What an axis spans at least: a share of the largest number, of 1, and of a cosine. Else the noise
of a level line looks like a trend.
"""


@dataclass(frozen=True)
class View:
    """How logged numbers are shown.

    Attributes:
        along: A key of :data:`ALONG`.
        smoothing: Weight of the past in the moving average, in [0, 1); 0: none.
        scale: A key of :data:`SCALES`: ``log`` for all positive numbers without a bound, ``auto``
            for losses and norms that span more than a factor of :data:`WIDE`.
    """

    along: str = "step"
    smoothing: float = 0.0
    scale: str = "auto"


def groups(records: Mapping[str, Rows]) -> dict[str, list[str]]:
    """The logged numbers by heading, in a fixed order; what is no series of its own (n, seconds) is
    left out.
    """
    keys = dict.fromkeys(key for rows in records.values() for row in rows for key in row)
    found = {}
    for title, pattern in GROUPS.items():
        known = [key for key in TITLES if key in keys and re.match(pattern, key)]
        other = [key for key in keys if key not in TITLES and re.match(pattern, key)]
        if known or other:
            found[title] = known + other
    return found


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
            lines += _lines(at / unit[0], values, key, who, view, most, ends.get(run))
        if lines:
            lines.sort(key=lambda line: line["hoverinfo"] != "skip")  # bands lie below all lines
            on = {"xaxis": "x", "yaxis": _axis("y", len(shown) + 1)}
            shown.append((key, [_unmarked(line, runs) | on for line in lines]))
    return _drawn(legend, shown, view, unit[1]) if shown else None


def _unmarked(line: dict[str, Any], lines: int) -> dict[str, Any]:
    """One of many lines without markers, unless it is a single point."""
    return line | {"mode": "lines"} if lines > MOST_MARKED and len(line["x"]) > 1 else line


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
        return 0.01, "Share of each log (%)"
    if view.along != "seconds":
        return 1.0, ALONG[view.along]
    known = [number(row.get("seconds")) or 0.0 for rows in records.values() for row in rows]
    longest = max(known, default=0.0)
    _, seconds, name = next(unit for unit in _UNITS if longest >= unit[0])
    return seconds, f"Time of training ({name})"


def _drawn(
    legend: Legend, shown: Sequence[tuple[str, list[dict[str, Any]]]], view: View, along: str
) -> go.Figure:
    """Places of the panels, their names, and one pointer for all."""
    n = len(shown)
    inner = n * _PANEL + (n - 1) * _GAP
    last = max(float(np.max(line["x"])) for _, lines in shown for line in lines)
    spike = {"showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "solid",
             "spikecolor": legend.ground.muted, "spikesnap": "cursor"}  # fmt: skip
    above = n > MOST_ABOVE_AXIS
    axes: dict[str, Any] = {"xaxis": spike | {
        "anchor": "y" if above else _axis("y", n), "side": "top" if above else "bottom",
        "range": [0, 1.03 * last] if last else [-0.5, 1], "title": {"text": along, "standoff": 6},
    }}  # fmt: skip
    names = []
    for turn, (key, lines) in enumerate(shown, 1):
        top = 1 - (turn - 1) * (_PANEL + _GAP) / inner
        values = np.concatenate([line["y"] for line in lines])
        axes[_axis("yaxis", turn)] = _numbers(key, values, view) | {
            "domain": [max(0.0, top - _PANEL / inner), top], "anchor": "x", "nticks": 5,
        }  # fmt: skip
        names.append({
            "text": plain_html(_short(key)), "showarrow": False,
            "x": 0, "xref": "x domain", "xanchor": "left",
            "y": 1, "yref": f"{_axis('y', turn)} domain", "yanchor": "bottom",
            "yshift": 42 if above and turn == 1 else 3,  # over the axis and its title
            "font": {"size": 13, "color": legend.ground.text},
        })  # fmt: skip
    return dressed(
        [line for _, lines in shown for line in lines], legend.ground, inner + _AROUND, **axes,
        annotations=names, showlegend=False, hovermode="x unified", hoversubplots="axis",
        uirevision=view.along, margin={"t": 64 if above else 26},
        hoverlabel={"namelength": -1, "bgcolor": legend.ground.paper},
    )  # fmt: skip


def _short(key: str) -> str:
    return textwrap.shorten(title(key).split(":")[0], 50, placeholder=" …")


def _numbers(key: str, values: np.ndarray, view: View) -> dict[str, Any]:
    """Range and numbers of an axis: it holds all values and goes no further than they can."""
    if is_log(key, values, view.scale):
        low, high = np.log10(values.min()), np.log10(values.max())
        need = max(0.0, np.log10(1 + LEAST) - (high - low)) / 2
        room = 0.06 * (high - low + 2 * need) + need
        low, high = float(low - room), float(high + room)
        return {"type": "log", "range": [low, high]} | log_ticks(low, high)
    numbers = {"tickformat": ".0%"} if "acc" in key else {"exponentformat": "power"}
    return {"range": _room(values, key)} | numbers


def is_log(key: str, values: np.ndarray, scale: str) -> bool:
    """Whether the axis of some numbers is logarithmic."""
    if scale == "linear" or _bounded(key) or not (values > 0).all():
        return False
    spans = key.startswith(("loss", "gram_", "grad_norm")) and values.max() > WIDE * values.min()
    return scale == "log" or bool(spans)


def _bounded(key: str) -> bool:
    return "acc" in key or key.startswith("cos_")


def _room(values: np.ndarray, key: str) -> list[float]:
    low, high = float(values.min()), float(values.max())
    least, most = _bounds(key, low)
    need = max(0.0, _least(key, values) - (high - low)) / 2
    over = max(0.0, high + need - most)  # a window at a bound goes on at the other end
    under = max(0.0, least - (low - need))
    room = 0.08 * (high - low + 2 * need)
    margin = 0.01 * (high - low + 2 * need)  # a line at its bound is not cut in half
    return [
        max(low - need - over - room, min(least, low) - margin),
        min(high + need + under + room, max(most, high) + margin),
    ]


def _bounds(key: str, low: float) -> tuple[float, float]:
    """What a number cannot leave; one that was below 0 and is neither accuracy nor cosine has no
    bounds.
    """
    if key.startswith("cos_"):
        return -1.0, 1.0
    if _bounded(key):
        return 0.0, 1.0
    return 0.0 if low >= 0 else -np.inf, np.inf


def _least(key: str, values: np.ndarray) -> float:
    """What an axis spans at least."""
    if "acc" in key:
        return LEAST_ACCURACY
    if key.startswith("cos_"):
        return LEAST_COSINE
    return LEAST * float(np.abs(values).max()) or 1.0
