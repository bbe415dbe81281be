"""How the features of one checkpoint move between ID, OOD and adversarial images (Tables 2 and 9,
Fig. 2a).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.analysis.features.extract import Features, paired
from grace_geom.geometry.bootstrap import Interval, half_sample
from grace_geom.geometry.centroids import (
    ClassStatistics,
    by_class,
    centroid_cosines,
    discrepancy,
    scatter,
    shared,
)
from grace_geom.geometry.dimension import Neighbours, Subsets, lid_mle, lid_sweep, two_nn
from grace_geom.geometry.gram_volume import volume
from grace_geom.geometry.rows import examine

K_SWEEP = (5, 10, 20, 40, 80)
K = 20

ESTIMATORS = {
    "centroid_cosine": "mean over shared classes of cos(mu_id, mu_t), unit features",
    "centroid_shift": "mean over shared classes of |mu_id - mu_t|, unit features",
    "lemma_centroid": "sum_c pi_c |mu_id - mu_t|^2, plug-in",
    "lemma_centroid_unbiased": "the same less Tr Sigma/n of both sides (adv: Tr Cov(f_adv - "
    "f_id)/n, same images)",
    "lemma_covariance": "sum_c pi_c |Sigma_id - Sigma_t|_F, plug-in",
    "lid": f"Levina-Bickel / MacKay-Ghahramani, k = {K}",
    "lid_sweep": "Levina-Bickel / MacKay-Ghahramani at the named k",
    "delta_lid": f"LID(t) - LID(id), k = {K}",
    "two_nn": "TwoNN, largest 10 % of ratios dropped",
    "delta_two_nn": "TwoNN(t) - TwoNN(id)",
    "scatter_within": "mean squared distance to the class centroid",
    "scatter_between": "weighted squared distance of centroids to the mean",
    "separation": "between / within scatter",
    "gram_volume": "mean of sqrt |det G| of (clean, adv, AWP), ridge 1e-6",
    "cos_id_adv": "mean cosine of clean and adversarial feature",
    "cos_id_awp": "mean cosine of the clean feature and the adversarial one at W_pert",
    "cos_adv_awp": "mean cosine of the adversarial features at W and W_pert",
    "shift_adv": "mean |f(x_adv) - f(x)|",
    "shift_awp": "mean |f(x_adv; W_pert) - f(x_adv; W)|",
    "shift_awp_clean": "mean |f(x; W_pert) - f(x; W)|",
    "centroid_shift_awp_clean": "mean over classes of |mu(x; W_pert) - mu(x; W)|, unit features",
}


@dataclass(frozen=True)
class Stability:
    """What :func:`stability` found for one checkpoint.

    Attributes:
        numbers: ``measure/distribution`` (or ``measure``) -> a scalar interval; ``ESTIMATORS``
            explains the measure.
        arrays: ``lid_sweep/DIST`` (over ``K_SWEEP``) and ``lid_sweep_interval/DIST`` (2, k); per
            image ``gram_volume`` and ``cos_*``; ``pca/DIST`` (n, 3), ``pca_label/DIST``,
            ``pca_share`` (3,).
        remarks: Distribution -> duplicates, NaN and so on.
    """

    numbers: dict[str, Interval]
    arrays: dict[str, np.ndarray]
    remarks: dict[str, str]


def stability(
    sets: Mapping[str, Features],
    classes: int,
    perturbed: tuple[Float[Tensor, " n d"], Float[Tensor, " n d"]] | None = None,
    *,
    replicates: int = 100,
    seed: int = 0,
) -> Stability:
    """Measures on the unit embeddings of one checkpoint, with half-sampling intervals over images.

    Half-samples of the adversarial and the perturbed features take the same images as those of
    ``id``; OOD sets are drawn on their own.

    Args:
        sets: Distribution -> features; ``id`` is the reference, ``adv`` must be its images. Labels
            of OOD sets are in the label space of ``id``, with -1 for classes that it does not have.
        classes: Number of classes of ``id``.
        perturbed: Unit features of the ``id`` images, clean and attacked, at W_pert.
        replicates: Half-samples.
        seed: Of the half-samples.

    Raises:
        UserError: If ``adv`` is not of the same images as ``id``.
    """
    if "adv" in sets:
        paired(sets["id"], sets["adv"])
    remarks = {name: _remark(f) for name, f in sets.items()}
    unit = {name: F.normalize(f.embedding.double(), dim=-1) for name, f in sets.items()}
    usable = [name for name in sets if not examine(unit[name]).problem]
    triple = (
        _triple(unit, perturbed) if perturbed is not None and {"id", "adv"} <= set(usable) else {}
    )
    perturbed_clean = (
        F.normalize(perturbed[0].double(), dim=-1) if perturbed is not None else unit["id"]
    )
    samples = ["id", *(name for name in usable if name not in ("id", "adv"))]
    points = {name: Subsets(unit[name]) for name in usable}
    keys: list[str] = []

    def statistic(*rows: Tensor) -> np.ndarray:
        """All numbers of these rows, one tensor a sample: ``(len(keys),)``."""
        at = dict(zip(samples, rows, strict=True))
        drawn = {name: at.get(name, at["id"]) for name in usable}
        near = {name: points[name].neighbours(r, max(K_SWEEP)) for name, r in drawn.items()}
        found = _numbers(
            {n: (unit[n][r], sets[n].labels[r]) for n, r in drawn.items()}, near, classes
        )
        found |= {name: x[at["id"]].mean().item() for name, x in triple.items()}
        if triple:
            found["centroid_shift_awp_clean"] = _weight_shift(
                unit["id"], perturbed_clean, sets["id"].labels, at["id"]
            )
        keys[:] = list(found)
        return np.array(list(found.values()))

    if "id" not in usable:
        return Stability({}, {}, {name: r for name, r in remarks.items() if r})
    found = half_sample(statistic, [len(sets[name]) for name in samples], replicates, seed)
    numbers = {key: found.at(i) for i, key in enumerate(keys)}
    arrays = {name: x.numpy() for name, x in triple.items()}
    arrays |= _sweeps(numbers, usable)
    arrays |= principal_components(
        {name: unit[name] for name in usable}, {n: sets[n].labels for n in usable}
    )
    return Stability(numbers, arrays, {name: r for name, r in remarks.items() if r})


def _remark(features: Features) -> str:
    rows = examine(features.embedding)
    short = not rows.problem and rows.n - rows.duplicates <= K
    return rows.remark or (
        f"{rows.n} images are too few for a dimension at k = {K}" if short else ""
    )


def _numbers(
    sets: Mapping[str, tuple[Tensor, Tensor]], neighbours: Mapping[str, Neighbours], classes: int
) -> dict[str, float]:
    grouped = {name: _grouped(*pair, classes) for name, pair in sets.items()}
    found: dict[str, float] = {}
    for name, near in neighbours.items():
        found |= {f"lid_sweep/{name}/{k}": value for k, value in lid_sweep(near, K_SWEEP).items()}
        found |= {f"lid/{name}": lid_mle(near, K), f"two_nn/{name}": two_nn(near)}
        spread = scatter(grouped[name])
        found |= {
            f"scatter_within/{name}": spread.within, f"scatter_between/{name}": spread.between,
            f"separation/{name}": spread.separation,
        }  # fmt: skip
    for name in sets:
        if name != "id":
            moved = _shift(grouped["id"], grouped[name], same_images=name == "adv")
            found |= {f"{key}/{name}": value for key, value in moved.items()}
            found |= {
                f"delta_{m}/{name}": found[f"{m}/{name}"] - found[f"{m}/id"]
                for m in ("lid", "two_nn")
            }
    return found


def _grouped(X: Tensor, labels: Tensor, classes: int) -> ClassStatistics:
    known = labels >= 0
    return by_class(X[known], labels[known], classes)


def _shift(a: ClassStatistics, b: ClassStatistics, same_images: bool) -> dict[str, float]:
    both = shared(a, b)
    terms = discrepancy(a, b, same_images)
    gaps = (a.mean[both] - b.mean[both]).norm(dim=1)
    return {
        "centroid_cosine": centroid_cosines(a, b).mean().item() if len(both) else math.nan,
        "centroid_shift": gaps.mean().item() if len(both) else math.nan,
        "lemma_centroid": terms.centroid,
        "lemma_centroid_unbiased": terms.centroid_unbiased,
        "lemma_covariance": terms.covariance,
    }


def _triple(unit: Mapping[str, Tensor], perturbed: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Per-image numbers of the clean, the adversarial and the weight-perturbed feature."""
    clean, adv = unit["id"], unit["adv"]
    clean_awp, awp = (F.normalize(f.double(), dim=-1) for f in perturbed)
    return {
        "gram_volume": volume([clean, adv, awp]),
        "cos_id_adv": (clean * adv).sum(dim=1),
        "cos_id_awp": (clean * awp).sum(dim=1),
        "cos_adv_awp": (adv * awp).sum(dim=1),
        "shift_adv": (adv - clean).norm(dim=1),
        "shift_awp": (awp - adv).norm(dim=1),
        "shift_awp_clean": (clean_awp - clean).norm(dim=1),
    }


def _weight_shift(clean: Tensor, perturbed: Tensor, labels: Tensor, rows: Tensor) -> float:
    classes = int(labels.max()) + 1
    before, after = (by_class(side[rows], labels[rows], classes) for side in (clean, perturbed))
    there = shared(before, after)
    return (before.mean[there] - after.mean[there]).norm(dim=1).mean().item()


def _sweeps(numbers: Mapping[str, Interval], names: Sequence[str]) -> dict[str, np.ndarray]:
    found = {"lid_k": np.array(K_SWEEP)}
    for name in names:
        of_k = [numbers[f"lid_sweep/{name}/{k}"] for k in K_SWEEP]
        found[f"lid_sweep/{name}"] = np.array([float(x.value) for x in of_k])
        found[f"lid_sweep_interval/{name}"] = np.array(
            [[float(x.low) for x in of_k], [float(x.high) for x in of_k]]
        )
    return found


def principal_components(
    sets: Mapping[str, Float[Tensor, " n d"]], labels: Mapping[str, Tensor], most: int = 2000
) -> dict[str, np.ndarray]:
    """All sets on the first three principal axes of the ``id`` features, so that OOD and
    adversarial shifts are seen against the structure that the checkpoint has on its own
    distribution.

    Each set is cut to its first ``most`` images; an axis points where its largest loading is
    positive.
    """
    mean = sets["id"].mean(dim=0)
    _, sigma, V = torch.linalg.svd(sets["id"] - mean, full_matrices=False)
    rank = len(sigma)
    if rank < 3:  # fewer images or features than axes: the others hold nothing
        V, sigma = F.pad(V, (0, 0, 0, 3 - rank)), F.pad(sigma, (0, 3 - rank))
    axes = V[:3] * V[:3].gather(1, V[:3].abs().argmax(dim=1, keepdim=True)).sign()
    share = sigma.square() / sigma.square().sum()
    found = {"pca_share": share[:3].numpy()}
    for name, X in sets.items():
        found[f"pca/{name}"] = ((X[:most] - mean) @ axes.T).numpy()
        found[f"pca_label/{name}"] = labels[name][:most].numpy()
    return found


def ordered(names: Sequence[str]) -> list[str]:
    """ID first, adversarial last, as the tables show them."""
    return sorted(names, key=lambda name: (name != "id", name == "adv"))
