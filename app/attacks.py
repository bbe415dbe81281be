"""An attack in the words of captions, the same as in legends and titles."""

from collections.abc import Mapping
from typing import Any

from grace_geom.records import attack_text, radius_text
from grace_geom.records.attack import Detail


def attack_said(attack: Mapping[str, Any], detail: Detail = "steps") -> str:
    """``APGD-CE, ε = 4/255, 20 steps, 1 restart, float32``; a precision that is not on record is
    left out.

    Args:
        attack: As :attr:`Accuracy.attack`.
        detail: As of :func:`~grace_geom.records.attack_text`; ``name`` leaves the rest out.
    """
    name, radius = str(attack["name"]), float(attack["eps"])
    called = "AutoAttack" if name == "autoattack" else name.upper()
    rest = attack_text(attack, detail).removeprefix(attack_text(attack, "name"))
    rest = rest.removesuffix(", precision unknown")
    return f"{called}, ε = {radius_text(radius, str(attack.get('norm', 'linf')))}{rest}"
