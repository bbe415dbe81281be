"""Classes as points: centroids, scatter, and the two terms of Lemma 3.2. These need no paired
images.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.geometry.rows import unit


@dataclass(frozen=True)
class ClassStatistics:
    """Per-class statistics of one set of features, for the classes ``0 .. K-1``; float64.

    Attributes:
        count: ``(K,)`` images of each class.
        mean: ``(K, d)`` centroids; NaN for a class without images.
        features: ``(n, d)`` the rows they were made from.
        labels: ``(n,)``.
    """

    count: Int[Tensor, " k"]
    mean: Float[Tensor, " k d"]
    features: Float[Tensor, " n d"]
    labels: Int[Tensor, " n"]

    def covariance(self, c: int) -> Float[Tensor, " d d"]:
        """Unbiased covariance of class c; NaN for fewer than two images."""
        X = self.features[self.labels == c] - self.mean[c]
        return (
            X.T @ X / (len(X) - 1)
            if len(X) > 1
            else X.new_full((X.shape[1], X.shape[1]), torch.nan)
        )

    def variance(self) -> Float[Tensor, " k"]:
        """``Tr Sigma_c`` of every class, unbiased; NaN for fewer than two images."""
        squares = (self.features - self.mean[self.labels]).square().sum(dim=1)
        total = squares.new_zeros(len(self.count)).index_add(0, self.labels, squares)
        return torch.where(self.count > 1, total / (self.count - 1), torch.nan)


def by_class(X: Float[Tensor, " n d"], labels: Int[Tensor, " n"], classes: int) -> ClassStatistics:
    """Group rows by their label in ``0 .. classes - 1``."""
    X = X.double()
    count = torch.bincount(labels, minlength=classes)
    total = X.new_zeros(classes, X.shape[1]).index_add(0, labels, X)
    return ClassStatistics(
        count, torch.where(count[:, None] > 0, total / count[:, None], torch.nan), X, labels
    )


def shared(*sets: ClassStatistics, at_least: int = 1) -> Int[Tensor, " s"]:
    """Classes with at least so many images in every set."""
    return torch.stack([each.count >= at_least for each in sets]).all(dim=0).nonzero()[:, 0]


def centroid_cosines(a: ClassStatistics, b: ClassStatistics) -> Float[Tensor, " s"]:
    """Cosine between the two centroids of every class that both have (Table 2); their mean is the
    table's number.
    """
    both = shared(a, b)
    return (unit(a.mean[both]) * unit(b.mean[both])).sum(dim=1)


@dataclass(frozen=True)
class Scatter:
    """Spread of labelled features.

    Attributes:
        within: ``1/n sum_i |x_i - mu_c(i)|^2``.
        between: ``sum_c n_c/n |mu_c - mu|^2``; both add up to the total variance.
    """

    within: float
    between: float

    @property
    def separation(self) -> float:
        """``between / within``: large for tight, distant classes."""
        return self.between / self.within if self.within > 0 else float("nan")


def scatter(a: ClassStatistics) -> Scatter:
    """Within- and between-class scatter (traces)."""
    within = (a.features - a.mean[a.labels]).square().sum(dim=1).mean()
    between = (a.mean[a.labels] - a.features.mean(dim=0)).square().sum(dim=1).mean()
    return Scatter(within.item(), between.item())


@dataclass(frozen=True)
class Discrepancy:
    """``sum_c pi_c (|mu_s - mu_t|^2 + sqrt(Tr(Sigma_s - Sigma_t)^2))``, Lemma 3.2 without its
    factor ``2 L_f``.

    Attributes:
        centroid: The first term, plug-in.
        centroid_unbiased: The first term less ``Tr Sigma_s / n_s + Tr Sigma_t / n_t``, what
            sampling alone adds to a squared distance of means (paired sets: less
            ``Tr Cov(x_t - x_s) / n``). It may be slightly negative.
        covariance: The second term, plug-in.
        classes: How many classes count.
    """

    centroid: float
    centroid_unbiased: float
    covariance: float
    classes: int

    @property
    def total(self) -> float:
        """The plug-in sum that Lemma 3.2 writes."""
        return self.centroid + self.covariance


def discrepancy(
    a: ClassStatistics,
    b: ClassStatistics,
    paired: bool = False,
    among: Int[Tensor, " s"] | None = None,
) -> Discrepancy:
    """Lemma 3.2's terms between two domains; ``pi_c`` is the class frequency in ``a`` among the
    classes that count.

    These are ``among``, each with at least two images in both sets, or all that have as many.

    ``paired`` says that row i of both is the same image (an attacked one and the clean one): the
    noise of the two means is then not independent, and what sampling adds is the variance of the
    mean difference.

    ``sqrt(Tr(Sigma_s - Sigma_t)^2)`` is a Frobenius norm: positive for equal covariances too, by
    sampling alone. NaN where no class counts.

    Raises:
        ValueError: If the sets shall be paired and their labels differ.
    """
    if paired and not torch.equal(a.labels, b.labels):
        raise ValueError("paired sets must have the same labels in the same order")
    both = shared(a, b, at_least=2) if among is None else among
    if not len(both):
        return Discrepancy(float("nan"), float("nan"), float("nan"), 0)
    pi = a.count[both].double() / a.count[both].sum()
    gap = (a.mean[both] - b.mean[both]).square().sum(dim=1)
    sides = (by_class(b.features - a.features, a.labels, len(a.count)),) if paired else (a, b)
    noise = sum(side.variance()[both] / side.count[both] for side in sides)
    spread = torch.stack([(a.covariance(c) - b.covariance(c)).norm() for c in both.tolist()])
    return Discrepancy(
        (pi @ gap).item(), (pi @ (gap - noise)).item(), (pi @ spread).item(), len(both)
    )
