"""Term (C) of the robust bound from features: how far the classes of two domains lie apart (Lemma
3.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.analysis.features.extract import Features, paired
from grace_geom.errors import UserError
from grace_geom.geometry.bootstrap import Interval, half_sample
from grace_geom.geometry.bound import every_pair, sampling_floor
from grace_geom.geometry.centroids import ClassStatistics, by_class

ESTIMATORS = {
    "discrepancy": "sum_c pi_c (|mu_s - mu_t|^2 + |Sigma_s - Sigma_t|_F), plug-in, unit features",
    "centroid": "sum_c pi_c |mu_s - mu_t|^2, plug-in",
    "covariance": "sum_c pi_c |Sigma_s - Sigma_t|_F, plug-in",
    "largest": "the largest discrepancy of two domains",
    "floor": "the discrepancy of two independent samples of the ID distribution, from random "
    "halves",
    "classes": "classes with two images in every domain; all pairs count these",
    "images_per_class": "images of the rarest counted class in the domain that has fewest of it",
}


@dataclass(frozen=True)
class Domains:
    """What :func:`domain_discrepancies` found.

    Attributes:
        numbers: ``discrepancy/s-t``, ``centroid/s-t``, ``covariance/s-t`` and ``largest``; without
            ``2 L_f``.
        worst: The pair that is largest.
        floor: What sampling alone gives two *independent* samples; a discrepancy near it says
            nothing. That of ``id`` and ``adv``, the same images twice, may lie below it and still
            be real.
        classes: How many classes count, the same ones for every pair.
        images_per_class: The fewest images of a counted class in a domain.
    """

    numbers: dict[str, Interval]
    worst: tuple[str, str]
    floor: float
    classes: int
    images_per_class: int


@dataclass(frozen=True)
class SharedClasses:
    """Which classes term (C) counts.

    Attributes:
        domains: Those that have any class of ``id``; the others take no part.
        classes: ``(s,)`` classes with at least two images in each of these.
        fewest: The fewest images of such a class in such a domain.
    """

    domains: tuple[str, ...]
    classes: Tensor
    fewest: int


def common_classes(labels: Mapping[str, Tensor], classes: int) -> SharedClasses:
    """The classes that all domains can be compared on; labels are known before any feature is.

    Args:
        labels: Domain -> labels in the label space of ``id``, -1 for classes that it does not have;
            ``id`` first.
        classes: Number of classes of ``id``.

    Raises:
        UserError: If fewer than two domains have a class of ``id``, or no class has two images in
            each of these.
    """
    domains = tuple(name for name, y in labels.items() if (y >= 0).any())
    if len(domains) < 2:
        others = ", ".join(name for name in labels if name != "id") or "no other domain"
        raise UserError(
            f"term (C) compares domains, and {others}: no class of the ID data; name other --ood "
            "sets"
        )
    count = torch.stack(
        [torch.bincount(labels[name][labels[name] >= 0], minlength=classes) for name in domains]
    )
    common = (count >= 2).all(dim=0).nonzero()[:, 0]
    if not len(common):
        raise UserError(
            f"term (C): no class has two images in each of {', '.join(domains)}; take more images "
            "with --n, or name --ood sets that share classes"
        )
    return SharedClasses(domains, common, int(count[:, common].min()))


def domain_discrepancies(
    sets: Mapping[str, Features], classes: int, *, replicates: int = 50, seed: int = 0
) -> Domains:
    """Every pair of domains, on unit embeddings, with half-sampling intervals over images.

    All pairs count the same classes (:func:`common_classes`); in a half-sample, those that have two
    images in every half. Where a half has none, there is a value without an interval.

    Args:
        sets: Domain -> features, ``id`` first; ``adv`` must be its images, and is drawn with them.
            Labels are in the label space of ``id``, -1 for classes that it does not have.
        classes: Number of classes of ``id``.
        replicates: Half-samples.
        seed: Of the half-samples and of the floor's splits.

    Raises:
        UserError: If ``adv`` is not of the same images as ``id``, or as :func:`common_classes`
            does.
    """
    if "adv" in sets:
        paired(sets["id"], sets["adv"])
    common = common_classes({name: f.labels for name, f in sets.items()}, classes)
    rows = {
        name: (F.normalize(sets[name].embedding.double(), dim=-1), sets[name].labels)
        for name in common.domains
    }
    samples = [name for name in rows if name != "adv"]
    pairs = list(combinations(rows, 2))
    kinds = ("discrepancy", "centroid", "covariance")
    keys = ["largest", *(f"{kind}/{s}-{t}" for s, t in pairs for kind in kinds)]

    def statistic(*drawn: Tensor) -> np.ndarray:
        """The largest distance, then those of each pair: ``(len(keys),)``."""
        at = dict(zip(samples, drawn, strict=True))
        at |= {"adv": at["id"]} if "adv" in rows else {}
        found = every_pair(
            {name: _grouped(X[at[name]], y[at[name]], classes) for name, (X, y) in rows.items()}
        )
        each = [x for d in found.values() for x in (d.total, d.centroid, d.covariance)]
        return np.array([max(d.total for d in found.values()), *each])

    intervals = half_sample(statistic, [len(sets[name]) for name in samples], replicates, seed)
    numbers = {key: intervals.at(i) for i, key in enumerate(keys)}
    worst = max(pairs, key=lambda pair: float(numbers[f"discrepancy/{pair[0]}-{pair[1]}"].value))
    X, y = rows["id"]
    counted = torch.isin(y, common.classes)
    floor = sampling_floor(X[counted], y[counted], classes, seed=seed)
    return Domains(numbers, worst, floor, len(common.classes), common.fewest)


def _grouped(X: Tensor, labels: Tensor, classes: int) -> ClassStatistics:
    known = labels >= 0
    return by_class(X[known], labels[known], classes)
