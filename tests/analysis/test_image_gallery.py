"""The gallery of images: the same ones for every checkpoint, answers and maps as the model gives
them.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from grace_geom.analyses import script
from grace_geom.analysis.chosen_images import chosen, digests, in_turn
from grace_geom.checkpoint import open_base, open_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.data.base import from_arrays
from grace_geom.geometry.rollout import rollout
from grace_geom.records import Result

FAST = ["--n", "40", "--shown", "12", "--shown-ood", "4", "--attack-steps", "3", "--eps", "16/255"]
OOD = ["--ood", "sketch=shapes:sketch"]


@pytest.fixture(scope="module")
def found(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Of two checkpoints, with the plain gradient."""
    out = tmp_path_factory.mktemp("gallery")
    argv = [str(runs / "near"), str(runs / "far"), *FAST, *OOD, "--smooth", "1", "--out", str(out)]
    script("image_gallery")(argv)
    return Result.load(out / "image_gallery.json")


def test_every_checkpoint_has_the_same_images_half_of_them_hard(found: Result):
    near, far = (found.parts[name].arrays for name in ("near", "far"))
    for name in ("set", "key", "index", "label", "hard", "clean"):
        np.testing.assert_array_equal(near[name], far[name])
    assert (near["adv"] != far["adv"]).any()  # each has its own attack
    assert near["set"].tolist() == ["id"] * 12 + ["sketch"] * 4
    images = resolve("shapes", "test").subset(40, 0)
    at = {place: i for i, place in enumerate(images.index.tolist())}
    rows = [at[place] for place in near["index"][:12].tolist()]
    labels = [images.class_names[c] for c in images.labels[rows]]
    assert near["label"][:12].tolist() == labels


def test_hard_images_are_those_that_the_pretrained_model_gets_wrong(found: Result, runs: Path):
    _, checkpoint = open_checkpoint(runs / "near" / "ckpt.pt")
    base = open_base(checkpoint)
    images = resolve("shapes", "test").subset(40, 0)
    (batch,) = loader(images, 40, base.image_size, train=False)
    with torch.no_grad():
        wrong = (base(batch.images).argmax(1) != batch.labels).numpy()
    arrays = found.parts["near"].arrays
    at = {place: i for i, place in enumerate(images.index.tolist())}
    rows = [at[place] for place in arrays["index"][:12].tolist()]
    np.testing.assert_array_equal(arrays["hard"][:12], wrong[rows])
    assert arrays["hard"][:12].sum() >= min(6, wrong.sum())


def test_margins_predictions_and_maps_are_those_of_the_model(found: Result, runs: Path):
    model, _ = open_checkpoint(runs / "far" / "ckpt.pt")
    images, arrays = resolve("shapes", "test").subset(40, 0), found.parts["far"].arrays
    at = {place: i for i, place in enumerate(images.index.tolist())}
    rows = [at[place] for place in arrays["index"][:12].tolist()]
    (batch,) = loader(images.take(rows), 12, model.image_size, train=False)
    x = batch.images.requires_grad_()
    z = model(x)
    own = z.gather(1, batch.labels[:, None])[:, 0]
    others = z.scatter(1, batch.labels[:, None], -torch.inf).amax(1)
    np.testing.assert_allclose(arrays["margin_clean"][:12], (own - others).detach(), atol=1e-3)
    p, top = z.softmax(1).sort(descending=True)
    assert arrays["top_clean"][:12, 0].tolist() == [images.class_names[c] for c in top[:, 0]]
    np.testing.assert_allclose(arrays["p_clean"][:12], p[:, :5].detach(), atol=1e-4)
    (gradient,) = torch.autograd.grad(F.cross_entropy(z, batch.labels, reduction="sum"), x)
    steep = gradient.abs().amax(1)
    white = arrays["saliency_white_clean"][:12, None, None]
    shown = arrays["saliency_clean"][:12] / 255 * white
    np.testing.assert_allclose(shown, steep.clamp(max=torch.tensor(white)), atol=white.max() / 250)


def test_rollout_is_that_of_the_model_scaled_to_each_image(found: Result, runs: Path):
    model, _ = open_checkpoint(runs / "far" / "ckpt.pt")
    images, arrays = resolve("shapes", "test").subset(40, 0), found.parts["far"].arrays
    at = {place: i for i, place in enumerate(images.index.tolist())}
    rows = [at[place] for place in arrays["index"][:12].tolist()]
    (batch,) = loader(images.take(rows), 12, model.image_size, train=False)
    with torch.no_grad():
        heard = rollout(model.attentions(batch.images))[:, 1:]
    side = round(heard.shape[1] ** 0.5)
    maps = arrays["rollout_clean"][:12]
    assert maps.shape == arrays["saliency_clean"][:12].shape
    blocks = maps.reshape(12, side, maps.shape[1] // side, side, maps.shape[2] // side)
    means = blocks.mean(axis=(2, 4)).reshape(12, -1)
    for mine, theirs in zip(means, heard.numpy(), strict=True):  # bilinear: smoothed at the edges
        assert np.corrcoef(mine, theirs)[0, 1] > 0.9
    assert (arrays["rollout_adv"] != arrays["rollout_clean"]).any()


def test_the_attack_stays_in_its_ball_and_is_what_is_shown(found: Result):
    arrays = found.parts["far"].arrays
    delta = arrays["delta"].astype(float) * (16 / 255) / 127
    shown = arrays["adv"].astype(float) / 255 - arrays["clean"].astype(float) / 255
    np.testing.assert_allclose(delta, shown, atol=1.1 / 255)
    assert np.abs(arrays["delta"]).max() == 127  # ε itself
    values = found.parts["far"].values
    right = (arrays["margin_adv"][:12] > 0).mean()
    assert values["right_adv/id"].value == pytest.approx(right)
    assert (arrays["margin_adv"] < arrays["margin_clean"]).mean() > 0.9
    assert -1 <= values["saliency_correlation/id"].value <= 1
    assert arrays["attention_clean"].shape == arrays["saliency_clean"].shape


def test_large_pictures_are_reduced_and_perturbations_are_not_averaged(runs: Path, tmp_path: Path):
    argv = [str(runs / "far"), *FAST, "--shown-ood", "0", "--smooth", "2", "--pixels", "16"]
    script("image_gallery")([*argv, "--out", str(tmp_path)])
    arrays = Result.load(tmp_path / "image_gallery.json").parts["far"].arrays
    assert arrays["clean"].shape == (12, 16, 16, 3) and arrays["saliency_adv"].shape == (12, 16, 16)
    assert np.abs(arrays["delta"]).max() == 127


def test_images_are_drawn_by_their_content_alone_one_of_each_class_in_turn():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    labels = np.arange(20) % 3
    some = from_arrays("x", pixels, labels, ("a", "b", "c"))
    keys = digests(some)
    first = f"{pixels[0].shape};".encode() + pixels[0].tobytes()
    assert keys[0] == hashlib.sha256(first).hexdigest()[:16]
    rows = in_turn(keys, labels, 7, 0)
    assert sorted(labels[rows[:3]].tolist()) == [0, 1, 2]
    assert np.bincount(labels[rows]).max() - np.bincount(labels[rows]).min() <= 1
    order = rng.permutation(20)  # the place of an image in its set does not matter
    again = in_turn([keys[i] for i in order], labels[order], 7, 0)
    assert [keys[order[i]] for i in again] == [keys[i] for i in rows]
    assert in_turn(keys, labels, 7, 1) != rows
    assert in_turn([keys[0]] * 5, [0] * 5, 3, 0) == [0]  # copies count once


def test_half_of_the_images_are_hard_where_there_are_so_many():
    keys, labels = [f"{i:016x}" for i in range(30)], np.arange(30) % 2
    wrong = np.arange(30) < 12
    rows = chosen(keys, labels, wrong, 10, 0)
    assert len(set(rows.tolist())) == 10 and wrong[rows].sum() >= 5
    assert len(chosen(keys, labels, np.zeros(30, bool), 10, 0)) == 10
    assert len(chosen(keys, labels, None, 100, 0)) == 30
