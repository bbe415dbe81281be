"""Square Attack: inside the ball, monotone, and right where gradients mislead."""

import importlib

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import AttackSpec, pgd_attack, square
from grace_geom.attacks.losses import margin
from grace_geom.attacks.square import _side
from grace_geom.errors import UserError
from tests.attacks.conftest import Toy

EPS = 0.05
square_module = importlib.import_module("grace_geom.attacks.square")  # the name is the function's


def test_stays_in_the_ball_and_tells_the_truth(toy: Toy):
    found = square(toy.model, toy.x, toy.y, EPS, queries=60)
    assert (found.x_adv - toy.x).abs().max() <= EPS + 1e-12
    assert ((found.x_adv >= 0) & (found.x_adv <= 1)).all()
    assert torch.equal(toy.model(found.x_adv).argmax(1) == toy.y, found.robust)
    assert 0 < found.robust.sum() < len(toy.y)


def test_more_queries_only_raise_the_margin(toy: Toy):
    # The schedule of sizes depends on the budget, so the same budget is looked at after 1, 2, ...
    # queries.
    seen: list[Tensor] = []

    def logits(z: Tensor) -> Tensor:
        seen.append(margin(toy.model(z), toy.y))
        return toy.model(z)

    found = square(logits, toy.x, toy.y, EPS, queries=40, until_fooled=False)
    assert found.forwards == 40 * len(toy.y)
    torch.testing.assert_close(margin(toy.model(found.x_adv), toy.y), torch.stack(seen).amax(0))
    assert (
        margin(toy.model(found.x_adv), toy.y) > seen[0]
    ).double().mean() > 0.5  # the search beats its start


def test_finds_what_masked_gradients_hide(toy: Toy):
    def masked(z: Tensor) -> Tensor:
        return toy.model(
            (z * 1000).round() / 1000 + 0 * z
        )  # the right answers, with a gradient of zero

    assert (
        square(masked, toy.x, toy.y, EPS, queries=200).robust.sum()
        < pgd_attack(masked, toy.x, toy.y, EPS, steps=5).robust.sum()
    )


def test_a_linear_classifier_is_taken_to_its_corner():
    # One pixel a square at the end: every pixel can be set to its better side.
    x = torch.full((2, 1, 3, 3), 0.5)
    w = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))

    def logits(z: Tensor) -> Tensor:
        score = (z * w).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)

    found = square(
        logits, x, torch.zeros(2, dtype=torch.long), EPS, queries=300, until_fooled=False
    )
    torch.testing.assert_close(found.x_adv, x + EPS * w.sign())


def test_same_seed_same_search_whatever_the_batch(toy: Toy):
    whole = square(toy.model, toy.x, toy.y, EPS, queries=30, seed=4)
    half = square(toy.model, toy.x[20:], toy.y[20:], EPS, queries=30, seed=4, index=range(20, 40))
    assert torch.equal(half.robust, whole.robust[20:])
    torch.testing.assert_close(half.x_adv, whole.x_adv[20:])


@pytest.mark.parametrize(
    ("query", "share"), [(0, 0.8), (11, 0.4), (51, 0.2), (999, 0.05), (9000, 0.8 / 512)]
)
def test_squares_shrink_by_the_papers_schedule(query: int, share: float):
    side = _side(query, 10_000, 0.8, 224, 224)
    assert abs(side - 224 * share**0.5) <= 0.5
    assert _side(9999, 10_000, 0.8, 8, 8) == 1
    assert _side(0, 10_000, 1.0, 4, 9) == 4  # no larger than the image


def test_standard_is_the_schedule_of_ten_thousand_queries_cut_off(monkeypatch):
    sides = []
    real = square_module._with_square

    def noted(best, ball, draws, side, eps):
        sides.append(side)
        return real(best, ball, draws, side, eps)

    monkeypatch.setattr(square_module, "_with_square", noted)
    x, y = torch.full((1, 1, 32, 32), 0.5), torch.zeros(1, dtype=torch.long)
    logits = lambda x: torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1)], 1)  # noqa: E731
    ends = {}
    for schedule in ("standard", "stretched"):
        sides.clear()
        square(logits, x, y, EPS, queries=5000, schedule=schedule)
        ends[schedule] = sides[9], sides[-1]
    # Squares of 0.8 of 1024 pixels are halved after 10 of 10,000 queries, 5 where stretched.
    # The last ones cover p/128, 2.5 pixels a side, and p/512, 1.3.
    assert ends == {"standard": (29, 3), "stretched": (20, 1)}


def test_autoattack_takes_autoattacks_schedule_and_says_so():
    def recorded(name: str, **options: object) -> str:
        return AttackSpec(name, EPS, **options).settings(0, 10)["parts"][-1]["schedule"]

    assert recorded("autoattack") == recorded("square", square_schedule="standard") == "standard"
    assert recorded("square") == recorded("autoattack", square_schedule="stretched") == "stretched"
    with pytest.raises(UserError, match="square_schedule"):
        AttackSpec("autoattack", EPS, square_schedule="theirs")
