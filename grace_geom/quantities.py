"""Numbers as people write them: ``1030 ± 160``, ``4/255``. Standard library only."""

import math

FIXED = (-4, 6)
"""Powers of ten, from and below, that are written without an exponent."""
LEVELS = 255
"""Grey levels: radii of pixels in [0, 1] are written in them."""


def plus_minus(value: float, half: float | None, unit: str = "", *, signed: bool = False) -> str:
    """A number to its uncertainty: ``1030 ± 160``, ``0.0263 ± 0.0030``.

    The uncertainty has two significant digits, and the number ends at the same decimal place. Both
    have an exponent, or neither: they do where the larger one is at least a million, or the smaller
    uncertainty has its first digit behind the fourth decimal place; what rounds to nothing is 0. An
    uncertainty of 0 or infinity leaves the number four significant digits. One that is ``None`` or
    NaN does too and is left out, as is that of a number that is not finite.

    Args:
        value: The number.
        half: Its standard error, or half of its interval.
        unit: Follows after a space.
        signed: Write a plus before numbers above 0.

    Raises:
        ValueError: For a negative uncertainty.
    """
    sign, tail = "+" if signed else "", f" {unit}" if unit else ""
    if half is not None and half < 0:
        raise ValueError(f"an uncertainty is at least 0, not {half}")
    if half is None or math.isnan(half) or not math.isfinite(value):
        return f"{value:{sign}.4g}{tail}"
    if half == 0 or math.isinf(half):
        return f"{value:{sign}.4g} ± {'∞' if half else '0'}{tail}"
    place = _exponent(half, 1) - 1  # of the second digit, after rounding: 0.0996 becomes 0.10
    first, past = FIXED
    if max(_exponent(value, 3), _exponent(half, 1)) < past and place + 1 >= first:
        shown, digits = round(value, -place), max(0, -place)
        # Without this a number that rounds to nothing would be shown as -0.
        return f"{shown + 0.0:{sign}.{digits}f} ± {round(half, -place):.{digits}f}{tail}"
    mantissa = max(0, _exponent(value, 3) - place)
    number = f"{value:{sign}.{mantissa}e}" if abs(value) >= 10.0**place / 2 else "0"
    return f"{number} ± {half:.1e}{tail}"


def uncertainty(half: float) -> str:
    """The same of the uncertainty alone: ``160``, ``0.0030``, ``1.2e+07``."""
    return plus_minus(0.0, half).partition(" ± ")[2]


def radius(eps: float) -> str:
    """A radius of pixels in [0, 1] in grey levels: ``4/255``, ``-4/255``, ``0.5/255``. What cannot
    be one, being larger than 1 or not finite, is written as it is.
    """
    return f"{LEVELS * eps:g}/{LEVELS}" if abs(eps) <= 1 else f"{eps:g}"


def in_levels(value: float) -> str | None:
    """Half or whole grey levels up to 16, as people choose them for radii and steps: ``4/255``,
    ``-0.5/255``; ``None`` for any other number, which is no radius then, or none of these.
    """
    halves = 2 * LEVELS * value
    level = round(halves) if math.isfinite(halves) else 0
    chosen = 0 < abs(level) <= 32 and math.isclose(value, level / (2 * LEVELS), rel_tol=1e-15)
    return f"{level / 2:g}/{LEVELS}" if chosen else None


def _exponent(value: float, decimals: int) -> int:
    """Power of ten of the first digit, once rounded; of 0 the least there is."""
    return int(f"{value:.{decimals}e}".partition("e")[2]) if value else -400


_RAISED = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def ten_to(power: int) -> str:
    """``10⁻⁶``, in letters that need no markup."""
    return f"10{str(power).translate(_RAISED)}"
