"""Attacks that look late, as on a GPU, find what those find that look at once, as on a CPU."""

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import AttackSpec, apgd, pgd_attack, pgd_until, run
from grace_geom.attacks.looks import LAG, LOOKS, AtOnce, Later, looks_on
from grace_geom.errors import NotFiniteError, PixelError
from tests.attacks.conftest import Toy

RADII = {"linf": 0.05, "l2": 0.4, "l1": 3.0}
EVERY = ("fgsm", "pgd", "pgd-cw", "apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
CASES = [(name, norm) for norm in RADII for name in EVERY] + [("cw", "l2"), ("autoattack", "l1")]


@pytest.fixture
def late(monkeypatch):
    """A switch: from then on a CPU is looked at as a GPU is."""
    return lambda: monkeypatch.setitem(LOOKS, "cpu", Later)


def found(toy: Toy, name: str, norm: str):
    steps = None if name == "fgsm" else 40 if name == "cw" else 12
    spec = AttackSpec(name, RADII[norm], norm=norm, steps=steps, queries=40, precision="float64")
    return run(spec, toy.model, toy.x, toy.y, seed=1)


@pytest.mark.parametrize("name, norm", CASES)
def test_late_looks_change_the_cost_alone(toy: Toy, late, name: str, norm: str):
    at_once = found(toy, name, norm)
    late()
    later = found(toy, name, norm)
    assert torch.equal(later.correct, at_once.correct)
    assert torch.equal(later.robust, at_once.robust)
    torch.testing.assert_close(later.x_adv, at_once.x_adv, rtol=0, atol=1e-9)
    assert later.settings == at_once.settings
    for ours, theirs in zip(later.parts, at_once.parts, strict=True):
        assert (ours.attacked, ours.robust) == (theirs.attacked, theirs.robust)
        assert ours.forwards >= theirs.forwards


@pytest.mark.parametrize("until_fooled", [True, False])
def test_a_random_classifier_and_a_search_to_the_highest_loss(toy: Toy, late, until_fooled: bool):
    settings = {"steps": 12, "draws": 2, "until_fooled": until_fooled}
    at_once = apgd(toy.model, toy.x, toy.y, 0.05, **settings)
    late()
    later = apgd(toy.model, toy.x, toy.y, 0.05, **settings)
    assert torch.equal(later.robust, at_once.robust) and later.forwards == at_once.forwards
    torch.testing.assert_close(later.x_adv, at_once.x_adv, rtol=0, atol=1e-9)


def test_late_looks_still_cut_the_batch(toy: Toy, late):
    late()
    sizes: list[int] = []

    def logits(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return toy.model(x)

    result = pgd_attack(logits, toy.x, toy.y, 0.1, steps=12)
    assert sizes[0] == sizes[LAG] == len(toy.y)  # nobody knows yet
    assert sizes[LAG + 4] < len(toy.y)
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] >= result.robust.sum()


def test_a_batch_whose_images_have_all_fallen_is_left(toy: Toy, late):
    late()
    calls: list[int] = []

    def wrong(x: Tensor) -> Tensor:
        calls.append(len(x))
        return toy.model(x) - 100 * torch.nn.functional.one_hot(toy.y[: len(x)], 5)

    pgd_attack(wrong, toy.x, toy.y, 0.05, steps=50)
    assert len(calls) == LAG + 1


@pytest.mark.parametrize("stop", [0.5, float("inf")])
def test_images_that_leave_a_training_attack_early(toy: Toy, late, stop: float):
    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(toy.model(x), toy.y[rows], reduction="none")

    def attack() -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        return pgd_until(loss, toy.x, 0.05, 0.01, 10, stop, generator)

    x_adv, taken = attack()
    late()
    x_late, taken_late = attack()
    torch.testing.assert_close(x_late, x_adv, rtol=0, atol=1e-12)
    assert torch.equal(taken_late, taken)


def test_what_is_kept_are_those_that_stand_and_few_others():
    looks, standing = Later(), torch.ones(16, dtype=torch.bool)
    kept = []
    for fallen in ([3], [5, 6, 7], [], [0, 1], []):
        standing = standing.clone()
        standing[fallen] = False
        kept.append(looks.keep(standing))
    assert kept[:3] == [None, None, None]  # nothing known, then 15 of 16, which is not worth it
    assert set(kept[3].tolist()) >= set(standing.nonzero()[:, 0].tolist())
    assert len(kept[3]) == 12 and len(kept[4]) == 12  # four had fallen two calls before
    assert AtOnce().keep(standing).tolist() == standing.nonzero()[:, 0].tolist()


def test_the_end_of_a_search_is_heard_of_late():
    looks = Later()
    ends = [looks.over(torch.tensor(done)) for done in (False, True, True, True)]
    assert ends == [False, False, False, True]
    assert AtOnce().over(torch.tensor(True))


def test_gpus_are_looked_at_late():
    assert isinstance(looks_on(torch.device("cuda:1")), Later)
    assert isinstance(looks_on(torch.device("cpu")), AtOnce)


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "fab-t", "square", "cw"])
def test_nan_is_told_at_the_end_in_the_same_words(toy: Toy, late, name: str):
    calls: list[int] = []

    def breaks(x: Tensor) -> Tensor:
        calls.append(len(x))
        logits = toy.model(x)
        return logits * torch.nan if len(calls) > 3 else logits

    norm = "l2" if name == "cw" else "linf"
    spec = AttackSpec(name, 0.01, norm=norm, steps=6, queries=8, precision="float64")
    told = []
    for _ in range(2):
        calls.clear()
        with pytest.raises(NotFiniteError) as error:
            run(spec, breaks, toy.x, toy.y)
        told.append(str(error.value))
        late()
    assert told[0] == told[1]


def test_a_fallen_image_may_overflow(toy: Toy, late):
    """It is still under way where nobody has looked yet; on a CPU it left long ago."""
    late()
    y = toy.model(toy.x).argmax(1)
    y[0] = (y[0] + 1) % 5  # fallen before the first step

    def overflows(x: Tensor) -> Tensor:
        logits = toy.model(x)
        here = (x - toy.x[0]).flatten(1).abs().amax(1) < 0.2
        return (
            logits
            if not logits.requires_grad
            else logits * torch.where(here, torch.nan, 1)[:, None]
        )

    calls = 0

    def then_overflows(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return toy.model(x) if calls == 1 else overflows(x)

    others = (toy.x - toy.x[0]).flatten(1).abs().amax(1) > 0.21
    rows = torch.cat([torch.tensor([0]), others.nonzero()[:, 0]])
    result = pgd_attack(then_overflows, toy.x[rows], y[rows], 1e-3, steps=3)
    assert not result.robust[0] and result.robust[1:].all()


def test_images_that_are_no_pixels_are_refused_at_the_first_look(toy: Toy, late):
    late()
    with pytest.raises(PixelError, match=r"go from .* to 3"):
        pgd_attack(toy.model, toy.x * 0 + 3, toy.y, 0.05, steps=1)
    with pytest.raises(PixelError, match="uint8"):
        pgd_attack(toy.model, toy.x.byte(), toy.y, 0.05, steps=1)
