"""Saliency of functions whose gradients are known."""

import pytest
import torch

from grace_geom.geometry.saliency import correlation, saliency


def test_is_the_largest_gradient_over_channels():
    slope = torch.tensor([1.0, -3.0, 2.0])[None, :, None, None]
    x = torch.rand(2, 3, 4, 4)
    found = saliency(lambda z: (slope * z).sum(), x, torch.zeros(1, 2, 3, 4, 4))
    torch.testing.assert_close(found, torch.full((2, 4, 4), 3.0))


def test_noise_is_averaged_before_the_absolute_value():
    x = torch.rand(1, 1, 2, 2)
    noise = torch.stack([torch.full_like(x, 0.5), torch.full_like(x, -0.5)])
    found = saliency(lambda z: (z - x).square().sum(), x, noise)  # +1 and -1: their mean is 0
    torch.testing.assert_close(found, torch.zeros(1, 2, 2))
    found = saliency(lambda z: z.pow(3).sum(), x, noise)  # mean of 3 (x ± 1/2)²
    torch.testing.assert_close(found, (3 * x.square() + 0.75)[:, 0])


def test_correlation_is_pearsons():
    a, b = torch.rand(3, 5, 5), torch.rand(3, 5, 5)
    pairs = torch.stack([a.flatten(1), b.flatten(1)], dim=1)
    truth = [torch.corrcoef(pair)[0, 1] for pair in pairs]
    torch.testing.assert_close(correlation(a, b).float(), torch.stack(truth))
    assert correlation(a, 2 * a + 1)[0].item() == pytest.approx(1)
    assert correlation(a, torch.ones(3, 5, 5)).isnan().all()
