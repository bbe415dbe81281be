"""Suites: the bookkeeping between attacks."""

import copy
import dataclasses
import json

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import SUITES, AttackSpec, apgd, join, run
from grace_geom.errors import UserError
from tests.attacks.conftest import Toy, make_toy
from tests.pretended_gpu import pretended_gpu

EPS = 0.05


def quick(name: str, **changes: object) -> AttackSpec:
    return dataclasses.replace(
        AttackSpec(name, EPS, steps=8, queries=20, precision="float64"), **changes
    )


@pytest.mark.parametrize("name", sorted(set(SUITES) - {"cw"}))  # cw is for l2
def test_robust_means_correct_and_never_fooled(toy: Toy, name: str):
    found = run(quick(name), toy.model, toy.x, toy.y)
    assert torch.equal(found.correct, toy.model(toy.x).argmax(1) == toy.y)
    assert (found.robust <= found.correct).all()
    assert found.x_adv is not None
    assert torch.equal(toy.model(found.x_adv).argmax(1) == toy.y, found.robust)
    assert found.parts[-1].robust == found.robust.sum()
    assert (found.x_adv - toy.x).abs().max() <= EPS + 1e-12


def test_only_images_that_still_stand_are_attacked_again(toy: Toy):
    sizes: list[int] = []

    def logits(z: Tensor) -> Tensor:
        sizes.append(len(z))
        return toy.model(z)

    found = run(quick("apgd"), logits, toy.x, toy.y)
    first, second = found.parts
    assert first.attacked == found.correct.sum()
    assert second.attacked == first.robust < first.attacked
    assert sizes[0] == len(toy.y)
    assert sizes[1] == first.attacked
    assert sum(sizes) == len(toy.y) + first.forwards + second.forwards
    # Within the targeted part no call is larger than what stood before it.
    assert max(sizes[-10:]) <= second.attacked


def test_a_part_by_itself_is_the_attack(toy: Toy):
    found = run(quick("apgd-ce"), toy.model, toy.x, toy.y, seed=3)
    alone = apgd(toy.model, toy.x, toy.y, EPS, steps=8, seed=3)
    assert torch.equal(found.robust, alone.robust & found.correct)


def test_batches_and_order_change_nothing(toy: Toy):
    whole = run(quick("autoattack"), toy.model, toy.x, toy.y, seed=2)
    cut = run(quick("autoattack"), toy.model, toy.x, toy.y, seed=2, batch_size=7)
    assert torch.equal(whole.robust, cut.robust)
    assert whole.x_adv is not None
    torch.testing.assert_close(cut.x_adv, whole.x_adv, rtol=0, atol=1e-9)
    order = torch.randperm(len(toy.y), generator=torch.Generator().manual_seed(0))
    mixed = run(quick("autoattack"), toy.model, toy.x[order], toy.y[order], seed=2, index=order)
    assert torch.equal(mixed.robust, whole.robust[order])
    torch.testing.assert_close(mixed.x_adv, whole.x_adv[order], rtol=0, atol=1e-9)


def test_joined_batches_are_the_whole(toy: Toy):
    whole = run(quick("apgd"), toy.model, toy.x, toy.y, keep_x_adv=False)
    pieces = [
        run(
            quick("apgd"),
            toy.model,
            toy.x[i : i + 16],
            toy.y[i : i + 16],
            index=range(i, min(i + 16, 40)),
        )
        for i in range(0, 40, 16)
    ]
    joined = join(pieces)
    assert torch.equal(joined.robust, whole.robust)
    assert [(p.attacked, p.robust) for p in joined.parts] == [
        (p.attacked, p.robust) for p in whole.parts
    ]
    assert whole.x_adv is None
    with pytest.raises(ValueError, match="same attack"):
        join([whole, run(quick("apgd"), toy.model, toy.x, toy.y, seed=9)])


def test_same_seed_same_bits_other_seed_other_points(toy: Toy):
    first, again, other = (
        run(quick("pgd", steps=1), toy.model, toy.x, toy.y, seed=s).x_adv for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_record_says_what_was_run(toy: Toy):
    found = run(quick("autoattack"), toy.model, toy.x, toy.y, seed=5)
    about = json.loads(json.dumps(found.settings))  # plain types
    assert about["eps"] == EPS
    assert (about["name"], about["norm"], about["precision"], about["seed"]) == (
        "autoattack",
        "linf",
        "float64",
        5,
    )
    assert about["parts"] == [
        {"name": "apgd-ce", "loss": "ce", "steps": 8, "restarts": 1},
        {
            "name": "apgd-t",
            "loss": "dlr-targeted",
            "steps": 8,
            "restarts": 1,
            "targets": 4,
        },  # five classes
        {"name": "fab-t", "loss": "border", "steps": 8, "restarts": 1, "targets": 4},
        {"name": "square", "loss": "margin", "queries": 20, "schedule": "standard"},
    ]
    assert [part.name for part in found.parts] == [
        part["name"] for part in about["parts"]
    ] and not found.notes
    after = torch.stack(found.standing)
    assert after.sum(1).tolist() == [part.robust for part in found.parts] and torch.equal(
        after[-1], found.robust
    )


def test_the_defaults_are_the_papers():
    assert AttackSpec().settings(0, 100)["parts"] == [
        {"name": "apgd-ce", "loss": "ce", "steps": 100, "restarts": 1}
    ]
    assert AttackSpec().eps == 4 / 255
    assert AttackSpec("pgd").part("pgd", 10)["alpha"] == pytest.approx(1 / 255)


def test_two_classes_leave_the_targeted_part_out_and_say_so():
    two = make_toy(classes=2)
    found = run(quick("apgd"), two.model, two.x, two.y)
    assert [part.name for part in found.parts] == ["apgd-ce"]
    assert "not defined for 2 classes" in found.notes[0]
    with pytest.raises(ValueError, match="not defined for 2 classes"):
        run(quick("apgd-t"), two.model, two.x, two.y)


def test_precision_is_the_suites_choice_not_the_callers():
    toy = make_toy(dtype=torch.float32)
    seen: set[torch.dtype] = set()

    def logits(z: Tensor) -> Tensor:
        seen.add(toy.model(z).dtype)
        return toy.model(z)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        run(AttackSpec("pgd", EPS, steps=2), logits, toy.x, toy.y)
    assert seen == {torch.float32}
    seen.clear()
    run(AttackSpec("pgd", EPS, steps=2, precision="bfloat16"), logits, toy.x, toy.y)
    assert seen == {torch.bfloat16}


def test_works_where_gradients_are_off(toy: Toy):
    expected = run(quick("autoattack"), toy.model, toy.x, toy.y)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            found = run(quick("autoattack"), toy.model, toy.x.clone(), toy.y)
        assert torch.equal(found.robust, expected.robust)


def test_nan_logits_stop_the_run(toy: Toy):
    with pytest.raises(RuntimeError, match="NaN on clean images"):
        run(quick("pgd"), lambda z: toy.model(z) * torch.nan, toy.x, toy.y)


def test_nothing_correct_means_nothing_to_attack(toy: Toy):
    found = run(quick("apgd"), toy.model, toy.x, (toy.model(toy.x).argmax(1) + 1) % 5)
    assert not found.robust.any()
    assert [(part.attacked, part.forwards) for part in found.parts] == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"name": "apgd-c"}, "apgd-ce"),
        ({"norm": "l_inf"}, "linf"),
        ({"precision": "fp32"}, "float32"),
        ({"eps": -1.0}, "such as 4/255; got -255/255"),
        ({"eps": -0.5, "norm": "l2"}, r"such as 0\.5; got -0\.5 \(l2\)"),
        ({"eps": float("inf"), "norm": "l1"}, r"got inf \(l1\)"),
        ({"alpha": -0.5, "norm": "l1"}, r"such as 0\.1; got -0\.5 \(l1\)"),
        ({"alpha": -1 / 255}, "such as 1/255; got -1/255"),
        ({"eps": 4.0}, "Did you mean 4/255"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_a_users_mistake_is_answered(changes: dict[str, object], answer: str):
    with pytest.raises(UserError, match=answer):
        dataclasses.replace(AttackSpec(), **changes)


@pytest.mark.parametrize("images, labels", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_images_and_labels_may_lie_on_different_devices(toy: Toy, images: str, labels: str):
    wanted = run(quick("pgd"), toy.model, toy.x, toy.y, batch_size=8)
    assert 0 < wanted.robust.sum() < len(toy.y)
    with pretended_gpu() as seen:
        model = copy.deepcopy(toy.model).to("cuda")
        found = run(
            quick("pgd"), model, toy.x.to(images), toy.y.to(labels),
            batch_size=8, device="cuda",
        )  # fmt: skip
        assert not seen.mixed
        assert found.x_adv is not None and found.x_adv.device.type == images
        robust = found.robust.cpu()
    assert torch.equal(robust, wanted.robust)
