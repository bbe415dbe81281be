"""Only pixels in [0, 1] are attacked: anything else would move by far more than eps."""

import math

import pytest
import torch

from grace_geom.attacks import (
    AttackSpec,
    apgd,
    cw,
    fab,
    fab_t,
    pgd,
    pgd_attack,
    pgd_until,
    run,
    square,
)
from grace_geom.errors import UserError


def pictures(n: int = 6) -> torch.Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(3))


NOT_PIXELS = {
    "uint8": lambda x: (x * 255).byte(),
    "bool": lambda x: x > 0.5,
    "long": lambda x: (x * 255).long(),
    "0 to 255": lambda x: x * 255,
    "0 to 255 in half": lambda x: (x * 255).half(),
    "0 to 2": lambda x: x * 2,
    "-1 to 1": lambda x: x * 2 - 1,
    "mean/std": lambda x: (x - 0.45) / 0.26,
    "one pixel above": lambda x: x.index_fill(3, torch.tensor([2]), 1.01),
    "one pixel below": lambda x: x.index_fill(3, torch.tensor([2]), -0.01),
    "NaN": lambda x: x.index_fill(3, torch.tensor([2]), math.nan),
    "infinite": lambda x: x.index_fill(3, torch.tensor([2]), math.inf),
}
DOORS = {
    "run": lambda f, x, y: run(AttackSpec("pgd", 4 / 255, steps=2), f, x, y),
    "run on the device of x": lambda f, x, y: run(
        AttackSpec("autoattack", 4 / 255, steps=2, queries=3), f, x, y, batch_size=2
    ),
    "pgd_attack": lambda f, x, y: pgd_attack(f, x, y, 4 / 255, steps=2),
    "apgd": lambda f, x, y: apgd(f, x, y, 4 / 255, steps=2),
    "apgd l2": lambda f, x, y: apgd(f, x, y, 4 / 255, steps=2, norm="l2"),
    "apgd l1": lambda f, x, y: apgd(f, x, y, 4 / 255, steps=2, norm="l1"),
    "cw": lambda f, x, y: cw(f, x, y, 4 / 255, steps=2, searches=2),
    "fab": lambda f, x, y: fab(f, x, y, 4 / 255, steps=2, restarts=1, norm="l2"),
    "square l1": lambda f, x, y: square(f, x, y, 4 / 255, queries=3, norm="l1"),
    "fab_t": lambda f, x, y: fab_t(f, x, y, 4 / 255, steps=2),
    "square": lambda f, x, y: square(f, x, y, 4 / 255, queries=3),
    "pgd": lambda f, x, y: pgd(
        lambda z: f(z).sum(1), x, 4 / 255, 1 / 255, 2, torch.Generator().manual_seed(0)
    ),
    "pgd without steps": lambda f, x, y: pgd(
        lambda z: f(z).sum(1), x, 4 / 255, 1 / 255, 0, random_start=False
    ),
    "pgd_until": lambda f, x, y: pgd_until(
        lambda z, rows: f(z).sum(1), x, 4 / 255, 1 / 255, 2, math.inf,
        torch.Generator().manual_seed(0),
    ),
}  # fmt: skip


def linear(x: torch.Tensor) -> torch.Tensor:
    M = torch.randn(5, 48, generator=torch.Generator().manual_seed(4))
    return x.flatten(1).float() @ M.T


INTEGERS = ("uint8", "bool", "long")
KINDS = [pytest.param(k, marks=[pytest.mark.untyped] * (k in INTEGERS)) for k in NOT_PIXELS]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_not_pixels_are_refused_at_every_door(door, kind):
    x = NOT_PIXELS[kind](pictures())
    with pytest.raises(UserError, match="images"):
        DOORS[door](linear, x, torch.zeros(6, dtype=torch.long))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_pixels_that_rounding_moved_out_of_the_box_are_taken(door, dtype):
    mean, std = 0.48145466, 0.26862954
    x = pictures().index_fill(3, torch.tensor([1]), 1.0).index_fill(3, torch.tensor([2]), 0.0)
    x = ((x.to(dtype) - mean) / std) * std + mean  # a loader's normalisation, undone
    DOORS[door](linear, x, torch.zeros(6, dtype=torch.long))
