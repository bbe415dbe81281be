"""What a figure was drawn from, in words."""

from collections.abc import Mapping, Sequence

from grace_geom.plots.weight_names import group_name
from grace_geom.quantities import radius
from grace_geom.records import Finding

LOSSES = {"ce": "cross-entropy", "adv-ce": "cross-entropy under attack"}


def said(found: Sequence[Finding], *more: str) -> str:
    """``weights: image tower, loss: cross-entropy, n = 60, seed 0; ...`` for the note of a figure.

    Args:
        found: Findings of one analysis with the same settings.
        more: Further words, such as what bars mean.
    """
    s = found[0].result.settings
    used = {f.run: f.part.n for f in found}
    parts = [weights(s["params"])] if s.get("params") else []
    parts += [f"loss: {loss_name(s['loss'])}"] if s.get("loss") else []
    parts += [sample_size(used, int(s.get("n", 0))), f"seed {s.get('seed', 0)}"]
    return "; ".join([", ".join(parts), *(word for word in more if word)])


def loss_name(loss: str) -> str:
    """``ce`` -> ``cross-entropy``."""
    return LOSSES.get(loss, loss)


def weights(params: object) -> str:
    """``weights: image tower``, or the pattern of their names in quotes."""
    return f"weights: {group_name(str(params)).removeprefix('weights named ')}"


def sample(found: Sequence[Finding]) -> str:
    """``n = 60, seed 0``."""
    s = found[0].result.settings
    used = {f.run: f.part.n for f in found}
    return f"{sample_size(used, int(s.get('n', 0)))}, seed {s.get('seed', 0)}"


def intervals(found: Sequence[Finding], *keys: str) -> str:
    """What the intervals of feature analyses are made from, in the words of each number's record:
    ``95 % intervals from 100 half-samples of the images``. Empty where there are none.

    Args:
        found: Findings of one analysis.
        keys: Names of numbers, or how names begin, up to a ``/``.
    """
    starts = tuple(f"{key}/" for key in keys)
    made = [
        measure.estimator.rpartition("; ")[2]
        for f in found
        for name, measure in f.part.values.items()
        if (name in keys or name.startswith(starts)) and measure.low is not None
    ]
    return f"95 % intervals from {' or '.join(dict.fromkeys(made))}" if made else ""


def attack(found: Sequence[Finding]) -> str:
    """The attack behind adversarial features or losses."""
    s = found[0].result.settings
    return f"PGD, ε = {radius(float(s.get('eps', 0)))}, {s.get('attack_steps')} steps"


def sample_size(used: Mapping[str, Mapping[str, int]], asked: int) -> str:
    """``n = 60``: the images that were used, where they are fewer than was asked for.

    Args:
        used: Label -> set -> images; empty where that is not known.
        asked: ``--n``.
    """
    ids = {label: sets["id"] for label, sets in used.items() if "id" in sets}
    others: dict[str, list[int]] = {}
    for sets in used.values():
        for name, n in sets.items():
            if name != "id":
                others.setdefault(name, []).append(n)
    usual = set(ids.values()) or {asked}
    own = ", ".join(f"{n} ({label})" for label, n in ids.items())
    text = f"n = {usual.pop()}" if len(usual) == 1 else f"n = {own}"
    fewer = [
        f"{name}: {images_range(ns)}" for name, ns in others.items() if set(ns) != set(ids.values())
    ]
    if any(n < asked for n in [*ids.values(), *(n for ns in others.values() for n in ns)]):
        text += f" (asked: {asked})"
    return ", ".join([text, *fewer])


def images_range(ns: Sequence[int]) -> str:
    """``250``, or ``200 to 250`` where numbers of images differ."""
    return str(ns[0]) if min(ns) == max(ns) else f"{min(ns)} to {max(ns)}"
