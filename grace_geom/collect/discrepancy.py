"""Term (C) of the robust bound from features: how far the classes of two domains lie apart (Lemma 3.2)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from grace_geom.collect.features import Features, paired
from grace_geom.errors import UserError
from grace_geom.geometry.bootstrap import Interval, half_sample
from grace_geom.geometry.bound import sampling_floor, worst_pair
from grace_geom.geometry.centroids import Classes, by_class

ESTIMATORS = {
    "discrepancy": "sum_c pi_c (|mu_s - mu_t|^2 + |Sigma_s - Sigma_t|_F), plug-in, unit features",
    "centroid": "sum_c pi_c |mu_s - mu_t|^2, plug-in",
    "covariance": "sum_c pi_c |Sigma_s - Sigma_t|_F, plug-in",
    "largest": "the largest discrepancy of two domains",
    "floor": "the discrepancy of two samples of the ID distribution, from random halves",
}


@dataclass(frozen=True)
class Domains:
    """What :func:`domain_discrepancies` found.

    Attributes:
        numbers: ``discrepancy/s-t``, ``centroid/s-t``, ``covariance/s-t`` and ``largest``; without ``2 L_f``.
        worst: The pair that is largest.
        floor: What sampling alone gives; a discrepancy near it says nothing.
    """

    numbers: dict[str, Interval]
    worst: tuple[str, str]
    floor: float


def domain_discrepancies(sets: Mapping[str, Features], classes: int, *, replicates: int = 50, seed: int = 0) -> Domains:
    """Every pair of domains, on unit embeddings, with half-sampling intervals over images.

    Args:
        sets: Domain -> features, ``id`` first; ``adv`` must be its images, and is drawn with them. Labels are in the
            label space of ``id``, -1 for classes that it does not have.
        classes: Number of classes of ``id``.
        replicates: Half-samples.
        seed: Of the half-samples and of the floor's splits.

    Raises:
        UserError: If ``adv`` is not of the same images as ``id``, or no two domains share a class with two images in
            both.
    """
    if "adv" in sets:
        paired(sets["id"], sets["adv"])
    rows = {name: (F.normalize(f.embedding.double(), dim=-1), f.labels) for name, f in sets.items()}
    samples = [name for name in sets if name != "adv"]
    try:
        worst, _ = worst_pair({name: _grouped(*pair, classes) for name, pair in rows.items()})
    except ValueError as error:
        raise UserError(f"term (C): {error}; take more images with --n") from None
    keys: list[str] = []

    def statistic(*drawn: Tensor) -> np.ndarray:
        at = dict(zip(samples, drawn, strict=True))
        at |= {"adv": at["id"]} if "adv" in sets else {}
        domains = {name: _grouped(X[at[name]], y[at[name]], classes) for name, (X, y) in rows.items()}
        (s, t), pairs = worst_pair(domains)
        found = {"largest": pairs[s, t].total}
        for (s, t), d in pairs.items():
            found |= {f"discrepancy/{s}-{t}": d.total, f"centroid/{s}-{t}": d.centroid}
            found[f"covariance/{s}-{t}"] = d.covariance
        keys[:] = list(found)
        return np.array(list(found.values()))

    try:
        intervals = half_sample(statistic, [len(sets[name]) for name in samples], replicates, seed)
    except ValueError as error:
        raise UserError(f"term (C), in a half of the images: {error}; take more images with --n") from None
    numbers = {key: intervals.at(i) for i, key in enumerate(keys)}
    usable = {key: x for key, x in numbers.items() if not math.isnan(float(x.value))}
    known = rows["id"][1] >= 0
    floor = sampling_floor(rows["id"][0][known], rows["id"][1][known], classes, seed=seed)
    return Domains(usable, worst, floor)


def _grouped(X: Tensor, labels: Tensor, classes: int) -> Classes:
    known = labels >= 0
    return by_class(X[known], labels[known], classes)
