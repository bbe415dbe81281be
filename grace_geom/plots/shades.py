"""Contrast and shades of a colour: as far apart as the ground leaves room for, all fit for text."""

import functools
import math
from collections.abc import Sequence

TEXT = 4.5
"""Contrast with its ground that text needs (WCAG 2.1, level AA)."""
SHADES = 5
"""Of one colour, itself among them."""
CLEAR = 0.12
"""Distance in Oklab of two shades that nobody takes for one."""
_ENDS = {True: (0, 0.3), False: (255, 0.86)}
"""On light ground, and on dark: the channels of what a colour is mixed with away from the ground,
and the lightness where it stops, since black and white have no hue.
"""


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two ``#rrggbb`` (WCAG 2.1), 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    """Relative luminance of a ``#rrggbb`` (WCAG 2.1), 0 to 1."""
    red, green, blue = _linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def apart(one: str, other: str) -> float:
    """Distance of two ``#rrggbb`` in Oklab (Ottosson 2020); 0.02 is just seen."""
    return math.dist(_oklab(one), _oklab(other))


def channels(color: str) -> tuple[int, ...]:
    """Red, green and blue of a ``#rrggbb``, 0 to 255."""
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


@functools.cache
def shades(color: str, paper: str, others: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The colour itself, then lighter and darker ones that all have the contrast of text with their
    ground, in steps of lightness that are as equal as that allows. Of those left, each is the one
    that is clear of the ones before it and farthest from ``others``.

    Args:
        color: ``#rrggbb``, with the contrast of text.
        paper: The ground.
        others: Colours that mean something else.
    """
    light = luminance(paper) > 0.5
    (away, last), here = _ENDS[light], _lightness(color)
    edge = luminance(paper) + 0.05  # least contrast: (edge / Y) or its inverse is TEXT
    first = math.cbrt((edge / TEXT if light else edge * TEXT) - 0.05)
    near, far = abs(first - here), max((here - last) * (1 if light else -1), 0.0)
    count = max(range(SHADES), key=lambda n: _least_step(near, n, far, SHADES - 1 - n))
    left = [
        _mixed(color, 255 - away, here + (first - here) * i / count) for i in range(1, count + 1)
    ]
    more = SHADES - 1 - count
    left += [_mixed(color, away, here + (last - here) * i / more) for i in range(1, more + 1)]
    found = [color]
    while left:
        found.append(max(left, key=lambda one: _free(one, found, others)))
        left.remove(found[-1])
    return tuple(found)


def _free(color: str, before: Sequence[str], others: Sequence[str]) -> tuple[float, float]:
    """How far it is from all others, of those before it no more than what is clear; then in all."""
    own = min(apart(color, one) for one in before)
    return min([CLEAR, own, *(apart(color, one) for one in others)]), own


def _least_step(near: float, n: int, far: float, m: int) -> float:
    """The smaller step where ``n`` shades share one way and ``m`` the other."""
    return min(way / number for way, number in ((near, n), (far, m)) if number)


def _mixed(color: str, end: int, lightness: float) -> str:
    """A colour on its way to black (0) or white (255), at a lightness; never short of it, so that
    rounding costs no contrast.
    """
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        beyond = _lightness(_mix(color, end, middle)) < lightness
        low, high = (low, middle) if beyond == (end == 0) else (middle, high)
    return _mix(color, end, low)


def _mix(color: str, end: int, share: float) -> str:
    return "#" + "".join(f"{round(v + share * (end - v)):02X}" for v in channels(color))


def _lightness(color: str) -> float:
    """That of the grey of the same luminance in Oklab."""
    return math.cbrt(luminance(color))


def _linear(color: str) -> tuple[float, ...]:
    return tuple(
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (channel / 255 for channel in channels(color))
    )


@functools.cache
def _oklab(color: str) -> tuple[float, ...]:
    r, g, b = _linear(color)
    long, middle, short = (
        math.cbrt(x * r + y * g + z * b)
        for x, y, z in (
            (0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        )
    )  # fmt: skip
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )
