"""How evenly the features of one checkpoint on one set fill their space, layer by layer."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.analysis.features.extract import EMBEDDING, Features
from grace_geom.geometry import isotropy
from grace_geom.geometry.bootstrap import Interval, half_sample
from grace_geom.geometry.dimension import lid_mle, neighbours
from grace_geom.geometry.rows import examine

K = 20

ESTIMATORS = {
    "participation_ratio": "(sum lam)^2 / sum lam^2 of the covariance",
    "iso_score": "(PR - 1) / (d - 1)",
    "effective_rank": "exp entropy of the singular values of X",
    "effective_rank_centred": "exp entropy of the singular values of X minus its mean",
    "mean_cosine": "(|sum u|^2 - n) / (n(n-1))",
    "partition_isotropy": "min Z(c) / max Z(c), unit rows, both signs of each eigenvector",
    "uniformity": "ln mean exp(-2 |u - u'|^2), i != j",
    "lid": f"Levina-Bickel / MacKay-Ghahramani, k = {K}, unit rows",
    "alignment": "mean |f - t_y|^2 of an image and its class's text",
    "modality_gap": "|mean f - mean t_y| of images and their classes' texts",
}


@dataclass(frozen=True)
class Anisotropy:
    """What :func:`anisotropy` found.

    Attributes:
        numbers: ``measure/layer`` -> a scalar interval; ``ESTIMATORS`` explains the measure.
        spectra: Layer -> eigenvalues of the covariance as shares of their sum, largest first.
        remarks: Layer -> why it has no numbers, or what to know of it.
    """

    numbers: dict[str, Interval]
    spectra: dict[str, np.ndarray]
    remarks: dict[str, str]


def anisotropy(
    features: Features,
    texts: Float[Tensor, " k d"] | None = None,
    *,
    replicates: int = 100,
    seed: int = 0,
) -> Anisotropy:
    """Isotropy of every layer with half-sampling intervals over images; alignment with the texts at
    the embedding.

    Args:
        features: Of one checkpoint on one set.
        texts: Text embedding of every class; alignment and modality gap are left out without it.
        replicates: Half-samples.
        seed: Of the half-samples.
    """
    rows = {layer: examine(X) for layer, X in features.layers.items()}
    usable = [layer for layer, r in rows.items() if not r.problem]
    keys: list[str] = []

    def statistic(drawn: Tensor) -> np.ndarray:
        """All numbers of these images, ``(len(keys),)``."""
        found: dict[str, float] = {}
        for layer in usable:
            found |= {
                f"{m}/{layer}": v for m, v in _measures(features.layers[layer][drawn]).items()
            }
        if texts is not None and EMBEDDING in usable and (features.labels >= 0).all():
            f, t = features.embedding[drawn], texts[features.labels[drawn]]
            found[f"alignment/{EMBEDDING}"] = isotropy.alignment(f, t)
            found[f"modality_gap/{EMBEDDING}"] = isotropy.modality_gap(f, t)
        keys[:] = list(found)
        return np.array(list(found.values()))

    found = half_sample(statistic, [len(features)], replicates, seed)
    numbers = {key: found.at(i) for i, key in enumerate(keys)}
    spectra = {}
    for layer in usable:
        lams = isotropy.covariance_spectrum(features.layers[layer])
        spectra[layer] = (lams / lams.sum()).numpy()
    return Anisotropy(numbers, spectra, {layer: r.remark for layer, r in rows.items() if r.remark})


def _measures(X: Tensor) -> dict[str, float]:
    return {
        "participation_ratio": isotropy.participation_ratio(X),
        "iso_score": isotropy.iso_score(X),
        "effective_rank": isotropy.effective_rank(X),
        "effective_rank_centred": isotropy.effective_rank(X, centre=True),
        "mean_cosine": isotropy.mean_cosine(X),
        "partition_isotropy": isotropy.partition_isotropy(X),
        "uniformity": isotropy.uniformity(X),
        "lid": lid_mle(neighbours(torch.nn.functional.normalize(X.double(), dim=-1), K), K),
    }
