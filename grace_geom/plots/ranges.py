"""How far the axis of a logged number goes, and on which scale: it holds the lines that can be
compared on it. A line that lies far above the others would press them together, and is named
instead.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from grace_geom.plots.panels import log_ticks

SCALES = {"auto": "Automatic", "linear": "Linear", "log": "Logarithmic"}
"""Of axes, and what they are called."""
WIDE = 30.0
"""How many times the smallest number the largest is where an axis turns logarithmic by itself."""
APART = 10.0
"""How many times one line's median another one's is where an axis turns logarithmic by itself, and
where a line lies beyond an axis: how many times the middle one's.
"""
LEAST, LEAST_ACCURACY, LEAST_COSINE = 0.2, 0.1, 0.05
"""What an axis spans at least: a share of the largest number, of 1, and of a cosine. Else the noise
of a level line looks like a trend.
"""

Heights = Mapping[str, np.ndarray]
"""Run -> the values of its line, ``(n,)``."""


def beyond(key: str, lines: Heights, scale: str) -> list[str]:
    """Lines that an automatic axis leaves out: their median is more than :data:`APART` times the
    middle one of all medians, and they are a quarter of the lines at most.

    Args:
        key: The logged number; accuracies and cosines have bounds and leave nothing out.
        lines: All that are drawn; values of either sign count by their size.
        scale: A key of :data:`SCALES`; only ``auto`` leaves lines out.
    """
    if scale != "auto" or _bounded(key):
        return []
    medians = {run: float(np.median(np.abs(values))) for run, values in lines.items()}
    middle = float(np.median([*medians.values()]))
    far = [run for run, median in medians.items() if median > APART * middle > 0]
    return far if 4 * len(far) <= len(lines) else []


def axis(key: str, lines: Heights, scale: str, above: float = 0.0) -> dict[str, Any]:
    """Scale, range and numbers of an axis: it holds all values and goes no further than they can.

    Args:
        key: The logged number.
        lines: What it holds, one line at least.
        scale: A key of :data:`SCALES`.
        above: Room for a note at its upper end, as a share of what it spans.
    """
    values = np.concatenate([*lines.values()])
    if is_log(key, lines, scale):
        low, high = np.log10(values.min()), np.log10(values.max())
        need = max(0.0, np.log10(1 + LEAST) - (high - low)) / 2
        room = 0.06 * (high - low + 2 * need) + need
        low, high = float(low - room), float(high + room)
        high += above * (high - low)
        return {"type": "log", "range": [low, high]} | log_ticks(low, high)
    numbers = {"tickformat": ".0%"} if "acc" in key else {"exponentformat": "power"}
    low, high = _room(values, key)
    return {"range": [low, high + above * (high - low)]} | numbers


def is_log(key: str, lines: Heights, scale: str) -> bool:
    """Whether the axis of some numbers is logarithmic: all are positive, and somebody wants it, or
    they span more than :data:`WIDE` or their lines lie more than :data:`APART` from each other.
    """
    values = np.concatenate([*lines.values()])
    if scale == "linear" or _bounded(key) or not (values > 0).all():
        return False
    if scale == "log":
        return True
    medians = [float(np.median(line)) for line in lines.values()]
    apart = max(medians) > APART * min(medians) or values.max() > WIDE * values.min()
    return key.startswith(("loss", "gram_", "grad_norm")) and bool(apart)


def _bounded(key: str) -> bool:
    return "acc" in key or key.startswith("cos_")


def _room(values: np.ndarray, key: str) -> list[float]:
    low, high = float(values.min()), float(values.max())
    least, most = _bounds(key, low)
    need = max(0.0, _least(key, values) - (high - low)) / 2
    over = max(0.0, high + need - most)  # a window at a bound goes on at the other end
    under = max(0.0, least - (low - need))
    room = 0.08 * (high - low + 2 * need)
    margin = 0.01 * (high - low + 2 * need)  # a line at its bound is not cut in half
    return [
        max(low - need - over - room, min(least, low) - margin),
        min(high + need + under + room, max(most, high) + margin),
    ]


def _bounds(key: str, low: float) -> tuple[float, float]:
    """What a number cannot leave; one that was below 0 and is neither accuracy nor cosine has no
    bounds.
    """
    if key.startswith("cos_"):
        return -1.0, 1.0
    if _bounded(key):
        return 0.0, 1.0
    return 0.0 if low >= 0 else -np.inf, np.inf


def _least(key: str, values: np.ndarray) -> float:
    """What an axis spans at least."""
    if "acc" in key:
        return LEAST_ACCURACY
    if key.startswith("cos_"):
        return LEAST_COSINE
    return LEAST * float(np.abs(values).max()) or 1.0
