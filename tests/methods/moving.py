"""Runs of the toy model away from where they began, and the terms of their loss."""

from dataclasses import replace

import torch

from grace_geom.batch import Batch
from tests.toys import toy_batch, toy_clip, toy_run


def in_double(n: int = 5) -> tuple[Batch, torch.nn.Module]:
    batch = toy_batch(n)
    return replace(batch, images=batch.images.double()), toy_clip().double()


def moved(method, model=None, steps: int = 2):
    """A run whose weights are no longer the pretrained ones."""
    run = toy_run(method, model)
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in run.params.values():
            p.add_(0.05 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return run


def terms_of(method, run, batch):
    return method.losses(run, method.weights(run.model, run.params), batch).terms
