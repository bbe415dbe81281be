"""The interval and p of a harmonic mean as ``records/crossed.py`` describes them, a second time:
every image a row, derivatives from paper, quantiles from scipy.stats.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

Seen = Mapping[tuple[str, str], tuple[str, np.ndarray, np.ndarray]]
"""Suite and data set -> source of its images, their places in it, and who is right."""

Effects = dict[str, np.ndarray]
"""Source -> what each image adds to the error; the two imaginary images are the last."""


def harmonic(seen: Seen) -> float:
    """HM as measured."""
    return _harmonic({key: right.mean() for key, (_, _, right) in seen.items()})


def _harmonic(shares: Mapping[tuple[str, str], float]) -> float:
    return 3 / sum(1 / np.mean([p for key, p in shares.items() if key[0] == suite])
                   for suite in ("id", "ood", "adv"))  # fmt: skip


def effects(
    seen: Seen, of: Mapping[str, int], imagined: tuple[float, float], weight: float
) -> tuple[float, Effects]:
    """HM with two imaginary images in each set, and the effects of all: ``dHM / dp`` is
    ``HM^2 / (3 p^2)``, and for one of m OOD sets the m-th part of it at their mean.

    Args:
        seen: Of one seed.
        of: Source -> images in all.
        imagined: Whether the imaginary images are right.
        weight: Of each.
    """
    shares = {
        key: (right.sum() + weight * sum(imagined)) / (len(right) + 2 * weight)
        for key, (_, _, right) in seen.items()
    }
    hm = _harmonic(shares)
    ood = [p for key, p in shares.items() if key[0] == "ood"]
    found = {source: np.zeros(n + 2) for source, n in of.items()}
    for key, (source, places, right) in seen.items():
        n, p = len(right), shares[key]
        slope = hm**2 / (3 * p**2)
        if key[0] == "ood":
            slope = hm**2 / (3 * np.mean(ood) ** 2) / len(ood)
        root = math.sqrt(n * (n + 1)) if weight < 1 else n + 2
        found[source][places] += slope * (right - p) / root
        found[source][-2:] += slope * (np.array(imagined) - p) / root
    return float(hm), found


def variances(
    values: Sequence[float], tables: Sequence[Effects], weight: float
) -> tuple[float, float, float]:
    """``A``, ``F`` and ``C`` of the mean over seeds."""
    S, F, own = len(values), 0.0, 0.0
    for source in tables[0]:
        rows = np.stack([table[source] for table in tables])
        w = np.array([1.0] * (rows.shape[1] - 2) + [weight] * 2)
        F += float((w * rows.mean(axis=0) ** 2).sum())
        own += float((w * rows**2).sum() / S)
    if S == 1:
        return 0.0, F, F
    return stats.tvar(values) / S, F, max(0.0, (S * F - own) / (S - 1))


def half_width(A: float, F: float, C: float, S: int) -> float:
    """The largest of three at 95 %: of the images; Student's over seeds, faded out where A is
    below a tenth of F; Satterthwaite's of both.
    """
    widths = [stats.norm.ppf(0.975) * math.sqrt(F)]
    if A:
        total = max(A + C, F)
        widths += [
            stats.t.ppf(0.975, S - 1) * A / math.sqrt(A + 0.1 * F),
            stats.t.ppf(0.975, (S - 1) * total**2 / A**2) * math.sqrt(total),
        ]
    return float(max(widths))


def p_value(gap: float, A: float, F: float, C: float, S: int) -> float:
    """The level of which the half-width is ``gap``."""
    values = [2 * stats.norm.sf(abs(gap) / math.sqrt(F))]
    if A:
        total = max(A + C, F)
        values += [
            2 * stats.t.sf(abs(gap) * math.sqrt(A + 0.1 * F) / A, S - 1),
            2 * stats.t.sf(abs(gap) / math.sqrt(total), (S - 1) * total**2 / A**2),
        ]
    return float(max(values))


def wilson(value: float, centre: float, half: float) -> tuple[float, float]:
    """Wilson's interval with as many images as make an interval of that half-width at the
    centre.
    """
    z = stats.norm.ppf(0.975)
    n = z**2 * centre * (1 - centre) / half**2
    middle = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return middle - reach, middle + reach
