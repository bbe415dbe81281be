"""What the accuracies of a checkpoint sum up to: the columns of the paper's tables, with errors
from image counts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import harmonic_mean

import numpy as np

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.answers import (
    HARMONIC,
    MEANS,
    SUITE_OF,
    SUITES_OF,
    Answers,
    Key,
    same_images,
)
from grace_geom.records.classes import shown
from grace_geom.records.crossed import Spread, share_interval, spread
from grace_geom.records.estimate import Z95, Estimate
from grace_geom.records.itself import Itself
from grace_geom.records.schema import RecordError
from grace_geom.records.statistics import correlations, rank_correlation, rankdata, rankdata_of_rows

COLUMNS = ("ID", "OOD", "Adv", "NatAdv", "ZS", "HM", "OOD'", "Adv'", "HM'")
ATTACK_PREFERENCE = ("apgd-ce", "apgd", "autoattack", "pgd")
PAPER_EPS = 4 / 255
USUAL_EPS = {"l2": 0.5, "l1": 12.0}
"""Radii that are usual outside the maximum norm (RobustBench, AutoAttack)."""

BY_CONSTRUCTION = (
    "NatAdv of shapes:hard has no difference to zero-shot: its images were chosen because the "
    "zero-shot model gets them wrong."
)


def by_construction(column: str, method: str, accuracies: Iterable[Accuracy]) -> bool:
    """Whether a difference to a baseline's column is no finding, for the images were chosen by what
    that baseline gets wrong: ``shapes:hard`` and the zero-shot model.
    """
    return (
        column == "NatAdv"
        and method == "zero-shot"
        and any(a.suite == "natural_adv" and a.spec == "shapes:hard" for a in accuracies)
    )


OVER_SEEDS = (
    "95 % intervals that hold the spread over seeds (Student's t) and over the test images, which "
    "all seeds share"
)
HOW = {
    "by images": "Wilson's at their variance over images, clean and attacked answers taken together",
    "by totals": "normal intervals from image counts, sets taken as independent",
}


def how_intervals(estimates: Iterable[Estimate | None]) -> str:
    """What intervals without spread over seeds are, in words, for every table and figure.

    Args:
        estimates: All that are shown. Means over sets and HM have intervals of another kind than
            single accuracies; which, depends on what the records hold.
    """
    kinds = {e.how for e in estimates if e is not None}
    found = [text for how, text in HOW.items() if how in kinds]
    means = f" (of means and HM: {'; or '.join(found)})" if found else ""
    return f"Wilson 95 % intervals{means}"


def rank_range(
    x: Sequence[float], y: Sequence[Estimate], draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Which rank correlations the intervals of ``y`` allow: ranks of accuracies that noise could
    swap say little.

    Each accuracy is drawn by itself from the normal that has its 95 % interval.

    Args:
        x: ``(n,)`` numbers of the geometry, as they are.
        y: ``(n,)`` accuracies.
        draws: How often all ``n`` are drawn.
        seed: Of the draws.

    Returns:
        2.5 and 97.5 percentile; ``None`` where there is no rank correlation.
    """
    return _rank_range(
        tuple(map(float, x)),
        tuple(e.value for e in y),
        tuple((e.low, e.high) for e in y),
        draws,
        seed,
    )


@lru_cache(maxsize=512)  # a page asks again at every change of a control
def _rank_range(
    x: tuple[float, ...],
    y: tuple[float, ...],
    ends: tuple[tuple[float, float], ...],
    draws: int,
    seed: int,
) -> tuple[float, float] | None:
    if rank_correlation(x, y) is None:
        return None
    ranks = rankdata(x)
    low, high = np.array(ends).T
    centre, spread = (low + high) / 2, (high - low) / (2 * Z95)
    drawn = np.random.default_rng(seed).normal(centre, spread, (draws, len(y)))
    found = correlations(ranks, rankdata_of_rows(drawn[np.ptp(drawn, axis=1) > 0]))
    first, last = np.quantile(found, [0.025, 0.975])
    return float(first), float(last)


def mean_of(parts: Sequence[Estimate | None]) -> Estimate | None:
    """Their mean, errors taken as independent; ``None`` where a part is missing or there is
    none."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    if len(known) == 1:
        return known[0]
    m = len(known)
    return Estimate.normal(
        sum(p.value for p in known) / m, math.sqrt(sum(p.error**2 for p in known)) / m
    )


def harmonic_of(parts: Sequence[Estimate | None]) -> Estimate | None:
    """Their harmonic mean, 0 where a part is 0; the error by the delta method,
    ``dHM/dx_i = HM^2 / (m x_i^2)``.
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    m, hm = len(known), harmonic_mean([part.value for part in known])
    if hm > 0:
        slopes = [hm**2 / (m * part.value**2) for part in known]
    else:  # the limit of the slopes: m where one part is 0 and the others are not
        zeros = sum(part.value == 0 for part in known)
        slopes = [m / zeros if part.value == 0 else 0.0 for part in known]
    error = math.sqrt(
        sum((slope * part.error) ** 2 for slope, part in zip(slopes, known, strict=True))
    )
    return Estimate.normal(hm, error)


def strongest(accuracies: Iterable[Accuracy]) -> list[Accuracy]:
    """Of several numbers that answer one question, the one on the most images; of equals the
    newest. In the order of the questions.

    A short look at a few images never takes the place of the whole measurement.
    """
    chosen: dict[tuple[str, str, str], Accuracy] = {}
    for a in accuracies:
        best = chosen.get(a.question)
        if best is None or a.n >= best.n:
            chosen[a.question] = a
    return list(chosen.values())


def headline_attack(accuracies: Iterable[Accuracy]) -> list[Accuracy]:
    """The attacked accuracies that ``Adv`` is made of: in the maximum norm where there are any,
    APGD-CE where it was run, else the strongest; eps near 4/255, in another norm the usual radius
    (``USUAL_EPS``), else the largest.

    An attack of several parts that began with APGD-CE gives its APGD-CE part. Where a data set has
    several such numbers, the strongest counts: most steps and restarts, then the most images, then
    the lowest accuracy, whatever their order. Adversarial images of another model do not count.
    """
    return [part for _, part in _headline(accuracies)]


def headline_whole(accuracies: Iterable[Accuracy]) -> list[Accuracy]:
    """What :func:`headline_attack` takes its numbers from, as on record: whole attacks."""
    return [whole for whole, _ in _headline(accuracies)]


def _headline(accuracies: Iterable[Accuracy]) -> list[tuple[Accuracy, Accuracy]]:
    """For each data set the number on record, and the part of it that counts."""
    attacked = [
        (a, _apgd_ce_part(a) or a)
        for a in accuracies
        if a.suite == "adv" and a.attack and not a.transferred
    ]

    def rank(a: Accuracy) -> tuple[str, int, tuple[bool, float]]:
        """Sorts attacks, the one that ``Adv`` stands for first."""
        known = a.attack_name in ATTACK_PREFERENCE
        place = ATTACK_PREFERENCE.index(a.attack_name) if known else len(ATTACK_PREFERENCE)
        attack = a.attack or {}
        norm = str(attack.get("norm", "linf"))
        unlike = "" if norm == "linf" else norm  # radii of two norms are not to be compared
        return unlike, place, _unusual(float(attack.get("eps", 0)), norm)

    best = min((rank(part) for _, part in attacked), default=None)
    chosen: dict[str, tuple[Accuracy, Accuracy]] = {}
    for pair in sorted((p for p in attacked if rank(p[1]) == best), key=lambda p: _weakness(p[1])):
        chosen.setdefault(pair[1].data, pair)
    return list(chosen.values())


def _unusual(eps: float, norm: str) -> tuple[bool, float]:
    """Sorts radii of a norm, the one that counts first."""
    if norm == "linf":
        return False, abs(eps - PAPER_EPS)
    return not math.isclose(eps, USUAL_EPS.get(norm, math.inf)), -eps


def _weakness(a: Accuracy) -> tuple[str, int, int, float, bool, tuple[str, str, str]]:
    """Sorts the numbers of a data set, the strongest attack first; of equals the one with an
    outcome for each image.
    """
    parts = (a.attack or {}).get("parts", ())
    budget = sum(part.get("steps", 0) * part.get("restarts", 1) for part in parts)
    return a.data, -budget, -a.n, a.accuracy, not a.outcomes, a.question


def summarise(
    accuracies: Sequence[Accuracy], columns: Sequence[str] = COLUMNS
) -> dict[str, Estimate | None]:
    """The nine columns of ``COLUMNS``, or those of them that are wanted; ``None`` where a suite is
    missing.

    Each data set counts by its :func:`strongest` number, in the metric that papers report for it
    (:func:`~grace_geom.records.classes.shown`). ``OOD``, ``NatAdv`` and ``ZS`` are means over data
    sets, ``Adv`` see :func:`headline_attack`,
    ``HM = 3 / (1/ID + 1/OOD + 1/Adv)``. The paper's Table 6: ``OOD' = (OOD + ZS) / 2``,
    ``Adv' = (Adv + NatAdv) / 2``, ``HM'`` of ID, OOD', Adv'. Errors of columns of several sets come
    from the answers to each image, since ID and Adv share images (:mod:`.crossed`); where the
    record holds totals only, sets are taken as independent.
    """

    found, asked = point_estimates(accuracies), questions(accuracies)
    return {
        name: None if e is None else _by_images(e, _of_column(asked, name), name)
        for name, e in found.items()
        if name in columns
    }


def point_estimates(
    accuracies: Sequence[Accuracy], columns: Sequence[str] = COLUMNS
) -> dict[str, Estimate | None]:
    """The columns of :func:`summarise` with its values, and errors that take sets as independent:
    a hundredth of the work, for lists of many runs.
    """
    if isinstance(accuracies, tuple):  # a record's own, which is compared with many others
        known = _points(Itself(accuracies))
        return {name: known[name] for name in columns}
    return _made_points(accuracies, columns)


@lru_cache(maxsize=512)
def _points(accuracies: Itself) -> dict[str, Estimate | None]:
    return _made_points(accuracies.held, COLUMNS)


def _made_points(
    accuracies: Sequence[Accuracy], columns: Sequence[str]
) -> dict[str, Estimate | None]:
    wanted = {suite for column in columns for suite in SUITES_OF[column]}
    asked = [a for a in strongest(accuracies) if a.attack is None and a.suite != "adv"]
    asked += headline_attack(accuracies) if "adv" in wanted else []
    made = {
        name: mean_of([shown(a) for a in asked if a.suite == suite])
        for name, suite in SUITE_OF.items()
        if suite in wanted
    }

    def column(name: str) -> Estimate | None:
        if name in MEANS:
            return mean_of([column(part) for part in MEANS[name]])
        return harmonic_of([column(p) for p in HARMONIC[name]]) if name in HARMONIC else made[name]

    return {name: column(name) for name in columns}


def over_seeds(runs: Sequence[Sequence[Accuracy]], column: str) -> Estimate | None:
    """A column's mean over seeds that answered the same images; ``None`` where one lacks it.

    Its 95 % interval holds the spread over seeds and over images, see :mod:`.crossed`. Where a
    record has totals only, all seeds are taken to fail on the same images, which is the widest.
    """
    each = [summarise(run, (column,))[column] for run in runs]
    known = [e for e in each if e is not None]
    if not known or len(known) < len(runs):
        return None
    if len(known) == 1:
        return known[0]
    return _mean(known, _answers([counted(run, column).values() for run in runs]), column)


def mean_accuracy(found: Sequence[Accuracy]) -> Estimate | None:
    """The mean over seeds of one question's accuracies, as :func:`over_seeds`."""
    each = [shown(a) for a in found]
    if len(each) < 2:
        return each[0] if each else None
    column = next(name for name, suites in SUITES_OF.items() if suites == (found[0].suite,))
    return _mean(each, _answers([[a] for a in found]), column)


def _mean(
    each: Sequence[Estimate], groups: tuple[tuple[Answers, ...], ...] | None, column: str
) -> Estimate:
    values = [e.value for e in each]
    value = sum(values) / len(values)
    if groups is not None:
        found = spread(groups, column)
    else:
        found = _from_totals(each)
    low, high = share_interval(value, found)
    how = "by totals" if groups is None else "by images"
    return Estimate(value, math.sqrt(found.total), low, high, how)


def _from_totals(each: Sequence[Estimate]) -> Spread:
    values = [e.value for e in each]
    images = sum(e.error for e in each) ** 2 / len(each) ** 2
    m = len(values)
    centre = min(max(sum(values) / m, 1e-6), 1 - 1e-6)
    between = sum((v - sum(values) / m) ** 2 for v in values) / max(m - 1, 1) / m
    return Spread(centre, m, between, images, images)


def _answers(runs: Sequence[Iterable[Accuracy]]) -> tuple[tuple[Answers, ...], ...] | None:
    """The answers behind the accuracies of each run; ``None`` where a record has none that can
    be read, or the runs answered other images.
    """
    try:
        groups = tuple(tuple(map(Answers.of_accuracy, run)) for run in runs)
        for answers in (a for group in groups for a in group):
            answers.positions()
    except RecordError:
        return None
    return groups if same_images(groups) else None


def questions(accuracies: Sequence[Accuracy]) -> dict[Key, Accuracy]:
    """What the summary is made of, by suite and data set: the strongest clean accuracies, and the
    attack that ``Adv`` stands for.
    """
    if isinstance(accuracies, tuple):
        return dict(_questions(Itself(accuracies)))
    return _asked(accuracies)


@lru_cache(maxsize=512)
def _questions(accuracies: Itself) -> dict[Key, Accuracy]:
    return _asked(accuracies.held)


def _asked(accuracies: Sequence[Accuracy]) -> dict[Key, Accuracy]:
    found = [a for a in strongest(accuracies) if a.attack is None] + headline_attack(accuracies)
    return {(a.suite, a.data): a for a in found}


def counted(accuracies: Sequence[Accuracy], column: str) -> dict[Key, Accuracy]:
    """The part of :func:`questions` that a column is made of."""
    return _of_column(questions(accuracies), column)


def _of_column(asked: dict[Key, Accuracy], column: str) -> dict[Key, Accuracy]:
    return {key: a for key, a in asked.items() if key[0] in SUITES_OF[column]}


def _by_images(estimate: Estimate, found: dict[Key, Accuracy], column: str) -> Estimate:
    """The estimate with the interval of the answers that were found; as it was for a single set
    (Wilson's) and where a record holds totals only.
    """
    if len(found) < 2:
        return estimate
    groups = _answers([found.values()])
    return estimate if groups is None else _mean([estimate], groups, column)


def _apgd_ce_part(a: Accuracy) -> Accuracy | None:
    first = a.parts[0] if a.parts else {}
    if not a.attack or a.attack_name == "apgd-ce" or first.get("name") != "apgd-ce":
        return None
    correct = int(first["robust"])
    return replace(
        a,
        correct=correct,
        accuracy=correct / a.n,
        ci_low=first["ci_low"],
        ci_high=first["ci_high"],
        attack=a.attack | {"name": "apgd-ce", "parts": a.attack["parts"][:1]},
        parts=(first,),
        outcomes=first.get("outcomes", ""),
        predictions="",  # those are of the whole attack
    )
