"""The sentence that answers the question of an analysis, computed from its findings. Names of runs
and of weights are bold, in Markdown.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from grace_geom.plots import cuts, layers
from grace_geom.plots import drift as drifts
from grace_geom.plots import landscape as slices
from grace_geom.plots import robustness as radii
from grace_geom.plots.by_radius import NEAR, by_radius, rises_by_radius
from grace_geom.plots.by_trace import by_trace
from grace_geom.plots.columns import is_matrix
from grace_geom.plots.panels import Point, point
from grace_geom.plots.weight_names import weight_name
from grace_geom.records import Finding, plus_minus
from grace_geom.records.masked_gradients import masked

Names = Mapping[str, str]
"""Run -> its name in Markdown, in bold."""
SAME_CKA = 1 - 1e-6
"""Layers at least as alike are the same up to rounding."""
Points = Mapping[str, Point]
"""Run -> a number with its interval."""


def amount(p: Point) -> str:
    """A number to its uncertainty, which is half of its interval, where four digits show it."""
    half = _half(p)
    if half is None:
        return f"{p.value:.4g}"
    known = half >= 5e-4 * abs(p.value)
    return plus_minus(p.value, half) if known else f"{p.value:#.4g}".rstrip(".")


def percent(p: Point) -> str:
    """``43.6 % [40.1, 47.2]`` of a share of 1."""
    if p.low is None or p.high is None:
        return f"{100 * p.value:.1f} %"
    return f"{100 * p.value:.1f} % [{100 * p.low:.1f}, {100 * p.high:.1f}]"


def _half(p: Point) -> float | None:
    return None if p.low is None or p.high is None else (p.high - p.low) / 2


def apart(low: Point, high: Point) -> bool:
    """Whether the interval of one ends below the other's."""
    top = low.value if low.high is None else low.high
    return top < (high.value if high.low is None else high.low)


def ends(
    points: Points, names: Names, first: str, last: str, said: Callable[[Point], str] = amount
) -> str:
    """``flattest for **a** (3.1 ± 0.1), not clearly before **b** (3.2 ± 0.1), and sharpest for
    **c** (9 ± 1)``: the runs with the smallest and the largest number. Those of which the same is
    said share their place.

    Args:
        points: At least one.
        names: Of the runs.
        first, last: What the smallest and the largest are.
        said: A number in words.
    """
    alike: dict[str, list[str]] = {}
    for run in sorted(points, key=lambda run: points[run].value):
        alike.setdefault(said(points[run]), []).append(run)
    words = [f"{_few(runs, names)} ({number})" for number, runs in alike.items()]
    groups = list(alike.values())
    if len(groups) == 1:
        return f"{'alike ' if len(points) > 1 else ''}for {words[0]}"
    near = [run for of in groups[1:] for run in of if not apart(points[groups[0][-1]], points[run])]
    behind = not near
    doubt = "" if behind else f", not clearly before {_and_more(words[1], near, groups[1])}"
    if len(points) == 2:
        return f"{first} {words[0]}{doubt or f', before {words[1]}'}"
    if len(groups) == 2 and not behind:
        return f"{first} {words[0]}{doubt}"
    near = [
        run for of in groups[-2::-1] for run in of if not apart(points[run], points[groups[-1][0]])
    ]
    open_end = f", not clearly after {_and_more(words[-2], near, groups[-2])}" if near else ""
    return f"{first} {words[0]}{doubt and f'{doubt},'} and {last} {words[-1]}{open_end}"


def _and_more(said: str, near: Sequence[str], told: Sequence[str]) -> str:
    """``**b** (3.2 ± 0.1) and 4 more``: how many are as near as those that are told."""
    more = len([run for run in near if run not in told])
    return f"{said} and {more} more" if more else said


def _few(runs: Sequence[str], names: Names, most: int = 3) -> str:
    """``**a**, **b** and 4 more``."""
    shown = [names[run] for run in (runs if len(runs) <= most else runs[: most - 1])]
    shown += [f"{len(runs) - len(shown)} more"] if len(runs) > most else []
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def curvature(found: Sequence[Finding], names: Names) -> str:
    """Of ``hessian_spectrum``: which run is flattest and sharpest; empty where no eigenvalue was
    found.
    """
    tops = _points(found, "lambda_1")
    if not tops:
        return ""
    said = f"By λ₁ the loss is {ends(tops, names, 'flattest for', 'sharpest for')}"
    if len(tops) == 1:
        ((run, top),) = tops.items()
        said = f"The largest curvature of the loss for {names[run]} is λ₁ = {amount(top)}"
    traces = _points(found, "trace")
    if len(tops) > 1 and traces.keys() == tops.keys():
        said += by_trace(tops, traces, names)
    return f"{said}."


def most_curved(found: Sequence[Finding], names: Names) -> str:
    """Of ``hessian_spectrum``: the matrix whose mean curvature is surely the highest, by the lower
    ends of intervals; empty where none was measured.
    """
    kappas = [
        (p.value if p.low is None else p.low, name, f.run, p)
        for f in found
        for name in f.names("kappa")
        if is_matrix(name) and (p := point(f.value(f"kappa/{name}"))) is not None
    ]
    if not kappas:
        return ""
    low, name, run, p = max(kappas)
    if not low > 0:
        return "No matrix is clearly curved."
    at = f" for {names[run]}" if len(found) > 1 else ""
    others = [(q.value, other, q) for _, other, of, q in kappas if of == run and other != name]
    _, other, q = max(others, default=(0.0, "", p))
    doubt = f", not clearly more than in {weight_name(other)}" if other and not apart(q, p) else ""
    return f"A weight is most curved in **{weight_name(name)}**{at} (κ = {amount(p)}){doubt}."


def sharpness(found: Sequence[Finding], names: Names) -> str:
    """Of ``sharpness``, where there is no spectrum: whose loss rises least in SAM's ball, at which
    radii.
    """
    rises = rises_by_radius({f.run: f.array("ce/ball") for f in found})
    if not rises:
        return ""
    if len(rises) == 1:
        ((run, each),) = rises.items()
        rho = max(each)
        return (
            f"Within ‖δ‖ ≤ {rho:g} the clean loss of {names[run]} rises by {each[rho]:.3g} or more."
        )
    said = by_radius(rises, names)
    alike = f"; alike: within {100 * NEAR:.0f} %" if "alike" in said else ""
    return f"Within ‖δ‖ ≤ ρ the clean loss rises {said}. (Lower bounds{alike}.)"


def landscape(found: Sequence[Finding], names: Names) -> str:
    """Of ``loss_landscape``: whose loss rises least and most at the ends of the same random line,
    and whether a point between the pretrained weights and a checkpoint, or beyond, is better.
    """
    parts = []
    kind = next((k for k in cuts.KINDS if any(f.array(k) is not None for f in found)), "")
    if kind:
        rises, reach = _rises(found, kind)
        how = "filter norms along one random direction" if kind == "random" else (
            "along its sharpest direction")  # fmt: skip
        if rises:
            said = ends(rises, names, "least for", "most for")
            parts.append(f"{reach:g} {how} the loss rises {said}")
    if better := _better(found, names):
        parts.append(better)
    return f"{'; '.join(parts)}." if parts else ""


def _rises(found: Sequence[Finding], kind: str) -> tuple[dict[str, Point], float]:
    """Mean loss at both ends of a slice less the loss at the checkpoint, and how far they are."""
    rises, reach = {}, 0.0
    for f in found:
        a = f.array(kind)
        if a is None or not np.isfinite(a[:2]).all():
            continue
        reach = float(a[0][-1])
        known = point(f.value(f"{kind}/rise"))  # older results have no interval
        rises[f.run] = known or Point(cuts.rise(np.asarray(a, float)))
    return rises, reach


def _better(found: Sequence[Finding], names: Names) -> str:
    """Where on the line from the pretrained weights accuracy is highest, under attack if that was
    measured; of the run that gains most over its checkpoint.
    """
    kind = next(
        (k for k in ("adv", "id") if any(f.array(f"line/{k}") is not None for f in found)), ""
    )
    gains = []
    for f in found:
        if (shares := slices.shares(f, kind)) is None:
            continue
        t, points = shares
        here = points[int(np.abs(t - 1).argmin())]
        known = [i for i, p in enumerate(points) if np.isfinite(p.value)]
        if not known or not np.isfinite(here.value):
            continue
        best = max(known, key=lambda i: points[i].value)
        gains.append((points[best].value - here.value, f.run, float(t[best]), points[best], here))
    if not gains:
        return ""
    gain, run, at, there, here = max(gains, key=lambda g: g[0])
    which = "accuracy under attack" if kind == "adv" else "accuracy"
    if not gain > 0 or not apart(here, there):
        return f"on the line from the pretrained weights no point has clearly more {which} than its checkpoint"
    return (
        f"on the line from the pretrained weights {names[run]} has more {which} at t = {at:.2g} "
        f"({percent(there)}) than at the checkpoint ({percent(here)})"
    )


def representation(
    found: Sequence[Finding], names: Names, sets: Sequence[str], seeds: layers.Seeds | None = None
) -> str:
    """Of ``representation_drift``: the layer and the distribution that moved most, in which run,
    and the run that moved least, by CKA with the reference; of ``seeds`` by means over trainings.
    """
    lowest: dict[str, tuple[Point, str, str]] = {}
    for f in found:
        for s in (s for s in sets if s != layers.WITHIN):
            a = layers.of_layers(f, f"cka/{s}", seeds or {})
            if a is None or not np.isfinite(a[0]).any():
                continue
            i = int(np.nanargmin(a[0]))
            p = Point(*(float(row[i]) for row in a))
            if f.run not in lowest or p.value < lowest[f.run][0].value:
                lowest[f.run] = p, layers.layer_name(layers.layer_names(f)[i]), s
    moved = {run: one for run, one in lowest.items() if one[0].value < SAME_CKA}
    if not moved:  # the reference itself is no run that moved little
        return "No layer moved." if lowest else ""
    lowest = moved
    ordered = sorted(lowest, key=lambda run: lowest[run][0].value)
    most = ordered[0]
    p, layer, s = lowest[most]
    near = [run for run in ordered[1:] if not apart(p, lowest[run][0])]
    told = bool(near) and len(ordered) > 2  # of two, the end says it
    doubt = f", not clearly more than {_and_more(names[near[0]], near, near[:1])}" if told else ""
    said = f"{names[most]} moved most{doubt}: its **{layer}**, {layers.where(s)} (CKA {_cka(p)})"
    if len(ordered) == 1:
        return f"{said}."
    least = ordered[-1]
    p, layer, s = lowest[least]
    near = [run for run in ordered[-2::-1] if not apart(lowest[run][0], p)]
    sure = f", not clearly less than {_and_more(names[near[0]], near, near[:1])}" if near else ""
    return (
        f"{said}; {names[least]} moved least{sure}: no layer below CKA {_cka(p)} (its {layer}, "
        f"{layers.where(s)})."
    )


def _cka(p: Point) -> str:
    if p.low is None or p.high is None or not np.isfinite([p.low, p.high]).all():
        return f"{p.value:.3f}"
    return f"{p.value:.3f} [{p.low:.3f}, {p.high:.3f}]".replace("-", "\u2212")


def robustness(found: Sequence[Finding], names: Names) -> str:
    """Of ``robustness_curve``: at which radius accuracy is half of the clean one, run by run, under
    the strongest attack of the curves; and what the checks of masked gradients say.
    """
    attack = radii.strongest(found)
    halves = {f.run: h for f in found if (h := radii.half_life(f, attack)) is not None}
    furthest = max(
        (255 * float(r) for f in found for r in f.result.settings.get("radii", [])), default=0
    )
    if not halves:
        return ""
    ordered = sorted(halves, key=lambda run: -halves[run].value)
    each = [f"{names[run]} ({_radius(halves[run], furthest)})" for run in ordered]
    sure = len(ordered) < 2 or _later(halves[ordered[0]], halves[ordered[1]])
    doubt = "" if sure else f", not clearly after {names[ordered[1]]}"
    said = f"Under {radii.attack_name(attack)} accuracy is halved {_last_and_first(each, doubt)}"
    checked = [f for f in found if f.names("check")]
    if not checked:
        return f"{said}; masked gradients were not looked for."
    hidden = {f.run: why for f in checked if (why := masked(f.part.values))}
    if not hidden:
        return f"{said}; the checks find no masked gradients."
    signs = "; ".join(f"{names[run]}: {'; '.join(words)}" for run, words in hidden.items())
    return f"{said}; **gradients look masked**: {signs}."


def without_gap(found: Sequence[Finding], base: str, names: Names) -> str:
    """Why no gap to the baseline ``base`` is drawn; empty where it was measured or is none."""
    if not base or any(f.run == base for f in found):
        return ""
    return (
        f"No gap to the baseline: {names[base]} was not measured with these runs. Choose another in "
        "the sidebar, or measure it with them."
    )


def _last_and_first(each: Sequence[str], doubt: str) -> str:
    """Which run keeps half of its accuracy longest, and which loses it first.

    Args:
        each: Runs with their radii, the last first.
        doubt: Behind the last one: that it is not clearly the last; empty where it is.
    """
    if len(each) == 1:
        return f"for {each[0]}"
    return f"last for {each[0]}{doubt and f'{doubt},'} and first for {each[-1]}"


def _later(first: Point, second: Point) -> bool:
    low = first.value if first.low is None else first.low
    return low > (second.value if second.high is None else second.high)


def _radius(p: Point, furthest: float) -> str:
    """``ε = 2.3/255 [2.1, 2.6]``, or ``ε > 8/255`` where more than half is left everywhere."""
    low, high = ("∞" if e is None or math.isinf(e) else f"{e:.2g}" for e in (p.low, p.high))
    value = f"ε > {furthest:g}/255" if math.isinf(p.value) else f"ε = {p.value:.2g}/255"
    return value if low == "∞" else f"{value} [{low}, {high}]"


def weights(found: Sequence[Finding], names: Names) -> str:
    """Of ``parameter_drift``: which run moved farthest and least, the matrix that moved most, and
    whose changes have a low rank. Runs that moved about as far as the farthest are named with it.
    """
    moved = {f.run: p for f in found if (p := point(f.value("drift"))) is not None and p.value > 0}
    if not moved:
        return "No weight moved." if _points(found, "drift") else ""
    ordered = sorted(moved, key=lambda run: -moved[run].value)
    said = _farthest(ordered, moved, names)
    if (most := drifts.moved_most(found, "relative")) is not None:
        name, run, size = most
        said += f"; **{weight_name(name)}** moved most for its size (at {names[run]}, {size:.3g})"
    ranks = {f.run: r for f in found if (r := drifts.common_rank(f)) is not None}
    if ranks:
        levels = sorted(set(ranks.values()))
        runs = {r: _few([run for run, of in ranks.items() if of == r], names) for r in levels}
        each = " and ".join(f"rank {r} at most in {who}" for r, who in runs.items())
        said += f"; the change of a matrix has {each}"
    return f"{said}."


ABOUT = 0.98
"""From this share of the farthest run's drift on, another one has moved about as far: the numbers
are exact, but of one training each.
"""


def _farthest(ordered: Sequence[str], moved: Points, names: Names) -> str:
    """Which runs moved farthest, and which least.

    Args:
        ordered: The farthest first.
        moved: How far.
        names: Of the runs.
    """
    size = {run: f"{moved[run].value:.3g}" for run in ordered}
    first, *others = ordered
    if not others:
        return f"{names[first]} moved by ‖θ − θ₀‖ / ‖θ₀‖ = {size[first]}"
    said = f"{names[first]} moved farthest (‖θ − θ₀‖ / ‖θ₀‖ = {size[first]})"
    near = [run for run in others if moved[run].value >= ABOUT * moved[first].value]
    if near:
        more = f" and {len(near) - 1} more" if len(near) > 1 else ""
        said += f", {names[near[0]]}{more} about as far ({size[near[-1]]})"
    if len(near) < len(others):
        said += f", {names[ordered[-1]]} least ({size[ordered[-1]]})"
    return said


def _points(found: Sequence[Finding], key: str) -> dict[str, Point]:
    return {f.run: p for f in found if (p := point(f.value(key))) is not None}
