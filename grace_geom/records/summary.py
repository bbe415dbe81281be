"""What the accuracies of a checkpoint sum up to: the columns of the paper's tables, with errors
from image counts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import harmonic_mean

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.resample import SUITES_OF, Answers, Key, image_interval
from grace_geom.records.schema import RecordError

COLUMNS = ("ID", "OOD", "Adv", "NatAdv", "ZS", "HM", "OOD'", "Adv'", "HM'")
ATTACK_PREFERENCE = ("apgd-ce", "apgd", "autoattack", "pgd")
PAPER_EPS = 4 / 255
Z95 = 1.959963984540054


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


@dataclass(frozen=True)
class Estimate:
    """A share between 0 and 1, its standard error and its 95 % interval; ``how`` says so where it
    is a bootstrap.
    """

    value: float
    error: float
    low: float
    high: float
    how: str = ""

    @classmethod
    def of(cls, accuracy: Accuracy) -> "Estimate":
        """One accuracy; its error is half of Wilson's interval in units of z, so that it is never 0
        at 0 or 100 %.
        """
        error = (accuracy.ci_high - accuracy.ci_low) / (2 * Z95)
        return cls(accuracy.accuracy, error, accuracy.ci_low, accuracy.ci_high)

    @classmethod
    def normal(cls, value: float, error: float) -> "Estimate":
        """Normal interval, cut to [0, 1]."""
        return cls(value, error, max(0.0, value - Z95 * error), min(1.0, value + Z95 * error))


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
    """The attacked accuracies that ``Adv`` is made of: APGD-CE where it was run, else the
    strongest; eps near 4/255.

    An attack of several parts that began with APGD-CE gives its APGD-CE part. Where a data set has
    several such numbers, the strongest counts: most steps and restarts, then the most images, then
    the lowest accuracy, whatever their order.
    """
    attacked = [
        part or a
        for a in accuracies
        if a.suite == "adv" and a.attack
        for part in [_apgd_ce_part(a)]
    ]

    def rank(a: Accuracy) -> tuple[int, float]:
        known = a.attack_name in ATTACK_PREFERENCE
        place = ATTACK_PREFERENCE.index(a.attack_name) if known else len(ATTACK_PREFERENCE)
        return place, abs(float((a.attack or {}).get("eps", 0)) - PAPER_EPS)

    best = min(map(rank, attacked), default=None)
    chosen: dict[str, Accuracy] = {}
    for a in sorted((a for a in attacked if rank(a) == best), key=_weakness):
        chosen.setdefault(a.data, a)
    return list(chosen.values())


def _weakness(a: Accuracy) -> tuple[str, int, int, float, bool, tuple[str, str, str]]:
    """Sorts the numbers of a data set, the strongest attack first; of equals the one with an
    outcome for each image.
    """
    parts = (a.attack or {}).get("parts", ())
    budget = sum(part.get("steps", 0) * part.get("restarts", 1) for part in parts)
    return a.data, -budget, -a.n, a.accuracy, not a.outcomes, a.question


def summarise(accuracies: Sequence[Accuracy]) -> dict[str, Estimate | None]:
    """The nine columns of ``COLUMNS``; ``None`` where a suite is missing.

    Each data set counts by its :func:`strongest` number. ``OOD``, ``NatAdv`` and ``ZS`` are means
    over data sets, ``Adv`` see :func:`headline_attack`,
    ``HM = 3 / (1/ID + 1/OOD + 1/Adv)``. The paper's Table 6: ``OOD' = (OOD + ZS) / 2``,
    ``Adv' = (Adv + NatAdv) / 2``, ``HM'`` of ID, OOD', Adv'. Errors take data sets as independent;
    those of HM and HM', which hold ID and Adv on the same images, are a bootstrap over images
    wherever the record has their outcomes.
    """

    def suite(name: str) -> Estimate | None:
        return mean_of([Estimate.of(a) for a in clean if a.suite == name])

    clean = [a for a in strongest(accuracies) if a.attack is None]
    id_, ood, natural, zs = suite("id"), suite("ood"), suite("natural_adv"), suite("zeroshot")
    adv = mean_of([Estimate.of(a) for a in headline_attack(accuracies)])
    ood_, adv_ = mean_of([ood, zs]), mean_of([adv, natural])
    values = (
        id_,
        ood,
        adv,
        natural,
        zs,
        harmonic_of([id_, ood, adv]),
        ood_,
        adv_,
        harmonic_of([id_, ood_, adv_]),
    )
    found = dict(zip(COLUMNS, values, strict=True))
    return found | {
        name: _over_images(e, accuracies, name)
        for name in ("HM", "HM'")
        if (e := found[name]) is not None
    }


def counted(accuracies: Sequence[Accuracy], column: str) -> dict[Key, Accuracy]:
    """What a column is made of: clean accuracies, and the attack of ``Adv``, by suite and data
    set."""
    found = [a for a in strongest(accuracies) if a.attack is None] + headline_attack(accuracies)
    return {(a.suite, a.data): a for a in found if a.suite in SUITES_OF[column]}


def _over_images(estimate: Estimate, accuracies: Sequence[Accuracy], column: str) -> Estimate:
    """The estimate with the interval of a bootstrap; as it was where a record holds totals only."""
    try:
        group = tuple(Answers.of_accuracy(a) for a in counted(accuracies, column).values())
        error, low, high = image_interval(group, column)
    except RecordError:
        return estimate
    return Estimate(estimate.value, error, low, high, "bootstrap")


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
    )
