"""Which sets a data set is evaluated on unless the user says otherwise."""

from grace_geom.data.shapes.sets import SHAPES_SETS

SUITES = ("ood", "natural_adv", "zeroshot")

IMAGENET = {
    "ood": {"v2": "imagenet-v2", "sketch": "imagenet-sketch", "r": "imagenet-r"},
    "natural_adv": {"a": "imagenet-a", "a-plus": "imagenet-a-plus"},
    "zeroshot": {
        name: f"torchvision:{name}"
        for name in (
            "Caltech101",
            "OxfordIIITPet",
            "Flowers102",
            "FGVCAircraft",
            "Food101",
            "DTD",
            "EuroSAT",
            "SUN397",
            "CIFAR10",
            "CIFAR100",
            "STL10",
            "PCAM",
        )
    },
}
"""The paper's OOD sets (V2, S, R) and natural adversarial sets (A, A-Plus); it does not name its
zero-shot sets.
"""


def suites(spec: str) -> dict[str, dict[str, str]]:
    """Suite -> name -> SPEC. ``shapes`` and ``imagenet`` know theirs; others are given by
    ``--ood NAME=SPEC``.
    """
    found: dict[str, dict[str, str]] = {suite: {} for suite in SUITES}
    if spec == "imagenet":
        return {suite: dict(sets) for suite, sets in IMAGENET.items()}
    if spec == "shapes":
        for name, kind in SHAPES_SETS.items():
            if kind.suite in found:
                found[kind.suite][name.partition(":")[2]] = name
    return found
