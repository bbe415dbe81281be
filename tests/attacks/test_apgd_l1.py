"""Auto-PGD in L1 against a second program: one image at a time, with lists and loops."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import L1, apgd
from grace_geom.attacks.apgd_l1 import _adapt, _begin, ascend_l1
from grace_geom.attacks.balls import lengths
from grace_geom.attacks.losses import cross_entropy
from grace_geom.attacks.tracker import Hunt
from tests.attacks.conftest import Toy

EPS = 1.0


def reference(
    f: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, eps: float, n: int
) -> Tensor:
    """Croce & Hein 2021, Algorithm 1, with the authors' constants, one image: all its points."""
    d, ball, grad_f = x.numel(), L1(x[None], eps), torch.func.grad(f)

    def changed(z: Tensor) -> int:
        return int((z != x).sum())

    every, eta, share, before = max(int(0.04 * n), 1), eps, 0.2, d
    here, best, points = start, (f(start).item(), start), [start]
    for k in range(n):
        if k and k % every == 0:
            now = changed(best[1])
            share = now / d / 1.5
            if now / before < 0.95:
                eta, here = eps, best[1]
            else:
                eta = max(eta / 1.5, eps / 10)
            before = now
        grad = grad_f(here).flatten()
        order = grad.abs().argsort(descending=True)
        moved = order[: d - int(min(max((1 - share) * d, 0), d - 1))]
        step = torch.zeros(d, dtype=x.dtype)
        step[moved] = grad[moved].sign() / (len(moved) + 1e-10)
        here = ball.project_((here + eta * step.view_as(x))[None])[0]
        points.append(here)
        if (value := f(here).item()) > best[0]:
            best = value, here
    return torch.stack(points)


def test_every_image_climbs_as_by_itself(toy: Toy):
    x, y, steps = toy.x[:4], toy.y[:4], 60
    start = L1(x, EPS).start(torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
    seen: list[Tensor] = []
    model = lambda z: (seen.append(z.detach().clone()), toy.model(z))[1]  # noqa: E731
    hunt = Hunt(model, x, y, until_fooled=False)
    ascend_l1(hunt, hunt.rows(), start, L1(x, EPS), lambda rows: cross_entropy, steps)
    for i in range(len(x)):

        def loss(z: Tensor, i: int = i) -> Tensor:
            return torch.nn.functional.cross_entropy(toy.model(z[None]), y[i : i + 1])

        points = reference(loss, x[i], start[i], EPS, steps)
        torch.testing.assert_close(torch.stack(seen)[:, i], points, rtol=0, atol=1e-9)


def test_a_linear_classifier_is_taken_to_its_largest_pixels():
    # Pixels of the largest weights go to the box until the radius is spent: 3 of them by 0.5.
    w = torch.randn(12, generator=torch.Generator().manual_seed(0))
    x = torch.full((2, 12), 0.5)

    def logits(z: Tensor) -> Tensor:
        return torch.stack([-(z @ w), z @ w], dim=1)

    found = apgd(
        logits, x, torch.zeros(2, dtype=torch.long), 1.5, steps=100, norm="l1", until_fooled=False
    )
    order = w.abs().argsort(descending=True)
    best = 0.5 * w[order[:3]].abs().sum()
    assert ((found.x_adv - x) @ w >= 0.99 * best).all()


def test_wide_first_counts_points_of_the_last_ball_alone(toy: Toy):
    seen: list[Tensor] = []

    def logits(z: Tensor) -> Tensor:
        seen.append(lengths(z.detach() - toy.x, "l1"))
        return toy.model(z)

    found = apgd(
        logits, toy.x, toy.y, EPS, steps=10, norm="l1", wide_first=True, until_fooled=False
    )
    sizes = torch.stack(seen).amax(1)
    assert len(sizes) == 3 + 10  # a start and its steps in each of three balls
    assert (sizes[4:8] <= 2 * EPS + 1e-9).all() and (sizes[8:] <= EPS + 1e-9).all()
    assert (sizes[:4] > 2 * EPS).all()
    assert (lengths(found.x_adv - toy.x, "l1") <= EPS + 1e-9).all()
    assert found.forwards == 13 * len(toy.y)


def test_a_step_shrinks_by_two_thirds_to_a_tenth_of_the_radius():
    """Croce & Hein 2021, Algorithm 1: eta = max(eta / 1.5, eps / 10) while the sparsity stays."""
    x = torch.full((2, 1, 3, 3), 0.5, dtype=torch.float64)
    ball, rows = L1(x, 2.0), torch.arange(2)
    hunt = Hunt(lambda z: z.flatten(1)[:, :2], x, torch.zeros(2, dtype=torch.long))
    run = _begin(hunt, rows, x + 0.1, ball, warm=False)  # every pixel is changed, and stays so
    sizes = []
    for _ in range(8):
        sizes.append(run.eta[0].item())
        _adapt(run, ball)
    powers = [2, 2 / 1.5, 2 / 1.5**2, 2 / 1.5**3, 2 / 1.5**4, 2 / 1.5**5]
    assert sizes == pytest.approx([*powers, 0.2, 0.2], rel=1e-12)
    run.x_max = torch.where(torch.arange(9).view(1, 1, 3, 3) < 4, run.x_max, x)
    _adapt(run, ball)  # sparser: the whole step again
    assert run.eta.tolist() == [2.0, 2.0]
