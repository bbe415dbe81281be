"""Class by class: per-class accuracies, their mean, the worst class, the confusion matrix."""

import math
from dataclasses import dataclass

import numpy as np

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.estimate import Estimate
from grace_geom.records.schema import RecordError
from grace_geom.records.statistics import wilson, wilson_of

MEAN_PER_CLASS = "mean-per-class"


@dataclass(frozen=True)
class ClassCounts:
    """Images and right answers of each class that has images.

    Attributes:
        names: Class names.
        n: ``(K,)`` images, at least one each.
        correct: ``(K,)`` right answers.
        of: Classes of the data set, those without an image included.
    """

    names: tuple[str, ...]
    n: np.ndarray
    correct: np.ndarray
    of: int

    @property
    def shares(self) -> np.ndarray:
        """``(K,)`` accuracies, in [0, 1]."""
        found: np.ndarray = self.correct / self.n
        return found


def class_counts(a: Accuracy) -> ClassCounts:
    """Right answers class by class; under an attack the images that withstand it.

    Raises:
        RecordError: If the record has no label or no outcome for each image.
    """
    labels, k = a.label_of_each(), len(a.class_names)
    n, correct = np.bincount(labels, minlength=k), np.bincount(labels[a.right()], minlength=k)
    there = np.flatnonzero(n)
    return ClassCounts(tuple(a.class_names[i] for i in there), n[there], correct[there], k)


def mean_per_class(counts: ClassCounts) -> Estimate:
    """Mean of the per-class accuracies, each class counting the same (mean per-class recall,
    balanced accuracy); classes without images do not count.

    The interval is Wilson's with the images that a simple sample of the same variance would have
    (Kott & Carr 1997), but no more than there are. Its variance is that of independent classes,
    ``sum_c q_c (1 - q_c) / n_c / K^2``, where half a right and half a wrong image are added to each
    class: without them a class of two images that are both right would have none. With one class
    it is Wilson's interval of the accuracy.
    """
    p, k = float(counts.shares.mean()), len(counts.n)
    q = (counts.correct + 0.5) / (counts.n + 1)
    variance = float((q * (1 - q) / counts.n).sum()) / k**2
    centre = float(q.mean())
    low, high = wilson_of(p, min(centre * (1 - centre) / variance, float(counts.n.sum())))
    return Estimate(p, math.sqrt(variance), low, high, "by images")


def worst_class(counts: ClassCounts) -> tuple[str, Estimate]:
    """The class of lowest accuracy, and that accuracy; of equals the first.

    The interval covers the lowest accuracy of all classes, whichever class that is: it is made of
    the Wilson intervals of all classes, which hold together at 95 % (Bonferroni), and so is wide
    where classes have few images.
    """
    k = len(counts.n)
    bounds = [
        wilson(int(c), int(n), 1 - 0.05 / k)
        for c, n in zip(counts.correct, counts.n, strict=True)
    ]  # fmt: skip
    worst = int(np.argmin(counts.shares))
    low, high = min(low for low, _ in bounds), min(high for _, high in bounds)
    p = float(counts.shares[worst])
    error = math.sqrt(p * (1 - p) / int(counts.n[worst]))
    return counts.names[worst], Estimate(p, error, low, high, "by images")


def confusion(a: Accuracy) -> np.ndarray:
    """``(K, K)`` int64: how many images of class ``i`` (row) the model took for class ``j``
    (column); under an attack, their adversarial images.

    Raises:
        RecordError: If the record has no prediction for each image.
    """
    k = len(a.class_names)
    cells = a.label_of_each() * k + a.prediction_of_each()
    return np.bincount(cells, minlength=k * k).reshape(k, k)


def shown(a: Accuracy) -> Estimate:
    """The number that papers report for this data set: mean per-class accuracy where that is
    :attr:`Accuracy.metric`, else top-1 accuracy.
    """
    if a.metric == MEAN_PER_CLASS:
        try:
            return mean_per_class(class_counts(a))
        except RecordError:  # totals only
            return Estimate.of(a)
    return Estimate.of(a)


def is_mean_per_class(a: Accuracy) -> bool:
    """Whether :func:`shown` gives the mean per-class accuracy."""
    return a.metric == MEAN_PER_CLASS and bool(a.labels and a.outcomes)
