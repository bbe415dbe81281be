"""Settings that say what values they may have: the limits stand beside the default they limit."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any

from grace_geom.errors import UserError
from grace_geom.quantities import radius


def bounded(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    group: str | None = None,
) -> Any:
    """A dataclass field with limits. A class that only changes the default keeps the limits.

    Args:
        default: Default value; ``None`` and texts (``auto``) have no limits.
        least: Smallest value allowed.
        most: Largest value allowed.
        above: Every value must be larger than this.
        group: Heading of ``--help`` that the field opens.
    """
    limits = {"least": least, "most": most, "above": above, "group": group}
    return field(default=default, metadata={key: v for key, v in limits.items() if v is not None})


PIXELS = {"least": 0, "most": 1, "levels": 255}
"""Limits of an L-infinity radius in pixels of [0, 1]."""


def pixel_bounded(default: float) -> Any:
    """A field for an L-infinity radius in pixels of [0, 1]: between 0 and 1.

    A value above 1 is taken for grey levels of 0 to 255, and the refusal says how to write it.
    """
    return field(default=default, metadata=PIXELS)


def limits_of(cls: type, name: str) -> dict[str, float]:
    """The limits of a field: those of the nearest class that states some."""
    for base in cls.__mro__:
        found: Field[Any] | None = base.__dict__.get("__dataclass_fields__", {}).get(name)
        if found is None or name not in inspect.get_annotations(base):
            continue  # stated by another class
        if limits := {key: v for key, v in found.metadata.items() if key in _LIMITS}:
            return limits
    return {}


def check_bounds(settings: Any) -> None:
    """Refuse values outside the limits of their fields, NaN included.

    Raises:
        UserError: Naming the flag, its value and what it may be.
    """
    for entry in fields(settings):
        limits = limits_of(type(settings), entry.name)
        check_limits(entry.name, getattr(settings, entry.name), limits)


def check_limits(name: str, value: Any, limits: Mapping[str, float]) -> None:
    """The same for one value; ``None`` and texts have no limits.

    Raises:
        UserError: As :func:`check_bounds`.
    """
    if not limits or value is None or isinstance(value, str):
        return
    flag = f"--{name.replace('_', '-')}"
    shown = radius(value) if "levels" in limits and abs(value) <= 1 else value
    if "above" in limits and not limits["above"] < value < math.inf:
        raise UserError(f"{flag} is {shown}, it must be a number above {limits['above']:g}")
    low, high = limits.get("least", -math.inf), limits.get("most", math.inf)
    if not low <= value <= high:
        limit = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise UserError(f"{flag} is {shown}, it must be {limit}{_meant(value, limits)}")


def _meant(value: float, limits: Mapping[str, float]) -> str:
    levels = limits.get("levels", 0)
    if not 1 < value <= levels:
        return ""
    return f": pixels are in [0, 1] here. Did you mean {value:g}/{levels}?"


_LIMITS = ("least", "most", "above", "levels")
