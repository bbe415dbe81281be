"""Accuracies against counts by hand, robust accuracy against the closed form of a linear
classifier.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grace_geom.attacks import AttackSpec
from grace_geom.data import from_arrays, restrict_classes
from grace_geom.errors import UserError
from grace_geom.evaluation.accuracy import evaluate_set, for_everyone, reader_for
from grace_geom.preprocess import Preprocess
from grace_geom.progress import Progress
from grace_geom.records.accuracy import outcomes_of
from tests.toys import CLASSES, TEMPLATES, toy_clip

SIDE = 4


class Linear(nn.Module):
    """``x -> W x + b`` on flattened pixels, with the face of a ClipClassifier."""

    def __init__(self, classes: int, seed: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.W = torch.randn(classes, 3 * SIDE * SIDE, generator=g)
        self.class_names = tuple(f"class {k}" for k in range(classes))
        self.bias = -self.W.sum(1) / 2  # grey is on every border, so that classes are balanced
        self.preprocess, self.device = Preprocess((SIDE, SIDE)), torch.device("cpu")

    def forward(self, x: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        W = self.W if weights is None else weights["W"]
        return x.flatten(1) @ W.T + self.bias


def images(
    n: int, classes: int, seed: int = 0, names: tuple[str, ...] | None = None, templates=("a {}",)
):
    """Grey-ish noise: no pixel is within 20 levels of the box, so that clipping does not enter the
    closed form.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.integers(96, 160, (n, SIDE, SIDE, 3)).astype(np.uint8)
    return from_arrays(
        "noise",
        pixels,
        rng.integers(0, classes, n),
        names or tuple(f"class {k}" for k in range(classes)),
        templates,
    )


def pixels_of(image_set) -> tuple[Tensor, Tensor]:
    x = np.stack([image_set.fetch(i) for i in range(len(image_set))])
    return torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(image_set.labels)


def test_accuracy_is_a_count_with_wilsons_interval():
    model, noise = Linear(3), images(101, 3)
    x, y = pixels_of(noise)
    right = (model(x).argmax(1) == y).numpy()
    found = evaluate_set(model, noise, "id", "noise", batch_size=16)
    assert (found.n, found.correct, found.accuracy) == (101, right.sum(), right.mean())
    np.testing.assert_array_equal(found.right(), right)
    z2, p = 1.959963984540054**2, right.mean()
    for bound in (found.ci_low, found.ci_high):  # both are roots of (p - q)^2 = z^2 q (1 - q) / n
        assert (p - bound) ** 2 == pytest.approx(z2 * bound * (1 - bound) / 101)
    assert found.attack is None and found.ci_low < p < found.ci_high


@pytest.mark.parametrize("attack", ["pgd", "apgd-ce", "apgd", "autoattack"])
def test_robust_accuracy_of_a_linear_classifier_is_the_closed_form(attack):
    eps, model, noise = 2 / 255, Linear(2), images(200, 2)
    x, y = pixels_of(noise)
    w = (model.W[0] - model.W[1]) * torch.where(y == 0, 1.0, -1.0)[:, None]
    margin = (w * (x.flatten(1) - 0.5)).sum(1)  # the border passes through grey
    robust = (margin - eps * w.abs().sum(1) > 0).numpy()
    assert 0.05 < robust.mean() < 0.8 * (margin > 0).float().mean()
    found = evaluate_set(
        model,
        noise,
        "adv",
        "noise",
        attack=AttackSpec(attack, eps, steps=10, alpha=eps, queries=1),
        batch_size=64,
    )
    np.testing.assert_array_equal(found.right(), robust)
    assert (
        found.attack["eps"] == eps
        and found.attack["seed"] == 0
        and found.attack["precision"] == "float32"
    )
    assert (
        found.parts[0]["attacked"] == (margin > 0).sum()
        and found.parts[-1]["robust"] == found.correct
    )
    for part in found.parts:
        np.testing.assert_array_equal(outcomes_of(part["outcomes"], found.n), robust)


def test_another_batch_size_or_subset_attacks_an_image_in_the_same_way():
    model, noise = Linear(3, seed=1), images(60, 3)
    attack = AttackSpec("pgd", 2 / 255, steps=2)
    whole = evaluate_set(model, noise, "adv", "noise", attack=attack, batch_size=60).right()
    cut = evaluate_set(model, noise, "adv", "noise", attack=attack, batch_size=7).right()
    part = noise.subset(25, seed=3)
    np.testing.assert_array_equal(whole, cut)
    np.testing.assert_array_equal(
        evaluate_set(model, part, "adv", "noise", attack=attack).right(), whole[part.index]
    )


def test_the_images_of_a_subset_are_on_record():
    part = images(60, 3).subset(25, seed=3)
    found = evaluate_set(Linear(3), part, "id", "noise")
    assert found.subset["ids"] == part.index.tolist() and (
        found.subset["of"],
        found.subset["seed"],
    ) == (60, 3)
    assert found.paired_with(evaluate_set(Linear(3, seed=9), part, "id", "noise"))
    assert not found.paired_with(
        evaluate_set(Linear(3), images(60, 3).subset(25, seed=4), "id", "noise")
    )


def test_classes_in_another_order_are_matched_by_name():
    model, noise = Linear(4), images(80, 4)
    plain = evaluate_set(model, noise, "ood", "noise")
    order = [2, 0, 3, 1]
    names = tuple(model.class_names[k] for k in order)
    x = np.stack([noise.fetch(i) for i in range(len(noise))])
    shuffled = from_arrays("noise", x, np.argsort(order)[noise.labels], names)
    assert evaluate_set(model, shuffled, "ood", "noise").correct == plain.correct
    assert reader_for(model, shuffled).columns == tuple(order)


def test_fewer_classes_mask_the_logits_of_the_others():
    model, noise = Linear(4), images(200, 4)
    some = restrict_classes(noise, [1, 3])
    x, y = pixels_of(some)
    right = (model(x)[:, [1, 3]].argmax(1) == y).sum().item()
    found = evaluate_set(model, some, "ood", "noise")
    assert found.correct == right and found.head == "2 of the checkpoint's 4 classes, by name"


def test_labels_for_a_larger_head_are_refused():
    some = restrict_classes(images(50, 4), [1, 3])
    with pytest.raises(UserError, match="head of more than 3 classes"):
        reader_for(Linear(2), some)


@pytest.mark.parametrize("suite, names", [("ood", ("circle", "moon")), ("zeroshot", CLASSES)])
def test_classes_that_the_head_lacks_get_a_text_head_of_their_own(suite, names):
    model = toy_clip()
    model = model.with_head(
        CLASSES, TEMPLATES, {n: w + 1 for n, w in model.head.items()}
    )  # "fine-tuned"
    reader = reader_for(model, images(4, len(names), names=names, templates=TEMPLATES), suite)
    expected = model.with_head(names, TEMPLATES)
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reader(x), expected(x))
    assert reader.how == f"text head of {len(names)} class names, 2 templates"


def test_names_that_two_classes_share_match_nothing():
    names = ("crane", "crane", "star")
    reader = reader_for(
        toy_clip().with_head(names, TEMPLATES), images(4, 2, names=("star", "crane")), "ood"
    )
    assert reader.columns is None and reader.how.startswith("text head")


def test_other_weights_are_evaluated_without_touching_the_model():
    model, noise = Linear(3), images(90, 3)
    before = evaluate_set(model, noise, "id", "noise").correct
    flipped = evaluate_set(
        model, noise, "id", "noise", weights={"W": torch.zeros_like(model.W)}
    ).correct
    _, y = pixels_of(noise)
    assert flipped == (model.bias.argmax() == y).sum()
    assert evaluate_set(model, noise, "id", "noise").correct == before


def test_a_broken_model_is_not_given_an_accuracy():
    model = Linear(3)
    model.W[0, 0] = math.nan
    with pytest.raises(UserError, match="NaN"):
        evaluate_set(model, images(10, 3), "id", "noise")


@pytest.mark.parametrize(
    ("precision", "seen"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_an_attack_has_its_own_precision_whatever_the_model_trains_in(precision, seen):
    model, found = toy_clip(), []
    model.autocast_dtype = torch.bfloat16  # as in the loop of a bf16 run
    inner = model.clip.visual.transformer.resblocks[0].mlp.c_fc
    plain = evaluate_set(
        toy_clip(), images(6, 3, names=CLASSES), "adv", "noise", attack=AttackSpec("pgd", steps=2)
    )
    original = torch.nn.functional.linear

    def spy(x, weight, bias=None):
        out = original(x, weight, bias)
        if weight.shape == inner.weight.shape:
            found.append(out.dtype)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", spy)
        attack = AttackSpec("pgd", steps=2, precision=precision)
        attacked = evaluate_set(model, images(6, 3, names=CLASSES), "adv", "noise", attack=attack)
    assert set(found) == {seen} and model.autocast_dtype is torch.bfloat16
    assert precision != "float32" or attacked.outcomes == plain.outcomes


def test_an_attack_that_two_classes_do_not_define_says_so():
    with pytest.raises(UserError, match="--attack apgd-t"):
        evaluate_set(Linear(2), images(10, 2), "adv", "noise", attack=AttackSpec("apgd-t"))


def test_a_set_with_parts_tells_the_accuracy_of_each_however_it_was_cut():
    model = Linear(3)
    whole = images(90, 3)
    part = np.arange(90) % 4
    parts = replace(whole, group_names=("a/1", "a/2", "b/1", "b/2"), group=part)
    for cut in (parts, parts.subset(31, 5), parts.take([1, 5, 2, 9])):
        found = evaluate_set(model, cut, "ood", "c")
        right, here = found.right(), part[cut.index]
        expected = {
            n: (int((here == i).sum()), int(right[here == i].sum()))
            for i, n in enumerate(cut.group_names)
        }
        assert {g["name"]: (g["n"], g["correct"]) for g in found.groups} == {
            n: x for n, x in expected.items() if x[0]
        }
        assert all(g["accuracy"] == g["correct"] / g["n"] for g in found.groups)
    assert 0 < found.correct < found.n or 0 < evaluate_set(model, parts, "ood", "c").correct < 90
    assert evaluate_set(model, whole, "ood", "plain").groups == ()


@pytest.mark.parametrize(("images", "processes"), [(501, 2), (7, 4), (8, 4)])
def test_the_progress_of_several_processes_ends_at_the_number_of_images(images, processes):
    watch = Progress(images, quiet=True)
    share = len(range(0, images, processes))  # of the first process, which shows the progress
    tell = for_everyone(lambda n: watch.step(n, n), processes, images)
    for done in range(0, share, 100):
        tell(min(100, share - done))
    assert watch.line().startswith(f"step {images}/{images}  ")
