"""FAB against the closed form of a linear classifier, in every norm."""

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import apgd, fab, fab_t
from grace_geom.attacks.balls import lengths
from tests.attacks.conftest import Toy

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}


def linear(
    norm: str = "linf", classes: int = 5, side: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W, x (near grey, so that the box does not matter), y and the distance of each image to the
    nearest border.
    """
    g = torch.Generator().manual_seed(0)
    W = torch.randn(classes, 3 * side * side, generator=g, dtype=torch.float64)
    x = 0.5 + 0.05 * torch.randn(40, 3, side, side, generator=g, dtype=torch.float64)
    z = (x - 0.5).flatten(1) @ W.T
    y = z.argmax(1)
    gaps = z.gather(1, y[:, None]) - z
    slopes = (W[y][:, None] - W[None]).flatten(0, 1)
    distance = gaps / lengths(slopes, DUAL[norm]).view(40, classes)
    distance[torch.arange(40), y] = torch.inf
    return W, x, y, distance.amin(1)


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("attack", [fab_t, fab])
@pytest.mark.parametrize("share", [0.98, 1.02])
def test_a_linear_classifier_falls_just_beyond_its_closed_form_distance(norm, attack, share):
    W, x, y, distance = linear(norm)
    few = (distance < (0.1 if norm == "linf" else 0.3)).nonzero()[:, 0]  # the box is 0.3 away
    assert len(few) >= 8

    def logits(z: Tensor) -> Tensor:
        return (z - 0.5).flatten(1) @ W.T

    for i in few[:3].tolist():  # every image at a radius of its own
        eps = share * distance[i].item()
        found = attack(logits, x[i : i + 1], y[i : i + 1], eps, steps=15, norm=norm)
        assert found.robust.item() == (share < 1)
        assert lengths(found.x_adv - x[i : i + 1], norm) <= eps + 1e-12


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


def test_going_to_the_nearest_border_costs_a_backward_a_class_and_no_forward(toy: Toy):
    found = fab(toy.model, toy.x, toy.y, 0.0, steps=5, restarts=2, until_fooled=False)
    assert found.forwards == len(toy.y) * 2 * 5 * 2


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("attack", [fab_t, fab])
def test_a_restart_begins_elsewhere_and_depends_on_the_seed(toy: Toy, norm: str, attack):
    eps = {"linf": 0.2, "l2": 1.0, "l1": 5.0}[norm]
    some = {"steps": 2, "restarts": 2, "until_fooled": False, "norm": norm}
    one, again, other = (
        attack(toy.model, toy.x, toy.y, eps, seed=s, **some).x_adv for s in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
