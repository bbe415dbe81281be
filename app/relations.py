"""What the page of any number asks and says: usual questions, the answer in words, the caption."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from app.shell import inline, text
from grace_geom.plots import numbers as plots
from grace_geom.plots.numbers import Axis, Scale
from grace_geom.plots.texts import begun
from grace_geom.records.fit import Fit, Together
from grace_geom.records.numbers import Quantity

MINUS = "\u2212"
IN_WORDS = {
    "ID": "accuracy in distribution", "OOD": "mean accuracy under shift",
    "Adv": "accuracy under attack", "ZS": "zero-shot accuracy",
    "NatAdv": "accuracy on natural adversarial images",
}  # fmt: skip
"""Columns of the summary whose names are short, in the words of a sentence."""
LINES = {"all": "all runs", "clean": "runs trained without attack", "none": "no line"}


@dataclass(frozen=True)
class Preset:
    """A question that one often asks.

    Attributes:
        title: Of the button.
        x, y: Patterns of keys; the first that two runs have counts.
        scales: Of the axes.
        line: What the line goes through.
        help: What one learns from it.
        analysis: What measures ``x`` where nobody has.
    """

    title: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    scales: tuple[Scale, Scale]
    line: str
    help: str
    analysis: str = ""


PRESETS = {
    "effective": Preset(
        "Effective robustness", ("ID",), ("OOD",), ("probit", "probit"), "clean",
        "OOD against ID on probit axes: what lies above the line through the models that are "
        "trained without attack is robust beyond its ID accuracy.",
    ),
    "drift": Preset(
        "Drift and zero-shot", ("parameter_drift/drift",), ("ZS",), ("linear", "linear"), "all",
        "How far the weights moved, and what is left of zero-shot transfer. The paper reports a "
        "correlation of \u22120.82 between the two.", "parameter_drift",
    ),
    "sharpness": Preset(
        "Sharpness and Adv", (r"sharpness/adv-ce/ball/.+", r"sharpness/ce/ball/.+", "hessian_spectrum/lambda_1"),
        ("Adv",), ("log", "linear"), "all",
        "Whether flatter minima are the more robust ones.", "sharpness",
    ),
    "gram": Preset(
        "Gram drift and OOD",
        (r"representation_drift/gram_chord_centred/(?!id/|adv/)[^/]+/.+", r"representation_drift/gram_.+"),
        ("OOD",), ("linear", "linear"), "all",
        "Whether features that keep their geometry keep accuracy under shift.",
        "representation_drift",
    ),
    "cost": Preset(
        "Cost and HM", ("cost/passes", "cost/step"), ("HM",), ("log", "linear"), "none",
        "What a training step costs, and what it buys.",
    ),
}  # fmt: skip


def sentence(picked: tuple[Quantity, Quantity], n: int, found: Together | None) -> str:
    """Whether one goes with the other, how surely, and over how many runs."""
    x, y = map(_called, picked)
    if picked[0] == picked[1]:
        return f"{y} stands on both axes: choose another number for one of them."
    if found is None:
        return (
            f"Whether {y} goes with {x} cannot be said of {n} run{'' if n == 1 else 's'}: four that "
            "have both numbers, and differ in them, are needed."
        )
    verb = f"{'rises' if found.r > 0 else 'falls'} with {x}, clearly"
    if not found.clear:
        verb = f"does not clearly go with {x}"
    few = ", too few runs for a rank test" if found.least > 0.05 else ""
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.2g}"
    said = (
        f"r = {found.r:+.2f} [{found.low:+.2f}, {found.high:+.2f}], Spearman {found.rank:+.2f} "
        f"[{found.rank_low:+.2f}, {found.rank_high:+.2f}], {p}{few}"
    ).replace("-", MINUS)
    return f"Over {found.n} runs {y} {verb}: {text(said)}."


def _called(quantity: Quantity) -> str:
    """What a number is called in a sentence, a short name after its words."""
    name = f"**{text(quantity.title)}**"
    words = IN_WORDS.get(quantity.key)
    return f"{words} ({name})" if words else name


def axis_title(quantity: Quantity) -> str:
    """What stands along an axis: ``Zero-shot accuracy, ZS (%)``."""
    words = IN_WORDS.get(quantity.key)
    return begun(f"{words}, {quantity.label}" if words else quantity.label)


def above(
    line: Fit, points: plots.Points, clean: Collection[str], axes: tuple[Axis, Axis]
) -> tuple[str, float, float, float] | None:
    """The run that lies highest above the line among those that it does not go through: its id, how
    far, and the 95 % interval, in the unit of the axis.

    The interval joins the band of the line with that of the number, taken as independent (Newcombe
    1998), as for effective robustness.
    """
    found = []
    for run, (a, b) in points.items():
        at = axes[0].place(a.value)
        if run in clean or at is None or axes[1].place(b.value) is None:
            continue
        middle, low, high = (axes[1].back(place) for place in line.at(at))
        gap = b.value - middle
        below = math.hypot(b.value - (b.value if b.low is None else b.low), high - middle)
        over = math.hypot((b.value if b.high is None else b.high) - b.value, middle - low)
        found.append((run, gap, gap - below, gap + over))
    return max(found, key=lambda one: one[1]) if found else None


def beyond(
    highest: tuple[str, float, float, float], n: int, share: bool, names: Mapping[str, str]
) -> str:
    """:func:`above` as a sentence."""
    run, *ends = highest
    size, low, high = (100 * x if share else x for x in ends)
    digits = ".1f" if share else ".3g"
    told = f"{size:+{digits}}{' points' if share else ''} [{low:{digits}}, {high:{digits}}]"
    clear = "clearly" if low > 0 or high < 0 else "not clearly"
    side = "above" if size >= 0 else "below"
    return (
        f" Of the others **{names[run]}** lies highest, {clear} {side} the line through the {n} "
        f"runs trained without attack: {text(told.replace('-', MINUS))}."
    )


def caption(
    points: plots.Points, picked: tuple[Quantity, Quantity], line: Fit | None, through: str
) -> str:
    """Where both numbers are from, what bars and the line are."""
    parts, means = [], set()
    for i, quantity in enumerate(picked):
        split = [pair[i].source.partition("; mean over ") for pair in points.values()]
        sources = list(dict.fromkeys(source for source, _, _ in split))
        means |= {many.partition(" ")[0] for _, _, many in split if many}
        told = "; ".join(sources[:2]) + (f"; {len(sources) - 2} more" if len(sources) > 2 else "")
        parts.append(f"{begun(inline(quantity.title))}: {inline(told)}.")
    if means:
        parts.append(f"Means over {' or '.join(sorted(means))} seeds where there are several.")
    parts.append("Bars: 95 % intervals where a number has one.")
    if line is not None:
        who = f"the {line.n} hollow runs" if through == "clean" else f"all {line.n} runs"
        parts.append(
            f"Line: least squares on these axes through {who}, with the 95 % band of its mean "
            "(Student's t)."
        )
    return " ".join(parts)
