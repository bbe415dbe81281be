"""Targeted FAB against a linear program, and against the closed form of a linear classifier."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from grace_geom.attacks import apgd, fab_t
from grace_geom.attacks.fab import to_hyperplane
from tests.attacks.conftest import Toy


def by_linear_program(x: np.ndarray, w: np.ndarray, rise: float) -> float | None:
    """min t with -t <= d <= t, 0 <= x + d <= 1, <w, d> = rise; ``None`` where there is no such
    d."""
    n = len(x)
    within = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
    found = linprog(
        np.eye(n + 1)[n],
        A_ub=within,
        b_ub=np.zeros(2 * n),
        A_eq=np.append(w, 0)[None],
        b_eq=[rise],
        bounds=[(-a, 1 - a) for a in x] + [(0, None)],
    )
    return float(found.x[-1]) if found.success else None


def test_the_projection_is_the_linear_programs():
    rng = np.random.default_rng(0)
    x, w = rng.random((60, 7)), rng.standard_normal((60, 7))
    x[:20] = x[:20].round()  # many pixels at the box already: no room on one side
    w[:, 0] *= rng.random(60) < 0.5  # and some that do not matter
    rise = rng.standard_normal(60) * rng.choice([0.1, 1.0, 3.0], 60)
    d = to_hyperplane(torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(rise)).numpy()
    assert ((x + d >= -1e-12) & (x + d <= 1 + 1e-12)).all()
    missed = 0
    for i in range(60):
        t = by_linear_program(x[i], w[i], rise[i])
        if t is not None:
            assert w[i] @ d[i] == pytest.approx(rise[i], abs=1e-9) and np.abs(
                d[i]
            ).max() == pytest.approx(t, abs=1e-7)
        else:  # the corner that comes nearest
            missed += 1
            corner = np.where(w[i] * rise[i] > 0, 1.0, 0.0)
            np.testing.assert_allclose((x[i] + d[i])[w[i] != 0], corner[w[i] != 0], atol=1e-12)
    assert 5 < missed < 40


def test_nothing_moves_along_a_normal_of_zero():
    x = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not to_hyperplane(x, torch.zeros_like(x), torch.ones(3, dtype=torch.float64)).any()


def linear(classes: int = 5, side: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W, x (near grey, so that the box does not matter), y and the distance of each image to the
    nearest border.
    """
    g = torch.Generator().manual_seed(0)
    W = torch.randn(classes, 3 * side * side, generator=g, dtype=torch.float64)
    x = 0.5 + 0.05 * torch.randn(40, 3, side, side, generator=g, dtype=torch.float64)
    z = (x - 0.5).flatten(1) @ W.T
    y = z.argmax(1)
    gaps = z.gather(1, y[:, None]) - z
    distance = gaps / (W[y][:, None] - W[None]).abs().sum(2)
    distance[torch.arange(40), y] = torch.inf
    return W, x, y, distance.amin(1)


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_a_linear_classifier_falls_just_beyond_its_closed_form_distance(share: float):
    W, x, y, distance = linear()
    assert (distance < 0.1).all(), "the box is 0.3 away"

    def logits(z: Tensor) -> Tensor:
        return (z - 0.5).flatten(1) @ W.T

    for i in range(0, 40, 4):  # every image at a radius of its own
        eps = share * distance[i].item()
        found = fab_t(logits, x[i : i + 1], y[i : i + 1], eps, steps=30)
        assert found.robust.item() == (share < 1)
        assert (found.x_adv - x[i : i + 1]).abs().max() <= eps


def test_finds_what_auto_pgd_finds_on_a_small_network(toy: Toy):
    right = toy.model(toy.x).argmax(1) == toy.y
    for eps in (0.03, 0.05):
        theirs = apgd(toy.model, toy.x, toy.y, eps, steps=100, loss="dlr-targeted").robust & right
        ours = fab_t(toy.model, toy.x, toy.y, eps, steps=100).robust & right
        assert (ours != theirs).sum() <= 1
        assert 0 < ours.sum() < right.sum()


def test_cost_stays_within_what_is_said(toy: Toy):
    found = fab_t(toy.model, toy.x, toy.y, 0.0, steps=5, restarts=2, until_fooled=False)
    assert found.forwards == len(toy.y) * (
        1 + 4 * 2 * 5 * 2
    )  # ranking; targets, restarts, steps, forwards a step
    still = toy.model(toy.x).argmax(1) == toy.y
    assert torch.equal(found.robust | ~still, torch.ones_like(still)), (
        "no point but the image is within 0"
    )


def test_a_restart_begins_elsewhere_and_depends_on_the_seed(toy: Toy):
    one, again, other = (
        fab_t(toy.model, toy.x, toy.y, 0.2, steps=2, restarts=2, seed=s, until_fooled=False).x_adv
        for s in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
