"""Every attack in every norm: inside the ball and the box, and honest about who was fooled."""

import dataclasses

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import BALLS, SUITES, AttackSpec, run
from grace_geom.attacks.balls import lengths
from grace_geom.errors import UserError
from tests.attacks.conftest import Toy, make_toy

RADII = {"linf": 0.05, "l2": 0.3, "l1": 1.2}
SINGLE = [name for name, parts in SUITES.items() if len(parts) == 1]
PAIRS = [(name, norm) for name in SINGLE for norm in BALLS if name != "cw" or norm == "l2"]


@pytest.mark.parametrize(("name", "norm"), PAIRS)
def test_stays_in_the_ball_and_tells_the_truth(toy: Toy, name: str, norm: str):
    eps, queries = RADII[norm], 100 if name == "square" else 5000
    spec = AttackSpec(name, eps, norm, steps=8, queries=queries, precision="float64")
    found = run(spec, toy.model, toy.x, toy.y)
    assert found.x_adv is not None
    assert (lengths(found.x_adv - toy.x, norm) <= eps * (1 + 1e-9)).all()
    assert ((found.x_adv >= 0) & (found.x_adv <= 1)).all()
    assert torch.equal(toy.model(found.x_adv).argmax(1) == toy.y, found.robust)
    assert found.robust.sum() < found.correct.sum()


@pytest.mark.parametrize("norm", BALLS)
def test_stays_in_the_ball_in_float32(norm: str):
    toy = make_toy(dtype=torch.float32)
    spec = AttackSpec("autoattack", RADII[norm] / 2, norm, steps=5, queries=20)
    found = run(spec, toy.model, toy.x, toy.y)
    assert found.x_adv is not None
    assert (lengths((found.x_adv - toy.x).double(), norm) <= spec.eps * (1 + 1e-5)).all()


def linear(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of two opposed logits on grey images that are class 0 by a margin of 1."""
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(3, 6, 6, generator=g, dtype=torch.float64)
    return w, torch.full((2, 3, 6, 6), 0.5, dtype=torch.float64), torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_on_a_linear_classifier_is_the_dual_norm(norm: str):
    w, x, y = linear()

    def logits(z: Tensor) -> Tensor:
        score = ((z - x) * w).flatten(1).sum(1)
        return torch.stack([torch.ones_like(score), score], dim=1)

    dual = w.abs().sum() if norm == "linf" else w.norm()
    for share in (0.99, 1.01):
        spec = AttackSpec("fgsm", share / dual.item(), norm, precision="float64")
        assert run(spec, logits, x, y).robust.tolist() == [share < 1] * 2


@pytest.mark.parametrize("share", [0.97, 1.05])
def test_cw_finds_the_closed_form_distance_of_a_linear_classifier(share: float):
    w, x, y = linear()

    def logits(z: Tensor) -> Tensor:
        score = ((z - x) * w).flatten(1).sum(1)
        return torch.stack([torch.ones_like(score), score], dim=1)

    spec = AttackSpec("cw", share / w.norm().item(), "l2", steps=60, precision="float64")
    assert run(spec, logits, x, y).robust.tolist() == [share < 1] * 2


def test_cw_moves_pixels_that_lie_at_the_ends_of_the_box():
    w, _, y = linear()
    x = (w < 0).to(w).expand(len(y), *w.shape)  # 0 and 1, each at the end that it can leave

    def logits(z: Tensor) -> Tensor:
        score = ((z - x) * w).flatten(1).sum(1)
        return torch.stack([torch.ones_like(score), score], dim=1)

    spec = AttackSpec("cw", 1.05 / w.norm().item(), "l2", precision="float64")
    assert not run(spec, logits, x, y).robust.any()


def test_a_random_classifier_falls_only_where_its_point_fools_twice(toy: Toy):
    g = torch.Generator().manual_seed(0)
    calls: list[int] = []

    def lucky(z: Tensor) -> Tensor:  # right by far, but a coin makes it wrong now and then
        calls.append(len(z))
        coin = torch.rand(len(z), generator=g, dtype=z.dtype) < 0.1
        logits = 9.0 * torch.nn.functional.one_hot(toy.y[: len(z)], 5).to(z) + 0 * z.sum()
        return torch.where(coin[:, None], logits.roll(1, 1), logits)

    y = toy.y
    found = run(AttackSpec("autoattack-rand", 0.05, steps=4, precision="float64"), lucky, toy.x, y)
    # Of 105 looks at each image about ten were wrong; one more look is wrong for a tenth of them.
    assert found.parts[0].attacked - found.parts[0].robust <= 12
    assert found.parts[0].forwards == found.parts[0].attacked * (20 * 5 + 1)


def test_the_mean_of_many_draws_is_the_gradient_that_is_climbed(toy: Toy):
    """For a deterministic model, twenty draws change nothing but the cost."""
    one, many = (
        run(
            AttackSpec("apgd-ce", 0.03, steps=6, draws=n, precision="float64"),
            toy.model, toy.x, toy.y,
        )
        for n in (1, 20)
    )  # fmt: skip
    assert torch.equal(one.robust, many.robust)
    assert many.parts[0].forwards > 20 * one.parts[0].forwards


def test_suites_have_the_parts_of_the_authors_versions():
    def parts(name: str, norm: str = "linf") -> list[tuple[object, ...]]:
        found = AttackSpec(name, 0.5, norm).settings(0, 100)["parts"]
        keys = ("name", "restarts", "targets", "draws", "radii")
        return [tuple(part[k] for k in keys if k in part) for part in found]

    assert parts("autoattack", "l2") == parts("autoattack")
    assert parts("autoattack", "l1") == [
        ("apgd-ce", 5, [3, 2, 1]),
        ("apgd-t", 1, 5, [3, 2, 1]),
        ("fab-t", 1, 9),
        ("square",),
    ]
    assert parts("autoattack-plus", "l2") == [
        ("apgd-ce", 5),
        ("apgd-dlr", 5),
        ("fab", 5),
        ("square",),
        ("apgd-t", 1, 9),
        ("fab-t", 1, 9),
    ]
    assert parts("autoattack-rand") == [("apgd-ce", 1, 20), ("apgd-dlr", 1, 20)]
    assert parts("robustvlm") == [("apgd-ce", 5), ("apgd-t", 1, 9)]
    assert [AttackSpec(n).schedule for n in ("autoattack-plus", "square")] == [
        "standard",
        "stretched",
    ]


def test_what_only_some_attacks_have_is_not_in_the_identity_of_others():
    for name in ("pgd", "apgd-ce", "apgd", "fab-t", "square", "autoattack"):
        for part in AttackSpec(name).settings(0, 10)["parts"]:
            assert not {"draws", "radii", "searches"} & set(part)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"name": "cw"}, "--norm l2, or take pgd-cw"),
        ({"name": "pgd", "alpha": 0.0}, "alpha must be a number > 0"),
        ({"norm": "l0"}, "did you mean"),
        ({"draws": 0}, "at least 1"),
    ],
)
def test_a_mistake_with_norms_is_answered(changes: dict[str, object], answer: str):
    with pytest.raises(UserError, match=answer):
        dataclasses.replace(AttackSpec(), **changes)
