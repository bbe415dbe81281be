"""Which number papers report for a published data set."""

from grace_geom.data.base import ImageSet

MEAN_PER_CLASS: dict[str, tuple[int, ...]] = {
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


def has_mean_per_class(image_set: ImageSet) -> bool:
    """Whether papers report the mean per-class accuracy of this data set: its SPEC names one of the
    four, and it has that many classes.
    """
    plain = "".join(c for c in image_set.spec.lower() if c.isalnum())
    classes = len(image_set.class_names)
    return any(name in plain and classes in ks for name, ks in MEAN_PER_CLASS.items())
