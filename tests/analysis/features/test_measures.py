"""Drift, stability and anisotropy of collected features: planted structure must come out, trouble
must be named.
"""

import math

import numpy as np
import pytest
import torch

from grace_geom.analysis.feature_analysis import cell, measure
from grace_geom.analysis.features import Features
from grace_geom.analysis.features.anisotropy import ESTIMATORS as ISOTROPY
from grace_geom.analysis.features.anisotropy import anisotropy
from grace_geom.analysis.features.drift import MEASURES, drift
from grace_geom.analysis.features.stability import ESTIMATORS, principal_components, stability
from grace_geom.errors import UserError
from grace_geom.geometry.cka import cka

N, CLASSES, D = 60, 3, 16


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def features(
    noise: float = 0.3, shift: float = 0.0, seed: int = 0, name: str = "id", images: str = "A"
) -> Features:
    """Three classes at fixed directions, moved by ``shift`` along one axis."""
    labels = torch.arange(N) % CLASSES
    x = 2 * normal(CLASSES, D, 99)[labels] + noise * normal(N, D, seed) + shift * normal(1, D, 98)
    return Features({"block.0": normal(N, 8, seed + 50), "embedding": x}, labels, images, name)


def values(found) -> dict[str, float]:
    return {key: number.value.item() for key, number in found.numbers.items()}


def test_drift_is_the_measure_of_each_pair_of_layers():
    a, b = features(seed=0), features(seed=1)
    found = drift(a, b, replicates=20, rbf=True)
    assert found.layers == ("block.0", "embedding") and found.cka.value.shape == (2, 2)
    expected = [[cka(x, y) for y in b.layers.values()] for x in a.layers.values()]
    assert found.cka.value == pytest.approx(np.array(expected))
    assert list(found.by_layer) == list(MEASURES)
    assert found.by_layer["cka"].value == pytest.approx(np.diag(expected))
    assert (found.cka.low <= found.cka.high).all() and found.remarks == {}


def test_a_checkpoint_does_not_drift_from_itself():
    found = drift(features(), features(), replicates=10)
    assert found.by_layer["cka"].value == pytest.approx([1, 1])
    for name in ("procrustes", "gram_chord", "gram_chord_centred", "log_norm_ratio"):
        assert found.by_layer[name].value == pytest.approx([0, 0], abs=1e-6)
    assert found.by_layer["cka"].high - found.by_layer["cka"].low == pytest.approx([0, 0], abs=1e-9)


def test_five_images_tell_no_interval_of_procrustes():
    rows = torch.arange(5)
    a, b = (
        Features({n: x[rows] for n, x in f.layers.items()}, f.labels[rows], "A", "id")
        for f in (features(seed=0), features(seed=1))
    )
    found = drift(a, b, replicates=10).by_layer["procrustes"]
    for i in range(2):
        shown = cell(measure(found.at(i), "d^2"))
        assert "±" not in shown.short and "[" not in shown.full and 0 < shown.value <= 2


def test_drift_between_different_images_is_refused():
    with pytest.raises(UserError, match="not paired"):
        drift(features(), features(images="B", name="sketch"))
    other = features()
    with pytest.raises(UserError, match="different layers"):
        drift(features(), Features({"embedding": other.embedding}, other.labels, "A", "id"))


def test_a_constant_and_a_nan_layer_are_named_and_the_rest_measured():
    a, b = features(seed=0), features(seed=1)
    constant = Features(
        {"block.0": torch.ones(N, 8), "embedding": a.embedding}, a.labels, "A", "id"
    )
    found = drift(constant, b, replicates=10)
    assert "same for every image" in found.remarks["block.0"]
    assert np.isnan(found.cka.value).tolist() == [[True, True], [False, False]]
    bad = b.embedding.clone()
    bad[3, 0] = torch.nan
    spoilt = Features({"block.0": b.layers["block.0"], "embedding": bad}, b.labels, "A", "id")
    found = drift(a, spoilt, replicates=10)
    assert "1 of 60 rows hold NaN" in found.remarks["embedding"] and not np.isnan(
        found.by_layer["cka"].value[0]
    )


def test_an_attack_that_moves_nothing_shifts_no_centroid():
    found = values(
        stability({"id": features(), "adv": features(name="adv")}, CLASSES, replicates=4)
    )
    assert found["lemma_centroid/adv"] == 0 and found["lemma_centroid_unbiased/adv"] == 0


def test_stability_sees_a_planted_shift():
    sets = {
        "id": features(),
        "sketch": features(shift=3.0, seed=1, name="sketch", images="B"),
        "twin": features(seed=2, name="twin", images="C"),
        "adv": features(shift=0.5, name="adv"),
    }
    found = stability(sets, CLASSES, replicates=40)
    value = values(found)
    assert value["centroid_cosine/twin"] > 0.99 > 0.9 > value["centroid_cosine/sketch"]
    assert value["lemma_centroid_unbiased/sketch"] > 10 * abs(value["lemma_centroid_unbiased/twin"])
    assert value["delta_lid/sketch"] == pytest.approx(value["lid/sketch"] - value["lid/id"])
    twin = found.numbers["delta_lid/twin"]
    assert twin.low < 0 < twin.high  # the same distribution drawn twice
    assert {key.partition("/")[0] for key in found.numbers} < set(ESTIMATORS)
    assert found.arrays["pca/sketch"].shape == (N, 3)


def test_triples_are_those_of_closed_form():
    base = features(noise=0.0)
    axes = torch.eye(D)
    clean = Features(
        {"embedding": axes[0].repeat(N, 1) + 1e-3 * normal(N, D, 0)}, base.labels, "A", "id"
    )
    adv = Features(
        {"embedding": axes[1].repeat(N, 1) + 1e-3 * normal(N, D, 1)}, base.labels, "A", "adv"
    )
    awp = axes[2].repeat(N, 1)
    value = values(stability({"id": clean, "adv": adv}, CLASSES, (awp, awp), replicates=4))
    assert value["gram_volume"] == pytest.approx(1, abs=1e-2)
    assert value["cos_id_adv"] == pytest.approx(0, abs=1e-2)
    assert value["shift_adv"] == pytest.approx(math.sqrt(2), abs=1e-2)
    assert value["shift_awp_clean"] == pytest.approx(math.sqrt(2), abs=1e-2)


def test_the_sweep_of_k_has_intervals_and_weights_move_centroids_by_what_was_added():
    base = features(noise=0.2)
    attacked = Features({"embedding": base.embedding + 0.1}, base.labels, "A", "adv")
    unit = torch.nn.functional.normalize(base.embedding, dim=-1)
    shift = torch.zeros(D)
    shift[0] = 1.0
    moved = (
        unit - 2 * unit[:, :1] * shift
    )  # mirrored: lengths stay 1, every centroid moves by twice its first entry
    found = stability({"id": base, "adv": attacked}, CLASSES, (moved, unit), replicates=20)
    centroids = torch.stack([unit[base.labels == c].double().mean(dim=0) for c in range(CLASSES)])
    expected = 2 * centroids[:, 0].abs().mean().item()
    assert found.numbers["centroid_shift_awp_clean"].value == pytest.approx(expected, rel=1e-5)
    assert found.arrays["lid_sweep/id"][2] == pytest.approx(
        found.numbers["lid/id"].value.item()
    )  # k = 20
    low, high = found.arrays["lid_sweep_interval/id"]
    assert (low < high)[:3].all()


def test_adversarial_features_of_other_images_are_refused():
    with pytest.raises(UserError, match="not paired"):
        stability({"id": features(), "adv": features(images="B", name="adv")}, CLASSES)


def test_a_broken_distribution_is_reported_and_the_others_kept():
    broken = features(name="sketch", images="B")
    broken.embedding[0, 0] = torch.nan
    doubled = features(name="twin", images="C")
    doubled.embedding[1] = doubled.embedding[0]
    found = stability({"id": features(), "sketch": broken, "twin": doubled}, CLASSES, replicates=4)
    assert (
        "NaN" in found.remarks["sketch"] and "1 of 60 rows are duplicates" in found.remarks["twin"]
    )
    assert "lid/twin" in found.numbers and "lid/sketch" not in found.numbers
    nothing = stability({"id": broken}, CLASSES, replicates=4)
    assert nothing.numbers == {} and "id" in nothing.remarks


def test_classes_that_id_lacks_do_not_count():
    other = features(name="shift", images="B", seed=3)
    labels = other.labels.clone()
    labels[labels == 2] = -1
    reduced = Features(other.layers, labels, "B", "shift")
    value = values(stability({"id": features(), "shift": reduced}, CLASSES, replicates=4))
    assert value["centroid_cosine/shift"] > 0.99


def test_principal_axes_are_those_of_the_id_features():
    cross = torch.tensor([[3.0, 0, 0, 0], [-3, 0, 0, 0], [0, 2, 0, 0], [0, -2, 0, 0]])
    X = torch.cat([cross, torch.zeros(2, 4)]).double()
    found = principal_components(
        {"id": X + 7, "adv": X + 8}, {"id": torch.arange(6), "adv": torch.arange(6)}
    )
    assert found["pca_share"][:2] == pytest.approx([9 / 13, 4 / 13])
    assert found["pca/id"][0] == pytest.approx([3, 0, 0], abs=1e-9)
    assert found["pca/adv"][0][:2] == pytest.approx([4, 1])


def test_anisotropy_of_a_line_and_of_a_ball():
    line = torch.linspace(1, 2, N)[:, None] * torch.ones(1, D) + 1e-4 * normal(N, D, 0)
    f = Features(
        {"block.0": line, "embedding": normal(N, D, 1)}, torch.arange(N) % CLASSES, "A", "id"
    )
    found = anisotropy(f, normal(CLASSES, D, 2), replicates=10)
    value = values(found)
    assert value["iso_score/block.0"] < 1e-3 < 0.5 < value["iso_score/embedding"]
    assert value["mean_cosine/block.0"] > 0.999 and abs(value["mean_cosine/embedding"]) < 0.1
    assert {key.partition("/")[0] for key in found.numbers} == set(ISOTROPY)
    assert found.spectra["block.0"][0] > 0.999 and found.spectra[
        "embedding"
    ].sum() == pytest.approx(1)


def test_anisotropy_names_a_constant_layer():
    layers = {"block.0": torch.ones(N, 4), "embedding": normal(N, D, 1)}
    f = Features(layers, torch.zeros(N, dtype=torch.long), "A", "id")
    found = anisotropy(f, replicates=4)
    assert (
        "same for every image" in found.remarks["block.0"]
        and "iso_score/block.0" not in found.numbers
    )
    assert "alignment/embedding" not in found.numbers
