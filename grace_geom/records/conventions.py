"""Which number papers report for a published data set, and what tables say of it."""

from collections.abc import Iterable

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.classes import MEAN_PER_CLASS, is_mean_per_class

CLASSES: dict[str, tuple[int, ...]] = {
    "oxfordiiitpet": (37,),
    "vtabpets": (37,),
    "flowers102": (102,),
    "vtabflowers": (102,),
    "caltech101": (101, 102),
    "fgvcaircraft": (100,),
}
"""Part of a SPEC, in letters and digits -> how many classes the data set has.

CLIP reports the mean per-class accuracy of these four (Radford et al. 2021, table 9), and top-1
accuracy of most others.
"""


def counts_by_class(spec: str, classes: int) -> bool:
    """Whether papers report the mean per-class accuracy of this data set: its SPEC names one of the
    four, and it has that many classes.

    Args:
        spec: SPEC.
        classes: How many it has; 0 where a record does not tell, and then the SPEC decides.
    """
    plain = "".join(c for c in spec.lower() if c.isalnum())
    return any(name in plain and classes in (0, *ks) for name, ks in CLASSES.items())


def convention_notes(accuracies: Iterable[Accuracy], mark: str = "") -> list[str]:
    """What stands below a table or a figure: of which sets it counts the mean per-class accuracy,
    and of which it cannot, for the record has totals only.

    Args:
        accuracies: Those that are shown.
        mark: What stands behind the mean per-class accuracies of a table, if anything.
    """
    usual: dict[str, None] = {}
    totals: dict[str, None] = {}
    for a in accuracies:
        if is_mean_per_class(a):
            usual[a.data] = None
        elif a.metric == MEAN_PER_CLASS or counts_by_class(a.spec, len(a.class_names)):
            totals[a.data] = None
    notes = []
    if usual:
        notes.append(
            f"{mark} {', '.join(usual)}: mean per-class accuracy, as papers report it; it also "
            "counts in means, HM and differences."
        )
    if totals:
        notes.append(
            f"{', '.join(totals)}: top-1 accuracy, where papers report mean per-class accuracy: "
            "some record holds no class of each image; evaluate again."
        )
    return [note.strip() for note in notes]
