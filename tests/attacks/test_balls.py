"""Balls: every point an attack can reach is inside, whatever the images."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from grace_geom.attacks.balls import BALLS, L2, Linf, ball_named, check_eps

ULP = 2.0**-23


def random_case(seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, float, Tensor]:
    """Images (with pixels exactly at 0 and 1), a radius from tiny to absurd, and points
    anywhere."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), *rng.integers(1, 7, size=int(rng.integers(1, 4))).tolist())
    x = np.clip(rng.uniform(-0.3, 1.3, shape), 0, 1)
    eps = float(10 ** rng.uniform(-4, 1))
    far = rng.normal(0.5, 10 ** rng.uniform(-2, 2), shape)
    return torch.tensor(x, dtype=dtype), eps, torch.tensor(far, dtype=dtype)


def distance(norm: str, delta: Tensor) -> Tensor:
    flat = delta.double().flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("seed", range(40))
def test_start_and_projection_are_in_the_ball_and_in_the_box(norm: str, seed: int):
    x, eps, far = random_case(seed)
    ball = BALLS[norm](x, eps)
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
    noise.view(-1)[0] = 0.0  # the end of [0, 1) that a draw can be
    for point in (ball.start(noise), ball.project_(far.clone())):
        assert point.isfinite().all()
        assert ((point >= 0) & (point <= 1)).all()
        assert (
            distance(norm, point - x) <= eps * (1 + 4 * ULP) + math.sqrt(x[0].numel()) * ULP
        ).all()


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("seed", range(10))
def test_projection_leaves_its_own_results_alone(norm: str, seed: int):
    x, eps, far = random_case(seed, torch.float64)
    ball = BALLS[norm](x, eps)
    once = ball.project_(far.clone())
    torch.testing.assert_close(ball.project_(once.clone()), once, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_linf_projection_is_numpys_nearest_point(seed: int):
    x, eps, far = random_case(seed, torch.float64)
    nearest = np.clip(np.clip(far.numpy(), x.numpy() - eps, x.numpy() + eps), 0, 1)
    np.testing.assert_allclose(Linf(x, eps).project_(far.clone()).numpy(), nearest, atol=1e-15)


def test_linf_start_is_uniform():
    x = torch.full((1, 100_000), 0.5)
    delta = Linf(x, 0.1).start(torch.rand(x.shape, generator=torch.Generator().manual_seed(0))) - x
    # A uniform on [-eps, eps] has variance eps^2 / 3; its sample variance a relative error sqrt(0.8
    # / n).
    assert delta.mean().abs() < 5 * 0.1 / math.sqrt(3 * 100_000)
    assert delta.var() == pytest.approx(0.1**2 / 3, rel=5 * math.sqrt(0.8 / 100_000))


def test_l2_start_is_on_the_sphere_and_directions_have_length_one():
    x = torch.full((7, 3, 8, 8), 0.5)
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        (L2(x, 0.2).start(noise) - x).flatten(1).norm(dim=1), torch.full((7,), 0.2)
    )
    direction = L2(x, 0.2).direction(noise * 1e-20)
    torch.testing.assert_close(direction.flatten(1).norm(dim=1), torch.ones(7))
    assert (L2(x, 0.2).direction(torch.zeros_like(x)) == 0).all()


@pytest.mark.parametrize("norm", BALLS)
def test_select_is_the_ball_of_the_selected_images(norm: str):
    x, eps, far = random_case(3)
    rows = torch.tensor([0])
    chosen = BALLS[norm](x, eps).select(rows).project_(far[rows].clone())
    torch.testing.assert_close(
        chosen, BALLS[norm](x, eps).project_(far.clone())[rows], rtol=0, atol=0
    )


@pytest.mark.untyped
def test_says_what_is_wrong_with_images_radius_or_norm():
    with pytest.raises(ValueError, match="Divide uint8 images by 255"):
        Linf(torch.zeros(1, 3, dtype=torch.uint8), 0.1)
    with pytest.raises(ValueError, match="finite number >= 0"):
        L2(torch.zeros(1, 3), math.nan)
    with pytest.raises(ValueError, match="linf, l2"):
        ball_named("l7")


def test_a_radius_of_most_of_the_range_is_warned_about():
    assert "4/255" in (check_eps(0.75) or "")
    assert check_eps(4 / 255) is None
    assert check_eps(0.3) is None  # MNIST's usual radius
    assert check_eps(3.0, norm="l2") is None
