"""Logged numbers against the step."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Legend
from grace_geom.plots.style import dress, plain_html
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
}
GROUPS = {
    "Loss": r"loss$|loss_", "Accuracy": r"(train|val)_acc", "Feature geometry": r"cos_|gram_",
    "Optimiser and speed": r"lr$|grad_norm|images_per_s",
}  # fmt: skip


def groups(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[str]]:
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
    """What a logged number is called."""
    return TITLES.get(key, key)


def training(
    records: Mapping[str, Sequence[Mapping[str, Any]]], legend: Legend, key: str
) -> go.Figure | None:
    """One logged number against the step, one line a run."""
    figure = go.Figure()
    for run, rows in records.items():
        steps, values = series(rows, key)
        if not steps:
            continue
        style = legend.looks[run]
        figure.add_scatter(
            x=steps,
            y=values,
            name=plain_html(legend.names[run]),
            mode="lines" if len(steps) > 40 else "lines+markers",
            line={"color": style.color, "dash": style.dash, "width": 1.8},
            marker={"symbol": style.marker, "size": 7, "color": style.color},
            hovertemplate=f"{plain_html(key)}, step %{{x}}: %{{y:.4g}}",
        )
    if not figure.data:
        return None
    numbers = {"tickformat": ".1%"} if "acc" in key else {"exponentformat": "power"}
    yaxis = {
        "title": _short(key),
        "range": _room([y for line in figure.data for y in line.y], key),
        **numbers,
    }
    last = max(max(line.x) for line in figure.data)
    xaxis = {"title": "Step", "range": [0, 1.04 * last] if last else [-0.5, 1]}
    return dress(figure, legend.ground, 270, xaxis=xaxis, yaxis=yaxis, showlegend=False)


def _room(values: Sequence[float], key: str) -> list[float] | None:
    """A range that holds all values and goes no further than they can."""
    finite = [v for v in values if np.isfinite(v)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    least = -1.0 if key.startswith("cos_") else 0.0
    most = 1.0 if "acc" in key or key.startswith("cos_") else np.inf
    margin = 0.01 * (high - low or 1.0)  # a line at its bound is not cut in half
    return [max(low - room, min(least, low) - margin), min(high + room, max(most, high) + margin)]


def _short(key: str) -> str:
    words = title(key).split(":")[0]
    return "<br>".join(textwrap.wrap(words, 30, break_on_hyphens=False))


def series(
    rows: Iterable[Mapping[str, Any]], key: str, most: int = 2000
) -> tuple[list[float], list[float]]:
    """Steps and values of one logged number, thinned to at most ``most`` points with both ends
    kept. NaN and infinities are left out: they would cut a line into nothing.
    """
    known = [(number(row.get("step")), number(row.get(key))) for row in rows]
    pairs = [(step, value) for step, value in known if step is not None and value is not None]
    if len(pairs) > most:
        last = len(pairs) - 1
        pairs = [pairs[round(i * last / (most - 1))] for i in range(most)]
    return [step for step, _ in pairs], [value for _, value in pairs]
