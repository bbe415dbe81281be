"""Mean corruption error (mCE) and relative mCE from the parts of a corruption set."""

import math
from dataclasses import dataclass

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.estimate import Z95

ALEXNET: dict[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Top-1 errors of AlexNet on ImageNet-C, means over the five severities (Hendrycks & Dietterich
2019, as their code gives them).
"""
ALEXNET_CLEAN = 0.435
"""Its top-1 error on ImageNet (table 1 there)."""
SEVERITIES = frozenset("12345")


@dataclass(frozen=True)
class CorruptionError:
    """What papers report of a corruption set; shares of 1, of which mCE may exceed 1.

    Attributes:
        mean: Error, the mean over corruptions of means over severities: the convention for
            CIFAR-10-C and CIFAR-100-C (Hendrycks et al. 2020), where nothing is divided by a
            baseline's errors.
        mean_interval: 95 %.
        mce: Mean over the 15 corruptions of ``E_c / E_c(AlexNet)``; ``None`` unless the set is
            ImageNet-C with all corruptions and severities.
        mce_interval: 95 %.
        relative: Mean of ``(E_c - E_clean) / (E_c(AlexNet) - E_clean(AlexNet))``; ``None`` also
            where the clean error on ImageNet is not known.
        relative_interval: 95 %.
    """

    mean: float
    mean_interval: tuple[float, float]
    mce: float | None = None
    mce_interval: tuple[float, float] | None = None
    relative: float | None = None
    relative_interval: tuple[float, float] | None = None


def corruption_error(a: Accuracy, clean: Accuracy | None = None) -> CorruptionError | None:
    """mCE and relative mCE of a set with parts ``CORRUPTION/SEVERITY``; ``None`` for other sets.

    All parts of ImageNet-C show the same images, so that their errors go together in a way that
    records do not tell. The intervals take the errors of all parts to move together, which is the
    widest that is possible.

    Args:
        a: Clean accuracy on the corruption set.
        clean: Accuracy on ImageNet without corruption, for the relative mCE.
    """
    errors: dict[str, dict[str, tuple[float, float]]] = {}
    for group in a.groups:
        name, _, level = str(group["name"]).rpartition("/")
        n, share = int(group["n"]), float(group["accuracy"])
        smooth = (share * n + 0.5) / (n + 1)  # at 0 and 100 % there is still an error
        spread = math.sqrt(smooth * (1 - smooth) / n)
        errors.setdefault(name, {})[level] = (1 - share, spread)
    if not errors:
        return None
    found = {c: _mean([*levels.values()]) for c, levels in errors.items()}
    value, spread = _mean([*found.values()])
    whole = CorruptionError(value, _interval(value, spread))
    complete = all(set(errors.get(c, ())) >= SEVERITIES for c in ALEXNET)
    if not (complete and a.spec.startswith("imagenet-c")):
        return whole
    mce, spread = _mean([(found[c][0] / e, found[c][1] / e) for c, e in ALEXNET.items()])
    if clean is None:
        return CorruptionError(value, whole.mean_interval, mce, _interval(mce, spread))
    own = 1 - clean.accuracy
    own_spread = (clean.ci_high - clean.ci_low) / (2 * Z95)
    gaps = {c: e - ALEXNET_CLEAN for c, e in ALEXNET.items()}
    relative, wide = _mean(
        [((found[c][0] - own) / gap, (found[c][1] + own_spread) / gap) for c, gap in gaps.items()]
    )
    return CorruptionError(
        value,
        whole.mean_interval,
        mce,
        _interval(mce, spread),
        relative,
        (relative - Z95 * wide, relative + Z95 * wide),
    )


def _mean(parts: list[tuple[float, float]]) -> tuple[float, float]:
    """Means of values and of standard errors: those of numbers that move together."""
    values, errors = zip(*parts, strict=True)
    return math.fsum(values) / len(values), math.fsum(errors) / len(errors)


def _interval(value: float, error: float) -> tuple[float, float]:
    return max(0.0, value - Z95 * error), value + Z95 * error
