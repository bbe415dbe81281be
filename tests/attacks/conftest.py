"""Small classifiers under attack, in double precision so that two programs can be compared digit by
digit.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn


@dataclass
class Toy:
    """A classifier, and images it was trained on to more than chance."""

    model: nn.Module
    x: Tensor
    y: Tensor


def make_toy(classes: int = 5, n: int = 40, dtype: torch.dtype = torch.float64) -> Toy:
    """A small smooth network fitted to noisy prototypes: near-right answers with small margins."""
    generator = torch.Generator().manual_seed(0)
    prototypes = 0.4 + 0.2 * torch.rand(classes, 3, 4, 4, generator=generator)
    y = torch.arange(n) % classes
    x = (prototypes[y] + 0.1 * torch.randn(n, 3, 4, 4, generator=generator)).clamp(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.GELU(), nn.Linear(32, classes))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return Toy(model.to(dtype).eval(), x.to(dtype), y)


@pytest.fixture(scope="session")
def toy() -> Toy:
    return make_toy()
