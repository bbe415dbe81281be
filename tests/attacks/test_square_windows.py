"""Square Attack's windows: the bump is the paper's sum, and the moves keep their length."""

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import square
from grace_geom.attacks.balls import lengths
from grace_geom.attacks.losses import margin
from grace_geom.attacks.square_windows import bump, tiles
from tests.attacks.conftest import Toy


def by_squares(height: int, width: int, power: int) -> Tensor:
    """One half of the bump: flat squares laid on each other around the middle pixel."""
    half = torch.zeros(height, width, dtype=torch.float64)
    for k in range(max(height // 2, width // 2) + 1):
        top, left = max(height // 2 - k, 0), max(width // 2 - k, 0)
        half[top : height // 2 + k + 1, left : width // 2 + k + 1] += 1 / (k + 1) ** power
    return half


@pytest.mark.parametrize("side", [1, 2, 3, 7, 12])
@pytest.mark.parametrize(("order", "power"), [(2, 2), (1, 4)])
def test_a_bump_is_the_papers_sum(side: int, order: int, power: int):
    up, down = (by_squares(h, side, power) for h in (side // 2, side - side // 2))
    halves = [half / half.norm(p=order) for half in (up, -down) if len(half)]
    whole = torch.cat(halves)
    torch.testing.assert_close(bump(side, order), whole / whole.norm(p=order))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 5), (12, 12), (19, 19), (28, 28)])
def test_tiles_fit_and_do_not_overlap(height: int, width: int):
    covered = torch.zeros(height, width)
    for top, left, side in tiles(height, width):
        assert top + side <= height and left + side <= width
        covered[top : top + side, left : left + side] += 1
    assert covered.max() == 1 and covered.mean() > 0.5


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_more_queries_only_raise_the_margin_and_stay_in_the_ball(toy: Toy, norm: str):
    eps, seen = {"l2": 0.3, "l1": 1.0}[norm], []

    def logits(z: Tensor) -> Tensor:
        seen.append(margin(toy.model(z), toy.y))
        assert (lengths(z - toy.x, norm) <= eps * (1 + 1e-9)).all()
        return toy.model(z)

    found = square(logits, toy.x, toy.y, eps, queries=40, until_fooled=False, norm=norm)
    reached = margin(toy.model(found.x_adv), toy.y)
    torch.testing.assert_close(reached, torch.stack(seen).amax(0))
    assert (reached > seen[0]).double().mean() > 0.5


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_same_seed_same_search_whatever_the_batch(toy: Toy, norm: str):
    some = {"queries": 12, "seed": 4, "norm": norm}
    whole = square(toy.model, toy.x, toy.y, 0.3, **some)
    half = square(toy.model, toy.x[20:], toy.y[20:], 0.3, index=range(20, 40), **some)
    torch.testing.assert_close(half.x_adv, whole.x_adv[20:])
