"""How features of the same images changed: CKA layer by layer and layer by layer x layer,
Procrustes, Gram drift.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from grace_geom.analysis.features.extract import Features, paired
from grace_geom.errors import UserError
from grace_geom.geometry.bootstrap import Interval, half_sample, jackknife
from grace_geom.geometry.cka import cka_matrix, rbf_cka
from grace_geom.geometry.gram import gram_drift
from grace_geom.geometry.procrustes import procrustes
from grace_geom.geometry.rows import examine

WITHIN = "clean-adv"
"""Name of the comparison of a checkpoint with itself, clean against attacked images."""

MEASURES = {
    "cka": "CKA, linear kernel, debiased",
    "procrustes": "Procrustes d^2 after unit-Frobenius scaling, 0 to 2",
    "gram_chord_centred": "|G^a - G^b|_F of centred features, 0 to 1.41",
    "gram_angle_centred": "arccos <G^a, G^b> of centred features, radians",
    "log_norm_ratio_centred": "ln |Gb|_F / |Ga|_F of centred features",
    "gram_chord": "|G^a - G^b|_F of cosines, 0 to 1.41",
    "gram_angle": "arccos <G^a, G^b> of cosines, radians",
    "log_norm_ratio": "ln |Gb|_F / |Ga|_F of cosines",
    "rbf_cka": "CKA, Gaussian kernel at the median distance, debiased",
}

PROCRUSTES_BOUNDS = (0.0, 2.0)


@dataclass(frozen=True)
class Drift:
    """From one set of features to another, of the same images.

    Attributes:
        layers: Names of the L layers.
        cka: ``(L, L)`` every layer of the first with every layer of the second.
        by_layer: Measure -> ``(L,)``, each layer with itself; names as in ``MEASURES``.
        remarks: Layer -> why a cell is empty, or what to know of it.
    """

    layers: tuple[str, ...]
    cka: Interval
    by_layer: dict[str, Interval]
    remarks: dict[str, str]


def drift(
    a: Features, b: Features, *, replicates: int = 100, seed: int = 0, rbf: bool = False
) -> Drift:
    """Compare two feature sets image by image, with intervals over images.

    Half-samples give the intervals. Procrustes, whose bias would exceed its interval, is corrected
    by a jackknife, which gives its interval too.

    Args:
        a: The reference.
        b: What is compared to it: another checkpoint on the same images, or the same one on their
            attacked versions.
        replicates: Half-samples.
        seed: Of the half-samples.
        rbf: Also CKA with a Gaussian kernel (n x n distances, twice a layer and half-sample).

    Raises:
        UserError: If the images differ, or the towers have other layers.
    """
    paired(a, b)
    layers = tuple(a.layers)
    if layers != tuple(b.layers):
        raise UserError(
            f"the towers have different layers ({len(layers)} and {len(b.layers)}): compare "
            "checkpoints of one model"
        )
    remarks = {}
    for layer in layers:
        for features in (a, b):
            remark = examine(features.layers[layer]).remark
            if remark:
                remarks[layer] = f"{features.distribution}: {remark}"
    names = [name for name in MEASURES if rbf or name != "rbf_cka"]
    L = len(layers)

    def statistic(rows: Tensor) -> np.ndarray:
        """``(layers, layers + 1 + others)``: every CKA of some images, then each layer's."""
        X, Y = ([f.layers[layer][rows] for layer in layers] for f in (a, b))
        matrix = cka_matrix(X, Y).cpu().numpy()
        by_layer = [_one_layer(x, y, rbf) for x, y in zip(X, Y, strict=True)]
        diagonal = np.concatenate([matrix.diagonal()[:, None], np.array(by_layer)], axis=1)
        return np.concatenate([matrix, diagonal], axis=1)

    def distances(rows: Tensor) -> np.ndarray:
        return np.array([procrustes(*(f.layers[name][rows] for f in (a, b))) for name in layers])

    found = half_sample(statistic, [len(a)], replicates, seed)
    sampled = [name for name in names if name != "procrustes"]
    columns = {name: found.at(np.s_[:, L + i]) for i, name in enumerate(sampled)}
    columns["procrustes"] = jackknife(distances, len(a), seed, PROCRUSTES_BOUNDS)
    columns = {name: columns[name] for name in names}
    return Drift(layers, found.at(np.s_[:, :L]), columns, remarks)


def _one_layer(X: Tensor, Y: Tensor, rbf: bool) -> list[float]:
    centred, cosines = gram_drift(X, Y, centre=True), gram_drift(X, Y, centre=False)
    row = []
    for g in (centred, cosines):
        row += [g.chord, g.angle, g.log_norm_ratio]
    return [*row, rbf_cka(X, Y)] if rbf else row
