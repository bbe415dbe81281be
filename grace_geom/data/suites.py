"""Which sets a data set is evaluated on unless the user says otherwise."""

from grace_geom.data.shapes.sets import SHAPES_SETS

SUITES = ("ood", "natural_adv", "zeroshot")


def suites(spec: str) -> dict[str, dict[str, str]]:
    """Suite -> name -> SPEC. Only ``shapes`` knows its relatives; others are given by ``--ood NAME=SPEC``."""
    found: dict[str, dict[str, str]] = {suite: {} for suite in SUITES}
    if spec == "shapes":
        for name, kind in SHAPES_SETS.items():
            if kind.suite in found:
                found[kind.suite][name.partition(":")[2]] = name
    return found
