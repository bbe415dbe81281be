"""What the analyses of features share: options, features of one checkpoint, intervals as measures
and cells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from grace_geom.analysis.features import Features, Perturbations
from grace_geom.analysis.features.extract import check_tower, pool_of
from grace_geom.analysis.features.survey import (
    FeaturePlan,
    attack,
    attacked_features,
    clean_features,
)
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, sample_text
from grace_geom.analysis.subject import Subject
from grace_geom.data import ImageSet
from grace_geom.geometry.bootstrap import GROUPS, Interval
from grace_geom.quantities import plus_minus, radius
from grace_geom.records import Measure
from grace_geom.tables import MISSING, Cell

LID_BIAS = "LID of a Gaussian, truly 5: 4.76 at n = 300, 4.95 at n = 1,000"
GRAM_BIAS = "64 dimensions with 30 % noise: centred 0.369 at n = 300, 0.406 at 20,000"
PROCRUSTES = (
    f"Procrustes is corrected for its bias, and has its interval, by a jackknife of {GROUPS} groups "
    "of images; no interval where the correction exceeds 30 % (take more images)."
)


@dataclass(frozen=True)
class FeatureOptions(Common):
    """How features are taken, and what the adversarial distribution is.

    Attributes:
        pool: Feature of a block: its class token (cls), the mean of its patch tokens, or all tokens
            concatenated; auto: cls, or mean for a tower without a class token.
        layers: Regular expression for layers (block.0, ..., embedding); default: all.
        replicates: Number of half-samples for each interval.
        rho: Radius ρ of the weight perturbation, relative to the norm of each matrix.
        rank: Rank of the weight perturbation, in every attention and MLP matrix.
        awp_batch: Number of images per weight perturbation.
    """

    batch: int = 250
    pool: Literal["auto", "cls", "mean", "tokens"] = field(
        default="auto", metadata={"group": "features"}
    )
    layers: str = ""
    replicates: int = 100
    rho: float = 0.005
    rank: int = 4
    awp_batch: int = 64

    def plan(self, subject: Subject, cache: Path | None) -> FeaturePlan:
        """How :mod:`grace_geom.analysis.features.survey` shall work.

        Raises:
            UserError: If the tower has no such layers or tokens.
        """
        check_tower(subject.model, self.pool, self.layers)
        adversary = Perturbations(self.eps, self.alpha, self.attack_steps, self.rho, self.rank)
        return FeaturePlan(
            self.batch, self.awp_batch, self.pool, self.layers, self.seed, adversary, cache,
            subject.image_size,
        )  # fmt: skip

    def pool_remarks(self, subject: Subject) -> list[str]:
        """What is said of a tower whose blocks have no class token, where none was chosen."""
        if self.pool == "auto" and pool_of(subject.model, self.pool) == "mean":
            return ["blocks: mean of their positions, the tower has no class token"]
        return []

    @property
    def halved(self) -> str:
        """What half-samples are drawn from."""
        return "the images"

    def sample_text(self, parts: Mapping[str, Part]) -> str:
        """The sample and the intervals in words."""
        return (
            f"{sample_text(parts, self)}, seed {self.seed}; 95 % intervals from {self.replicates} "
            f"half-samples of {self.halved}"
        )

    def bias_text(self, of: str, example: str) -> str:
        """What the intervals of a statistic that depends on n do not say, with a measured case."""
        return (
            f"Intervals of {of} cover its expectation at this n, not the population's value "
            f"({example}): compare at equal n only."
        )

    def attack_text(self) -> str:
        """The adversarial distribution in words."""
        return f"PGD, ε = {radius(self.eps)}, {self.attack_steps} steps, every image attacked"


def distributions(subject: Subject) -> tuple[ImageSet, dict[str, ImageSet]]:
    """The ID subset and the OOD subsets of a checkpoint."""
    return subject.images(), {
        name: subject.images(spec, "eval") for name, spec in subject.ood().items()
    }


def clean_and_attacked(
    subject: Subject, id_set: ImageSet, ood: Mapping[str, ImageSet], plan: FeaturePlan
) -> tuple[dict[str, Features], np.ndarray]:
    """Features of a checkpoint on its ID images, on those of the OOD sets, and (as ``adv``) on the
    ID images attacked at it; and the attacked images, ``(N, 3, H, W)``.
    """
    models = {subject.label: subject.model}
    sets = clean_features(models, id_set, ood, plan)[subject.label]
    x_adv = attack(subject.model, subject.logits(id_set), id_set, plan)
    sets["adv"] = attacked_features(models, x_adv, id_set, plan)[subject.label]
    return sets, x_adv


def measures(numbers: Mapping[str, Interval], estimators: Mapping[str, str]) -> dict[str, Measure]:
    """Scalar intervals as measures; the part of a name before the first ``/`` says which
    estimator."""
    return {
        key: measure(x, estimators.get(key.partition("/")[0], "")) for key, x in numbers.items()
    }


def measure(x: Interval, estimator: str) -> Measure:
    """A scalar interval; bounds that are not defined are left out."""
    error, low, high = (
        None if math.isnan(float(v)) else float(v) for v in (x.error, x.low, x.high)
    )
    return Measure(
        float(x.value), error, low, high, x.level, f"{estimator}; {x.replicates} {x.how}"
    )


def cell(m: Measure | None, digits: int = 3) -> Cell:
    """``0.912 [0.901, 0.922]``, short ``0.912 ± 0.010``; ``-`` where there is no number."""
    if m is None or math.isnan(m.value):
        return Cell(MISSING)
    number = f"{m.value:.{digits}f}"
    if m.low is None or m.high is None:
        return Cell(number, value=m.value)
    full = f"{number} [{m.low:.{digits}f}, {m.high:.{digits}f}]"
    return Cell(full, plus_minus(m.value, (m.high - m.low) / 2), m.value)


def in_order(keys: Sequence[str]) -> list[str]:
    """Distributions as the tables show them: id first, adv last, the OOD sets between in their own
    order.
    """
    return sorted(dict.fromkeys(keys), key=lambda name: (name != "id", name == "adv"))
