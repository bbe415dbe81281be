"""What the trace of the Hessian says beside its largest eigenvalue λ₁, in words."""

import math
from collections.abc import Callable, Mapping, Sequence

from grace_geom.plots.panels import Point

NOTABLE = 1.2
"""A λ₁ that is so many times another's, beyond its error, is that of a sharper direction."""


def by_trace(
    tops: Mapping[str, Point], traces: Mapping[str, Point], names: Mapping[str, str]
) -> str:
    """Whether the trace has the same run flattest and the same sharpest, and which runs have a
    larger λ₁ than another at a smaller trace: what is said holds beyond the errors.

    Args:
        tops: Run -> λ₁; two runs at least.
        traces: Run -> trace; the same runs.
        names: Run -> its name.
    """
    flat, sharp = (pick(tops, key=lambda run: tops[run].value) for pick in (min, max))
    least, most = _lowest(traces, 1), _lowest(traces, -1)
    words = [_at(least, flat, "flattest", names), _at(most, sharp, "sharpest", names)]
    said = f"by the trace {_joined(*words)}"
    if least == [flat] and most == [sharp]:
        said = f"the trace agrees{' at both ends' if len(tops) > 2 else ''}"
    elif flat in least and sharp in most and len(least) > 1 and len(most) > 1:
        said = "the trace does not tell clearly"
    elif len(tops) == 2:  # the other one is the sharpest
        said = f"by the trace {names[least[0]]} is flattest"
    few = _few_directions(tops, traces, names)
    return f"; {said}{few and f'; {few}'}"


def above(high: Point, low: Point) -> bool:
    """Whether one is larger than the other by more than the error of their difference."""
    return high.value - low.value > math.hypot(*map(_half, (high, low)))


def _half(p: Point) -> float:
    return 0.0 if p.low is None or p.high is None else (p.high - p.low) / 2


def _lowest(points: Mapping[str, Point], sign: int) -> list[str]:
    """The run with the lowest number, or with the highest for a sign of -1, and those that are not
    clearly behind it, in order.
    """
    ordered = sorted(points, key=lambda run: sign * points[run].value)
    first = points[ordered[0]]

    def behind(p: Point) -> bool:
        return above(p, first) if sign > 0 else above(first, p)

    return [run for run in ordered if run == ordered[0] or not behind(points[run])]


def _at(
    known: Sequence[str], by_top: str, end: str, names: Mapping[str, str]
) -> tuple[int, str, str]:
    """An end: 0 where it is that of λ₁, 1 another, 2 not clear; whose it is; its name."""
    if by_top not in known:
        return 1, " or ".join(names[run] for run in known[:3]), end
    return (0 if len(known) == 1 else 2), names[by_top], end


def _joined(*words: tuple[int, str, str]) -> str:
    """Both ends in words, what agrees first: ``a is flattest too, but b sharpest``."""
    (kind, who, end), (other, whose, last) = sorted(words, key=lambda word: word[0])
    said = f"{who} is {end}{'' if kind else ' too'}"
    if other == 2:
        return f"{said}, the {last} is not clear"
    return f"{said} and {whose} {last}" if kind else f"{said}, but {whose} {last}"


def _few_directions(
    tops: Mapping[str, Point], traces: Mapping[str, Point], names: Mapping[str, str]
) -> str:
    """The runs whose λ₁ is most above another run's while their trace is below it; empty where no
    two runs differ so.
    """
    pairs = {}
    for base in traces:
        for run in traces:
            if above(traces[base], traces[run]) and above(tops[run], tops[base]):
                ends = traces[run].value, tops[base].value
                sharper = tops[run].value / tops[base].value if min(ends) > 0 else 0.0
                if sharper >= NOTABLE:
                    flatter = traces[run].value / traces[base].value
                    pairs[base, run] = sharper, flatter, math.log(sharper / flatter)
    if not pairs:
        return ""
    (base, _), (*_, strongest) = max(pairs.items(), key=lambda pair: pair[1][2])
    alike = {run: p for (b, run), p in pairs.items() if b == base and p[2] >= strongest / 2}
    runs = sorted(alike, key=lambda run: -alike[run][2])[:3]

    def each(text: Callable[[str], str]) -> str:
        *others, last = map(text, runs)
        return f"{', '.join(others)} and {last}" if others else last

    return (
        f"{each(lambda r: names[r])} {'have' if len(runs) > 1 else 'has'} "
        f"{each(lambda r: f'{alike[r][0]:.1f}')} times the λ₁ of {names[base]} at "
        f"{each(lambda r: f'{alike[r][1]:.2f}')} of its trace: few sharp directions, flatter elsewhere"
    )
