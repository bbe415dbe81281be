"""Which number papers report for a published data set."""

from grace_geom.data.base import ImageSet
from grace_geom.records.conventions import counts_by_class


def has_mean_per_class(image_set: ImageSet) -> bool:
    """Whether papers report the mean per-class accuracy of this data set."""
    return counts_by_class(image_set.spec, len(image_set.class_names))
