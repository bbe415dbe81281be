"""Tables of :mod:`grace_geom.analysis.robustness_curve`: accuracy by radius, transfer, checks."""

import math
import re
from collections.abc import Sequence

from grace_geom.analysis.numbers import Footnotes
from grace_geom.analysis.run import Part
from grace_geom.quantities import radius
from grace_geom.records import Measure
from grace_geom.records.masked_gradients import BEYOND, masked, unconverged
from grace_geom.tables import Cell, Table, percent


def curve_table(
    parts: dict[str, Part], attacks: Sequence[str], radii: Sequence[float], notes: list[str]
) -> Table:
    """Shares that stand, a row an attack on a checkpoint, a column a radius."""
    feet = Footnotes()
    rows: list[list[Cell | str]] = [
        [label, name, *(feet.cell(m, _percent) for m in _row(part, name, radii))]
        for label, part in parts.items()
        for name in attacks
    ]
    heads = ["checkpoint", "attack", "clean", *(radius(eps) for eps in radii)]
    return Table(heads, rows, 2, "Accuracy against the radius", [*feet.notes, *notes])


def _row(part: Part, name: str, radii: Sequence[float]) -> list[Measure]:
    """The clean share, then one for each radius."""
    keys = ("clean", *(f"{name}/{radius(eps)}" for eps in radii))
    return [part.values.get(key, Measure(math.nan)) for key in keys]


def transfer_table(parts: dict[str, Part], eps: float) -> Table:
    """Accuracy of every checkpoint on the images that were found at every one."""
    feet, labels = Footnotes(), _targets(parts)
    rows: list[list[Cell | str]] = [
        [f"PGD at {a}", *(feet.cell(part.values.get(f"transfer/{b}"), _percent) for b in labels)]
        for a, part in parts.items()
    ]
    texts = {
        label: how
        for part in parts.values()
        for label in labels
        if "text head" in (how := _head_of(part, label))
    }
    notes = [
        *feet.notes,
        f"radius {radius(eps)}; rows: where the images were found, columns: who looks at "
        "them, by the names of the row's classes",
        *(
            f"{label} answers some rows by a {how}: its head lacks their classes"
            for label, how in texts.items()
        ),
    ]
    return Table(["images", *labels], rows, 1, "Transfer between checkpoints", notes)


def _targets(parts: dict[str, Part]) -> list[str]:
    """Every checkpoint that looked at attacked images."""
    return list(
        dict.fromkeys(
            key.partition("/")[2]
            for part in parts.values()
            for key in part.values
            if key.startswith("transfer/")
        )
    )


def _head_of(part: Part, label: str) -> str:
    """Which head ``label`` answered by, in words."""
    m = part.values.get(f"transfer/{label}")
    return m.estimator.split("; ")[1] if m is not None and m.estimator.count("; ") > 1 else ""


def check_table(parts: dict[str, Part], eps: float, queries: int) -> Table:
    """Shares that stand under each check, and what the checks say."""
    feet = Footnotes()
    keys = list(
        dict.fromkeys(key for p in parts.values() for key in p.values if key.startswith("check/"))
    )
    rows: list[list[Cell | str]] = [
        [label, *(feet.cell(part.values.get(key), _percent) for key in keys)]
        for label, part in parts.items()
    ]
    found = {label: masked(part.values) for label, part in parts.items()}
    notes = [
        f"{label}: gradients look masked: {text}"
        for label, texts in found.items()
        for text in texts
    ]
    notes = notes or ["no sign of masked gradients: Square is not stronger than APGD"]
    notes += [f"{label}: {text}" for label, p in parts.items() for text in unconverged(p.values)]
    notes.append(f"{BEYOND}: images that fall to Square and not to APGD")
    heads = ["checkpoint", *(re.sub(r"\beps\b", "ε", key.removeprefix("check/")) for key in keys)]
    return Table(heads, rows, 1, f"Checks at {radius(eps)}; Square: {queries} queries", notes)


def _percent(m: Measure) -> Cell:
    return percent(m.value, m.low, m.high)
