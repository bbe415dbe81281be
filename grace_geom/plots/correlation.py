"""What the geometry says of the accuracies: one measured number against one accuracy, and where the
best run stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.accuracies import AXES
from grace_geom.plots.legend import Legend
from grace_geom.plots.placing import add_leaders, label_at, place_labels
from grace_geom.plots.style import dressed, faint, plain_html
from grace_geom.plots.texts import begun
from grace_geom.records import Estimate, Finding, rank_correlation, rank_range


@dataclass(frozen=True)
class Link:
    """Which number of the geometry stands beside which accuracy.

    Attributes:
        analysis: Where the number comes from.
        key: Its name; ``*`` at the end: the mean over the OOD sets.
        column: Of the summary.
        title: The question.
        number: What the number is called, for axes and sentences.
        meaning: What it is, in words.
    """

    analysis: str
    key: str
    column: str
    title: str
    number: str
    meaning: str


LINKS = (
    Link(
        "feature_stability",
        "centroid_cosine/adv",
        "Adv",
        "Do attacked images stay with their class?",
        "class-centroid cosine ID→Adv",
        "Cosine of a class's mean feature on clean and attacked images; 1: unmoved.",
    ),
    Link(
        "feature_stability",
        "centroid_cosine/*",
        "OOD",
        "Do shifted images stay with their class?",
        "class-centroid cosine ID→OOD",
        "The same for images under shift, mean over the OOD sets.",
    ),
    Link(
        "parameter_drift",
        "drift",
        "ZS",
        "What did moving the weights cost?",
        "relative weight drift",
        "‖θ−θ₀‖ / ‖θ₀‖: how far fine-tuning moved the weights.",
    ),
    Link(
        "hessian_spectrum",
        "lambda_1",
        "Adv",
        "Is it flat?",
        "largest Hessian eigenvalue λ₁",
        "Curvature of the loss in its sharpest direction.",
    ),
)


def numbers(
    link: Link,
    y: Mapping[str, Estimate],
    found: Mapping[str, Finding],
    members: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """The geometry's number for each run that has it on record.

    Args:
        link: The question.
        y: The accuracy of each run; those without one are left out.
        found: The analysis, by run.
        members: Of a mean over seeds, its runs.

    Returns:
        Of a mean over seeds, the mean of its runs.
    """
    known = {}
    for run in y:
        each = [_number(link, found.get(one)) for one in members.get(run) or (run,)]
        there = [x for x in each if x is not None and np.isfinite(x)]
        if there:
            known[run] = float(np.mean(there))
    return known


def _number(link: Link, f: Finding | None) -> float | None:
    if f is None:
        return None
    group, _, last = link.key.partition("/")
    keys = (
        [f"{group}/{name}" for name in f.names(group) if name != "adv"]
        if last == "*"
        else [link.key]
    )
    values = [m.value for key in keys if (m := f.value(key)) is not None]
    return float(np.mean(values)) if values else None


def together(x: Sequence[float], y: Sequence[Estimate]) -> str:
    """``r_s = −1.00, p = 0.083 of 4 runs (...)`` with what its range means; empty where there is no
    rank correlation.
    """
    found, ends = rank_correlation(x, [e.value for e in y]), rank_range(x, y)
    if found is None or ends is None:
        return ""
    n = len(x)
    said = f"r_s = {found.rho:+.2f}, p = {found.p:.2g} of {n} runs"
    if found.least > 0.05:
        said += f" ({n} runs in one order have p = {found.least:.2g}: too few for a test)"
    said += f"; {ends[0]:+.2f} to {ends[1]:+.2f} if each accuracy moves within its own interval, "
    return (said + "which says nothing of other runs").replace("-", "\u2212")


def sentence(
    link: Link,
    y: Mapping[str, Estimate],
    x: Mapping[str, float],
    names: Mapping[str, str],
    base: str,
) -> str:
    """Where the run with the best accuracy stands among the geometry's numbers, as Markdown of
    escaped names.
    """
    there = [run for run in y if run in x]
    best = max(there, key=lambda run: y[run].value)
    below = sum(x[run] < x[best] for run in there)
    place = _place(below, len(there))
    text = f"**{names[best]}**, best at {100 * y[best].value:.1f} % {link.column}, has the {place} "
    text += f"{link.number} of {len(there)}: {x[best]:.3g}"
    if base in x and base != best:
        text += f" (baseline {x[base]:.3g})"
    return text + "."


def _place(below: int, n: int) -> str:
    if below == n - 1:
        return "highest"
    if below == 0:
        return "lowest"
    above = n - below
    if above == 2:
        return "second highest"
    return "second lowest" if below == 1 else f"{above}{'rd' if above == 3 else 'th'} highest"


def relation(
    link: Link,
    y: Mapping[str, Estimate],
    x: Mapping[str, float],
    legend: Legend,
    numbers: Mapping[str, str] | None = None,
) -> go.Figure:
    """The geometry's number against the accuracy with its interval, a named point for each run;
    ``numbers`` stand at the points in the place of names.
    """
    points: dict[str, tuple[Estimate, Estimate]] = {}
    for run, accuracy in y.items():
        if run in x:
            at = x[run] / 100  # place_labels thinks in shares of 1
            points[run] = Estimate(at, 0.0, at, at), accuracy
    spans = [
        _span([p[i] for p in points.values()], share, i == 1) for i, share in ((0, 0.3), (1, 0.12))
    ]
    words = {run: (numbers or legend.names)[run] for run in points}
    places = place_labels(points, words, spans, (230, 200))
    traces: list[dict[str, Any]] = []
    for run, (there, share) in points.items():
        style, text = legend.looks[run], plain_html(legend.names[run])
        traces.append({
            "type": "scatter", "x": [100 * there.value], "y": [100 * share.value], "name": text,
            "mode": "markers+text", **label_at(places[run], plain_html(words[run])),
            "textfont": {"color": legend.ground.text, "size": 12}, "cliponaxis": False,
            "marker": {"color": style.color, "symbol": style.marker, "size": 10},
            "showlegend": False,
            "error_y": {
                "type": "data", "symmetric": False, "color": faint(style.color),
                "array": [100 * (share.high - share.value)],
                "arrayminus": [100 * (share.value - share.low)], "thickness": 1.2, "width": 0,
            },
            "hovertemplate": f"<b>{text}</b><br>{begun(link.number)} %{{x:.4g}}<br>{link.column} "
            "%{y:.1f} %<extra></extra>",
        })  # fmt: skip
    middles = {run: (100 * a.value, 100 * b.value) for run, (a, b) in points.items()}
    figure = dressed(
        traces, legend.ground, 280, xaxis={"title": begun(link.number), "range": spans[0], "nticks": 6},
        yaxis={"title": AXES[link.column], "range": spans[1]},
    )  # fmt: skip
    add_leaders(figure, places, middles, words, legend.ground)
    return figure


def _span(estimates: Sequence[Estimate], share: float, percent: bool) -> list[float]:
    low, high = min(e.low for e in estimates), max(e.high for e in estimates)
    room = share * (high - low) or 0.05 * abs(high) or 0.01
    ends = [100 * (low - room), 100 * (high + room)]
    return [max(ends[0], -4.0), min(ends[1], 104.0)] if percent else ends
