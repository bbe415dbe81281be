"""An attack in words, the same on the terminal, in reports and on the dashboard."""

from collections.abc import Mapping
from typing import Any, Literal

from grace_geom.quantities import radius

Detail = Literal["name", "steps", "all"]


def attack_text(attack: Mapping[str, Any] | None, detail: Detail = "steps") -> str:
    """The attack that a record holds, in words; empty for ``None``.

    Args:
        attack: As :attr:`Accuracy.attack`: ``name``, ``eps``, ``norm``, ``precision``, ``seed`` and
            ``parts``.
        detail: ``name`` gives ``pgd 4/255``; ``steps`` adds the steps and restarts of the first
            part that has any, and the precision: ``pgd 4/255, 20 steps, 1 restart, float32``;
            ``all`` gives every part with its loss, step size, targets and queries, and the seed.
    """
    if attack is None:
        return ""
    norm = str(attack.get("norm", "linf"))
    head = f"{attack['name']} {radius_text(float(attack['eps']), norm)}"
    parts = list(attack.get("parts", ()))
    precision = str(attack.get("precision", "precision unknown"))
    if detail == "all":
        several = len(parts) > 1
        told = [text for part in parts if (text := _part(part, norm, several))]
        return ", ".join([head, *told, precision, f"seed {attack.get('seed')}"])
    counts = [_counts(part) for part in parts if "steps" in part]
    return ", ".join([head, *counts[0], precision]) if detail == "steps" and counts else head


def attack_said(attack: Mapping[str, Any], detail: Detail = "steps") -> str:
    """The same for captions, as legends and titles have it: ``APGD-CE, ε = 4/255, 20 steps, 1
    restart, float32``; a precision that is not on record is left out.

    Args:
        attack: As :attr:`Accuracy.attack`.
        detail: As of :func:`attack_text`; ``name`` leaves the rest out.
    """
    name, eps = str(attack["name"]), float(attack["eps"])
    called = "AutoAttack" if name == "autoattack" else name.upper()
    rest = attack_text(attack, detail).removeprefix(attack_text(attack, "name"))
    rest = rest.removesuffix(", precision unknown")
    return f"{called}, ε = {radius_text(eps, str(attack.get('norm', 'linf')))}{rest}"


def radius_text(eps: float, norm: str = "linf") -> str:
    """``4/255``, in grey levels; ``0.5 (l2)`` in another norm than l-infinity."""
    return radius(eps) if norm == "linf" else f"{eps:.4g} ({norm})"


def _counts(part: Mapping[str, Any]) -> list[str]:
    """``20 steps`` and ``1 restart``."""
    return [_count(part[key], key[:-1]) for key in ("steps", "restarts") if key in part]


def _part(part: Mapping[str, Any], norm: str, several: bool) -> str:
    """``ce loss, 20 steps, 1 restart, step 1/255``; of several after the part's name."""
    told = [f"{part['loss']} loss"] if part.get("loss") else []
    told += _counts(part)
    told += [_count(part[key], one) for key, one in _MORE.items() if key in part]
    if radii := part.get("radii"):
        told.append(f"radii {', '.join(str(factor) for factor in radii)} times that")
    if isinstance(alpha := part.get("alpha"), float):
        told.append(f"step {radius_text(alpha, norm)}")
    text = ", ".join(told)
    return f"{part.get('name', '')} ({text})" if several else text


_MORE = {
    "targets": "target",
    "queries": "query",
    "searches": "value of c",
    "draws": "draw a gradient",
}


def _count(n: Any, one: str) -> str:
    head, space, rest = one.partition(" ")
    many = (f"{head[:-1]}ies" if head.endswith("y") else f"{head}s") + space + rest
    return f"{n} {one if n == 1 else many}"
