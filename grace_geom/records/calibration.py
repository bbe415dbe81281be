"""How far probabilities can be trusted: NLL, ECE and Brier score, with intervals."""

import math

import numpy as np

from grace_geom.records.estimate import Z95
from grace_geom.records.schema import Plain

BINS = 15
DRAWS = 400
NAMES = ("nll", "ece", "brier")


def ece(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017): ``sum_m |B_m| / n |acc(B_m) - conf(B_m)|``.

    Args:
        confidence: ``(n,)`` highest probability of each image.
        right: ``(n,)`` bool.
        bins: Number of bins of equal width, ``((m - 1) / M, m / M]``.

    Returns:
        In [0, 1]. Sampling noise within bins adds to it: with few images it is too large.
    """
    return _of_gaps(_bin(confidence, bins), right - confidence, bins)


def _bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    found: np.ndarray = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(np.int64)
    return found


def _of_gaps(place: np.ndarray, gaps: np.ndarray, bins: int) -> float:
    return float(np.abs(np.bincount(place, weights=gaps, minlength=bins)).sum() / len(gaps))


def scores(nll: np.ndarray, brier: np.ndarray, confidence: np.ndarray, right: np.ndarray) -> Plain:
    """``nll``, ``ece`` and ``brier``, each with ``value``, ``ci_low`` and ``ci_high`` (95 %).

    Means of images have normal intervals. That of ECE is a basic bootstrap over images
    (``2 e - quantile``, seeded), which takes off the noise that resampling adds, cut at 0 and
    widened to hold the value.

    Args:
        nll: ``(n,)`` negative log-probability of the label, in nats.
        brier: ``(n,)`` sum over classes of squared differences to the one-hot label, in [0, 2].
        confidence: ``(n,)`` highest probability.
        right: ``(n,)`` bool.
    """
    return {"nll": _mean(nll), "ece": _ece_interval(confidence, right), "brier": _mean(brier)}


def _mean(terms: np.ndarray) -> Plain:
    n, value = len(terms), float(terms.mean())
    half = Z95 * float(terms.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return {"value": value, "ci_low": max(0.0, value - half), "ci_high": value + half}


def _ece_interval(confidence: np.ndarray, right: np.ndarray) -> Plain:
    value, n = ece(confidence, right), len(right)
    place, gaps = _bin(confidence, BINS), right - confidence
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        some = rng.integers(0, n, n)
        drawn.append(_of_gaps(place[some], gaps[some], BINS))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "value": value,
        "ci_low": float(min(value, max(0.0, 2 * value - high))),
        "ci_high": float(max(value, min(1.0, 2 * value - low))),
    }
