"""Balls: every point an attack can reach is inside, whatever the images."""

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from grace_geom.attacks.balls import BALLS, L1, L2, Linf, ball_named, check_eps, lengths, shrunk

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
        n = x[0].numel()
        rounding = (n if norm == "l1" else math.sqrt(n)) * ULP
        moved = lengths((point - x).double(), norm)
        assert (moved <= eps * (1 + 8 * ULP) + rounding).all()


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


def test_lengths_are_numpys():
    delta = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for norm, order in (("linf", np.inf), ("l2", 2), ("l1", 1)):
        expected = np.linalg.norm(delta.reshape(4, -1).numpy(), ord=order, axis=1)
        np.testing.assert_allclose(lengths(delta, norm).numpy(), expected)


def nearest_by_bisection(x: np.ndarray, far: np.ndarray, eps: float) -> np.ndarray:
    """One image: the Lagrangian's minimum is each pixel by itself, and t follows by halving."""
    move = far - x
    reach = np.where(move > 0, 1 - x, x)

    def kept(t: float) -> np.ndarray:
        return np.clip(np.abs(move) - t, 0, reach)

    low, high = 0.0, np.abs(move).max()
    if kept(0).sum() <= eps:
        return x + np.sign(move) * kept(0)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle).sum() > eps else (low, middle)
    return x + np.sign(move) * kept(high)


@pytest.mark.parametrize("seed", range(12))
def test_l1_projection_is_the_nearest_point_of_ball_and_box(seed: int):
    x, eps, far = random_case(seed, torch.float64)
    ours = L1(x, eps).project_(far.clone()).flatten(1).numpy()
    pairs = zip(x.flatten(1).numpy(), far.flatten(1).numpy(), strict=True)
    expected = np.stack([nearest_by_bisection(a, b, eps) for a, b in pairs])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)
    # And no other point of the set is nearer, whatever the formula: the set is convex.
    g = np.random.default_rng(seed)
    for _ in range(5):
        other = L1(x, eps).project_(torch.tensor(g.uniform(-1, 2, far.shape))).flatten(1).numpy()
        gap = ((ours - other) * (far.flatten(1).numpy() - ours)).sum(1)
        assert (gap >= -1e-9 * max(1, np.abs(far.numpy()).max())).all()


def test_l1_projection_of_many_equal_moves():  # every end of a piece at one place
    x = torch.full((2, 40), 0.5, dtype=torch.float64)
    far = L1(x, 2.0).project_(x + 0.4)
    torch.testing.assert_close(far, torch.full_like(x, 0.55), rtol=0, atol=1e-12)
    torch.testing.assert_close(L1(x, 0.0).project_(x + 0.4), x, rtol=0, atol=1e-15)
    assert (L1(x, 100.0).project_(x + 3.0) == 1).all()


def test_l1_directions_have_sum_one_and_move_a_hundredth_of_the_pixels():
    grad = torch.randn(5, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    direction = L1(torch.full_like(grad, 0.5), 1.0).direction(grad)
    assert ((direction != 0).flatten(1).sum(1) == 3).all()
    torch.testing.assert_close(lengths(direction, "l1"), torch.ones(5))
    largest = grad.flatten(1).abs().topk(3).values[:, -1:]
    assert ((direction.flatten(1) != 0) == (grad.flatten(1).abs() >= largest)).all()
    assert (direction * grad >= 0).all()
    assert not L1(grad.clamp(0, 1), 1.0).direction(torch.zeros_like(grad)).any()


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
    for ball, told in (
        (Linf, "such as 4/255); got -127.5/255."),
        (L2, "such as 0.5); got -0.5 (l2)."),
        (L1, "such as 0.5); got -0.5 (l1)."),
    ):
        with pytest.raises(ValueError, match=re.escape(told)):
            ball(torch.zeros(1, 3), -0.5)
    with pytest.raises(ValueError, match="linf, l2"):
        ball_named("l7")


def test_a_radius_of_most_of_the_range_is_warned_about():
    assert "4/255" in (check_eps(0.75) or "")
    assert check_eps(4 / 255) is None
    assert check_eps(0.3) is None  # MNIST's usual radius
    assert check_eps(3.0, norm="l2") is None
    assert "0.5 to 3" in (check_eps(4 / 255, norm="l2") or "")
    assert "12 to 75" in (check_eps(4 / 255, norm="l1") or "")


def test_the_l1_projection_of_an_image_is_the_same_in_every_batch():
    g = torch.Generator().manual_seed(0)
    size = torch.rand(24, 300, generator=g) ** 8 * torch.linspace(0.1, 4, 24)[:, None]
    room = torch.rand(24, 300, generator=g)
    size[::3] = size[::3].round(decimals=1)  # many equal moves, whose pieces are flat
    whole = shrunk(size, room, 3.0)
    alone = torch.cat([shrunk(size[i : i + 1], room[i : i + 1], 3.0) for i in range(24)])
    assert torch.equal(whole, alone)
    assert (whole.sum(1) <= 3.0 * (1 + 1e-6)).all()
