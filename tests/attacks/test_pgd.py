"""PGD: the optimum where it is known, its cost, its determinism."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from grace_geom.attacks import L2, Ball, Linf, pgd, pgd_attack, pgd_until
from tests.attacks.conftest import Toy

EPS, ALPHA = 4 / 255, 1 / 255


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def summed_ce(toy: Toy) -> Callable[[Tensor], Tensor]:
    return lambda x: F.cross_entropy(toy.model(x), toy.y, reduction="sum")


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_linear_loss_is_climbed_to_its_corner(per_sample: bool):
    x = torch.rand(6, 3, 5, 5, generator=seeded(1))
    w = torch.randn(3, 5, 5, generator=seeded(2))

    def loss(z: Tensor) -> Tensor:
        values = (z * w).flatten(1).sum(1)
        return values if per_sample else values.sum()

    x_adv = pgd(loss, x, EPS, ALPHA, steps=10, generator=seeded())
    torch.testing.assert_close(x_adv, (x + EPS * w.sign()).clamp(0, 1), rtol=0, atol=1e-6)
    assert not x_adv.requires_grad


def test_a_linear_loss_in_the_l2_ball_is_climbed_to_its_pole():
    x = torch.full((2, 3, 4, 4), 0.5)
    w = torch.randn(3, 4, 4, generator=seeded(2))
    x_adv = pgd(lambda z: (z * w).sum(), x, 0.3, 0.2, steps=40, generator=seeded(), ball=L2)
    torch.testing.assert_close(x_adv, x + 0.3 * w / w.norm(), rtol=0, atol=1e-6)


def test_is_equation_19_written_out(toy: Toy):
    generator = seeded(3)
    z = toy.x + EPS * (2 * torch.rand(toy.x.shape, generator=generator, dtype=torch.float64) - 1)
    z = z.clip(toy.x - EPS, toy.x + EPS).clip(0, 1)
    for _ in range(5):
        g = torch.func.grad(summed_ce(toy))(z)
        z = (z + ALPHA * g.sign()).clip(toy.x - EPS, toy.x + EPS).clip(0, 1)
    found = pgd(summed_ce(toy), toy.x, EPS, ALPHA, steps=5, generator=seeded(3))
    torch.testing.assert_close(found, z, rtol=0, atol=1e-12)


class Products(TorchDispatchMode):
    """Counts matrix products, wherever they come from."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return func(*args, **(kwargs or {}))


def test_a_step_is_one_forward_and_one_backward_to_the_input():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.GELU(), nn.Linear(64, 5))
    x, calls = torch.rand(8, 3, 4, 4, generator=seeded()), []

    def loss(z: Tensor) -> Tensor:
        calls.append(len(z))
        return model(z).logsumexp(1).sum()

    with Products() as products:
        pgd(loss, x, EPS, ALPHA, steps=4, generator=seeded())
    assert products.count == 4 * (
        2 + 2
    )  # two layers forward, two back to the input; weight gradients would add two
    assert calls == [8] * 4
    assert all(weight.grad is None for weight in model.parameters())
    with Products() as products:
        loss(x).backward()
    assert (
        products.count == 2 + 1 + 2
    )  # what is counted: here x wants no gradient, and the weights do


@pytest.mark.parametrize("seed", range(10))
def test_stays_in_the_ball_and_in_the_box(seed: int):
    x = (torch.randint(0, 256, (4, 3, 6, 6), generator=seeded(seed)) / 255).float()
    w = torch.randn(3, 6, 6, generator=seeded(seed + 100))
    x_adv = pgd(
        lambda z: (w * z).flatten(1).sum(1).sin(),
        x,
        EPS,
        3 * ALPHA,
        steps=7,
        generator=seeded(seed),
    )
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert (x_adv - x).abs().max() <= EPS + 2.0**-23


def test_same_seed_same_bits_other_seed_other_point(toy: Toy):
    first, again, other = (
        pgd(summed_ce(toy), toy.x, EPS, ALPHA, 2, seeded(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_steps_or_random_start_nothing_moves(toy: Toy):
    still = pgd(summed_ce(toy), toy.x, EPS, ALPHA, steps=0, random_start=False)
    assert torch.equal(still, toy.x)
    assert still.data_ptr() != toy.x.data_ptr()  # a copy: the caller may change it


def test_works_where_gradients_are_off(toy: Toy):
    expected = pgd(summed_ce(toy), toy.x, EPS, ALPHA, 3, seeded())
    with torch.no_grad():
        assert torch.equal(pgd(summed_ce(toy), toy.x, EPS, ALPHA, 3, seeded()), expected)
    with torch.inference_mode():
        assert torch.equal(pgd(summed_ce(toy), toy.x.clone(), EPS, ALPHA, 3, seeded()), expected)


def test_a_nan_stops_it_with_the_step():
    calls = iter([1.0, 1.0, float("nan"), 1.0])
    with pytest.raises(RuntimeError, match="NaN at step 3 of 4"):
        pgd(lambda z: next(calls) * z.sum(), torch.rand(2, 3), EPS, ALPHA, 4, seeded())


def test_an_image_leaves_at_the_first_point_where_its_loss_is_above_the_bound():
    n, steps, stop, eps, alpha = 60, 5, 0.52, 0.1, 0.03
    generator, sizes = seeded(), []
    starts = 0.5 + eps * (2 * torch.rand(n, generator=seeded(), dtype=torch.float64).numpy() - 1)
    slopes = [1.0, -1.0, 0.0] * (
        n // 3
    )  # losses that rise with their one pixel, that fall with it, and that stay

    def loss(z: Tensor, rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        slope = torch.tensor(slopes, dtype=torch.float64)[rows]
        return slope * z.flatten() + 0.5 * (1 - slope)

    x = torch.full((n, 1, 1, 1), 0.5, dtype=torch.float64)
    x_adv, looks = pgd_until(loss, x, eps, alpha, steps, stop, generator)
    for start, slope, end, seen in zip(
        starts, slopes, x_adv.flatten().tolist(), looks.tolist(), strict=True
    ):
        way = [
            slope * (start - 0.5) + t * alpha * abs(slope) for t in range(steps)
        ]  # the loss above 0.5, unclamped
        first = next((t for t, height in enumerate(way) if min(height, eps) > stop - 0.5), steps)
        moved = min(slope * (start - 0.5) + first * alpha, eps)
        assert end == pytest.approx(start if slope == 0 else 0.5 + slope * moved, abs=1e-12)
        assert seen == min(first + 1, steps)
    assert set(looks.tolist()) == set(range(1, steps + 1))
    assert sizes == [
        int((looks > t).sum()) for t in range(steps)
    ]  # who has left costs nothing more


@pytest.mark.parametrize("ball", [Linf, L2])
def test_a_bound_that_is_never_reached_changes_no_bit(toy: Toy, ball: type[Ball]):
    def loss(z: Tensor, rows: Tensor) -> Tensor:
        return F.cross_entropy(toy.model(z), toy.y[rows], reduction="none")

    generator, again = seeded(4), seeded(4)
    plain = pgd(summed_ce(toy), toy.x, EPS, ALPHA, 4, generator, ball=ball)
    found, looks = pgd_until(loss, toy.x, EPS, ALPHA, 4, math.inf, again, ball=ball)
    assert torch.equal(found, plain) and torch.equal(generator.get_state(), again.get_state())
    assert looks.tolist() == [4] * len(toy.y)
    early, looks = pgd_until(
        loss, toy.x, EPS, ALPHA, 4, 0.0, seeded(4), ball=ball
    )  # every loss is above 0
    assert (
        torch.equal(early, pgd(summed_ce(toy), toy.x, EPS, ALPHA, 0, seeded(4), ball=ball))
        and (looks == 1).all()
    )


@pytest.mark.parametrize(("ball", "eps"), [(Linf, 0.05), (L2, 0.4)])
def test_where_an_image_ends_does_not_depend_on_its_company(toy: Toy, ball: type[Ball], eps: float):
    def until(stop: float, n: int) -> tuple[Tensor, Tensor]:
        def loss(z: Tensor, rows: Tensor) -> Tensor:
            return F.cross_entropy(toy.model(z), toy.y[rows], reduction="none")

        return pgd_until(loss, toy.x[:n], eps, 0.4 * eps, 6, stop, seeded(2), ball=ball)

    (all_, looks), (some, own) = until(0.7, 40), until(0.7, 13)
    assert len(set(looks.tolist())) > 1 and torch.equal(own, looks[:13])
    torch.testing.assert_close(some, all_[:13], rtol=0, atol=1e-12)


def test_a_nan_of_one_image_stops_an_attack_that_others_have_left():
    calls = iter([1.0, 1.0, float("nan"), 1.0])

    def loss(z: Tensor, rows: Tensor) -> Tensor:
        return next(calls) * z.flatten(1).sum(1) + 100.0 * (rows == 0)

    with pytest.raises(RuntimeError, match="NaN at step 3 of"):
        pgd_until(loss, torch.rand(2, 3), EPS, ALPHA, 4, 50.0, seeded())


def test_a_random_start_needs_a_generator():
    with pytest.raises(ValueError, match=r"torch\.Generator"):
        pgd(lambda z: z.sum(), torch.rand(2, 3), EPS, ALPHA, 4)


def test_as_an_evaluation_it_leaves_the_fooled_alone_and_finds_the_same(toy: Toy):
    stopped = pgd_attack(toy.model, toy.x, toy.y, 0.05, steps=8, restarts=2)
    on = pgd_attack(toy.model, toy.x, toy.y, 0.05, steps=8, restarts=2, until_fooled=False)
    assert torch.equal(stopped.robust, on.robust)
    assert 0 < stopped.robust.sum() < len(toy.y)
    assert stopped.forwards < on.forwards == 2 * 9 * len(toy.y)
    assert torch.equal(toy.model(stopped.x_adv).argmax(1) == toy.y, stopped.robust)


def test_more_restarts_never_find_less(toy: Toy):
    one, five = (
        pgd_attack(toy.model, toy.x, toy.y, 0.04, steps=3, restarts=r).robust for r in (1, 5)
    )
    assert (five <= one).all()
