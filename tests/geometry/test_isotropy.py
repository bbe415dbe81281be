"""Isotropy measures against their closed forms."""

import math

import pytest
import torch

from grace_geom.geometry import isotropy
from tests.geometry.test_cka import gaussian


def test_spectrum_is_that_of_the_covariance():
    X = gaussian(50, 6) * torch.arange(1, 7) + 9.0
    expected = torch.linalg.eigvalsh(torch.cov(X.T)).flip(0)
    torch.testing.assert_close(isotropy.covariance_spectrum(X), expected)
    wide = isotropy.covariance_spectrum(gaussian(4, 10))
    assert len(wide) == 10 and (wide[3:] < 1e-12).all()


def test_simplex_and_line_are_the_ends_of_iso_score():
    cross = torch.cat([torch.eye(5), -torch.eye(5)])  # covariance is a multiple of the identity
    assert isotropy.iso_score(cross) == pytest.approx(1.0)
    assert isotropy.participation_ratio(cross) == pytest.approx(5.0)
    line = torch.linspace(-1, 1, 9)[:, None] * torch.ones(1, 5)
    assert isotropy.iso_score(line) == pytest.approx(0.0, abs=1e-9)


def test_effective_rank_of_known_singular_values():
    assert isotropy.effective_rank(torch.eye(7)) == pytest.approx(7.0)
    p = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    Q = torch.linalg.qr(gaussian(9, 3)).Q
    assert isotropy.effective_rank(Q * p * 11) == pytest.approx(2**1.5)  # entropy 1.5 bits
    offset = gaussian(200, 4) + 1000.0
    assert (
        isotropy.effective_rank(offset) < 1.1 < 3.9 < isotropy.effective_rank(offset, centre=True)
    )


def test_mean_cosine_is_the_mean_of_all_pairs():
    X = gaussian(12, 4) + 0.5
    U = X / X.norm(dim=1, keepdim=True)
    cosines = (U @ U.T)[~torch.eye(12, dtype=torch.bool)]
    assert isotropy.mean_cosine(X) == pytest.approx(cosines.mean().item(), rel=1e-9)
    assert math.isnan(isotropy.mean_cosine(X[:1]))


def test_partition_isotropy_at_its_ends():
    assert isotropy.partition_isotropy(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx(
        1.0
    )
    one_way = torch.tensor([[2.0, 0, 0]]).repeat(6, 1)
    assert isotropy.partition_isotropy(one_way) == pytest.approx(math.exp(-2))


def test_uniformity_is_the_mean_over_all_pairs(monkeypatch):
    X = gaussian(30, 3)
    U = X / X.norm(dim=1, keepdim=True)
    expected = torch.pdist(U).square().mul(-2).exp().mean().log().item()
    assert isotropy.uniformity(X) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(isotropy, "BLOCK", 7)
    assert isotropy.uniformity(X) == pytest.approx(expected, rel=1e-9)
    assert isotropy.uniformity(torch.ones(5, 3)) == pytest.approx(0.0, abs=1e-9)


def test_alignment_and_modality_gap_in_closed_form():
    images, texts = torch.tensor([[2.0, 0], [0, 3]]), torch.tensor([[0.0, 1], [0, 5]])
    assert isotropy.alignment(images, texts) == pytest.approx(1.0)  # squared gaps 2 and 0
    assert isotropy.modality_gap(images, texts) == pytest.approx(math.sqrt(0.5))
    assert isotropy.modality_gap(images, texts[:1]) == pytest.approx(math.sqrt(0.5))  # not paired
    with pytest.raises(ValueError, match="not paired"):
        isotropy.alignment(images, texts[:1])
    with pytest.raises(ValueError, match="one space"):
        isotropy.modality_gap(images, torch.ones(2, 3))


def test_bad_features_are_nan_in_every_measure():
    bad = gaussian(10, 3)
    bad[0, 0] = torch.nan
    for measure in (
        isotropy.participation_ratio,
        isotropy.iso_score,
        isotropy.effective_rank,
        isotropy.mean_cosine,
        isotropy.partition_isotropy,
        isotropy.uniformity,
    ):
        assert math.isnan(measure(bad)), measure.__name__
    assert math.isnan(isotropy.participation_ratio(torch.ones(10, 3)))
