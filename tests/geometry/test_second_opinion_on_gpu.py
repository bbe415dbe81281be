"""PyHessian says "cuda" and means the current GPU: that of the analysis, whichever was named."""

import pytest
import torch
from torch.nn import functional as F

from grace_geom.devices import pick_device
from grace_geom.geometry.second_opinion import PyHessian
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch


def test_the_second_opinion_is_taken_on_the_gpu_that_was_named(monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    real = torch.random.fork_rng

    def fork(devices=None, **more):
        asked.append(devices)
        return real([], **more)

    monkeypatch.setattr(torch.random, "fork_rng", fork)
    with pretended_gpu(count=2) as seen:
        device = pick_device("cuda:1")
        batch = toy_batch(6).to(device)
        W = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).to(device)

        def outputs(weights, b):
            return b.images.mean((2, 3)) @ weights["W"]

        second = PyHessian(outputs, lambda z, b: F.cross_entropy(z, b.labels), {"W": W}, [batch])
        assert second.eigenvalues(1)[0] > 0 and not seen.mixed
    assert asked == [[torch.device("cuda:1")]], "no other GPU is touched"
