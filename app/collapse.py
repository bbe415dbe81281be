"""Whether features collapse or deform against the pretrained model, in one sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.shell import Choice, text
from grace_geom.plots import clouds, layers
from grace_geom.plots.palette import is_reference
from grace_geom.plots.panels import Point, point
from grace_geom.records import Finding

MEASURES = (
    ("features/id/effective_rank_centred/embedding", "effective rank of the ID embedding"),
    ("lid/id", "intrinsic dimension (LID) of the ID embedding"),
)
"""What tells a collapse: the first that the reference and another run have."""
MOVED = "centroid_cosine/adv"
MOST_NAMED = 3
"""Runs beside the reference that the sentence names one by one; of more, and where it would be
longer than :data:`MOST_LETTERS`, it gives counts, and the figure below shows each.
"""
MOST_LETTERS = 235
"""Letters of two lines of a page that is 1440 pixels wide."""
TURNS = {
    "fewer": ("collapses", "collapse"), "more": ("spreads out", "spread out"),
    "unclear": ("does neither clearly", "do neither clearly"),
}  # fmt: skip
"""What became of the directions that features use, of one run and of several."""


@dataclass(frozen=True)
class Told:
    """One number of several runs.

    Attributes:
        name: What it is called.
        of: Run -> number.
        reference: The run that the others are held against.
        key: Of the number in its analysis.
        found: Where it was found.
    """

    name: str
    of: dict[str, Point]
    reference: str
    key: str = ""
    found: tuple[Finding, ...] = ()


def sentence(choice: Choice, stability: Sequence[Finding], number: Told | None) -> str:
    """The answer of the page of feature geometry.

    Args:
        choice: Of this session.
        stability: Of ``feature_stability``.
        number: Of :func:`told`.
    """
    moved = _moved(choice, stability)
    for most in (MOST_NAMED, 0):
        said = _joined(_collapsed(choice, number, most) if number else "", moved)
        if len(said.replace("**", "").replace("\\", "")) <= MOST_LETTERS:
            break
    return said or (
        "Not measured yet: `feature_stability` and `anisotropy --parts features` on two runs or "
        "more tell, one of them the pretrained model (`--method zero-shot`)."
    )


def _joined(turned: str, moved: str) -> str:
    """Both as one sentence."""
    if turned and moved:
        return f"{turned.removesuffix('.')}; {moved[0].lower()}{moved[1:]}"
    return turned or moved


def told(choice: Choice, stability: Sequence[Finding], spread: Sequence[Finding]) -> Told | None:
    """The measure of a collapse that the reference and another run have.

    Args:
        choice: Of this session.
        stability: Of ``feature_stability``.
        spread: Of ``anisotropy``.
    """
    methods = {e.id: e.method for e in choice.single}
    pretrained = next((run for run, method in methods.items() if is_reference(method)), None)
    reference = pretrained or (choice.base_run.id if choice.base_run else "")
    for (key, name), found in zip(MEASURES, (spread, stability), strict=True):
        of = {f.run: p for f in found if (p := point(f.value(key))) is not None}
        if reference in of and len(of) > 1:
            return Told(name, of, reference, key, tuple(f for f in found if f.run in of))
    return None


def _collapsed(choice: Choice, told: Told, most: int = MOST_NAMED) -> str:
    """Which runs use clearly fewer directions than the reference, which more, which neither; how
    many, where they are more than ``most``.
    """
    before = told.of[told.reference]
    groups: dict[str, list[str]] = {turn: [] for turn in TURNS}
    others = [run for run in told.of if run != told.reference]
    for run in others:
        groups[_turn(told.of[run], before)].append(_named(choice, told, run))
    many = len(others) > most
    said = (", " if many else "; ").join(
        f"{len(who) if many else ', '.join(who)} {TURNS[turn][len(who) > 1]}"
        for turn, who in groups.items()
        if who
    )
    alike = [turn for turn, who in groups.items() if len(who) == len(others)]
    if many and alike and len(others) > 1:
        said = f"{'both' if len(others) == 2 else f'all {len(others)}'} other runs {TURNS[alike[0]][1]}"
    elif many:
        said = f"of {len(others)} other run{'s' * (len(others) > 1)} {said}"
    is_base = is_reference({e.id: e.method for e in choice.single}.get(told.reference, ""))
    word = "the pretrained model" if is_base else "the baseline"
    return f"By the {told.name}, against {word} {_named(choice, told, told.reference)}: {said}."


def _named(choice: Choice, told: Told, run: str) -> str:
    """A run with its number."""
    return f"**{text(choice.names[run])}** ({_shown(told.of[run])})"


def _turn(p: Point, before: Point) -> str:
    """What became of a number, where the intervals are apart."""
    ends = [v if end is None else end for x in (p, before) for v, end in
            ((x.value, x.low), (x.value, x.high))]  # fmt: skip
    low, high, low_before, high_before = ends
    if high < low_before:
        return "fewer"
    return "more" if low > high_before else "unclear"


def _shown(p: Point) -> str:
    """``8.10 [7.60, 8.42]``: the ends with as many digits after the point as the value."""
    digits = 2 - math.floor(math.log10(abs(p.value))) if p.value else 2
    digits = min(max(digits, 0), 6)
    value, *ends = (f"{v:.{digits}f}" for v in (p.value, p.low, p.high) if v is not None)
    return f"{value} [{', '.join(ends)}]" if len(ends) == 2 else value


def _moved(choice: Choice, found: Sequence[Finding]) -> str:
    """Whose features the attack deforms least, and most."""
    of = {f.run: p for f in found if (p := point(f.value(MOVED))) is not None}
    if not of:
        return ""
    digits = clouds.same_digits(of.values())
    ordered = sorted(of, key=lambda run: -of[run].value)
    names = [f"**{text(choice.names[run])}**" for run in ordered]
    said = [clouds.in_digits(of[run], digits) for run in ordered]
    head = "Under attack, class centroids keep a cosine to the clean ones of"
    if len(ordered) == 1:
        return f"{head} {said[0]}."
    clear = _turn(of[ordered[-1]], of[ordered[0]]) == "fewer"
    hedge = "" if clear else ", not clearly apart"
    return (
        f"Under attack class centroids move least in {names[0]} (cosine {said[0]}), "
        f"most in {names[-1]} ({said[-1]}){hedge}."
    )


def moves(found: Sequence[Finding], sets: Sequence[str]) -> str:
    """How far class centroids of all runs move on one distribution, and on which they move most: a
    sentence; empty where nothing was measured.

    Args:
        found: Of ``feature_stability``.
        sets: Distributions beside ID; the sentence begins with the last one, which are the attacked
            images where there are any.
    """
    of = {
        s: known for s in sets
        if (known := {f.run: p for f in found if (p := point(f.value(f"centroid_cosine/{s}")))})
    }  # fmt: skip
    if not of:
        return ""
    last, where = [*of][-1], {s: text(layers.where(s)) for s in of}
    begin = where[last][:1].upper() + where[last][1:]
    said = f"{begin} class centroids keep a cosine to ID of {_range(of[last])}"
    runs = [f.run for f in found if all(f.run in known for known in of.values())]
    if len(of) == 1 or not runs:
        return f"{said}."
    farthest = [min(of, key=lambda s: of[s][run].value) for run in runs]
    most = max(of, key=farthest.count)
    who = f" in {farthest.count(most)} of {len(runs)} runs" if len(runs) > 1 else ""
    if most == last:
        return f"{said}, and move farther than on any other distribution{who}."
    return f"{said}; {where[most]}, where they move most{who}, of {_range(of[most])}."


def _range(cosines: Mapping[str, Point]) -> str:
    """``0.47 to 0.98``; of one run the cosine with its interval."""
    digits = clouds.same_digits(cosines.values())
    ordered = sorted(cosines.values(), key=lambda p: p.value)
    if len(ordered) == 1:
        return clouds.in_digits(ordered[0], digits)
    ends = (clouds.in_digits(Point(p.value), digits) for p in (ordered[0], ordered[-1]))
    return " to ".join(ends)
