"""Adversarial images: the attack that was asked for, cached under all that decides it; features at
W_pert.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from grace_geom.analysis.features import Perturbations, adversarial_images, perturbed_features
from grace_geom.analysis.features import adversary as module
from grace_geom.analysis.features.adversary import batches_of
from grace_geom.data import from_arrays
from grace_geom.weights import norm
from tests.toys import CLASSES, toy_batch, toy_clip

FAST = Perturbations(attack_steps=3, eps=8 / 255, alpha=4 / 255)


def toy_set(n: int = 10):
    batch = toy_batch(n)
    pixels = (batch.images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return from_arrays("toy", pixels, batch.labels.numpy(), CLASSES)


def test_images_stay_in_the_ball_and_raise_the_loss():
    model, images = toy_clip(), toy_set()
    x = torch.from_numpy(images.fetch.images).permute(0, 3, 1, 2).float() / 255
    x_adv = torch.from_numpy(adversarial_images(model, model, images, FAST, cache=None))
    y = torch.from_numpy(images.labels)
    assert (x_adv - x).abs().max() <= FAST.eps + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1
    assert (x_adv != x).flatten(1).any(dim=1).all()  # the misclassified too
    assert F.cross_entropy(model(x_adv), y) > F.cross_entropy(model(x), y) + 0.01


def test_batches_and_cache_change_nothing(tmp_path):
    model, images = toy_clip(), toy_set()
    whole = adversarial_images(model, model, images, FAST, cache=tmp_path)
    parts = adversarial_images(model, model, images, FAST, cache=None, batch_size=3)
    again = adversarial_images(model, model, images, FAST, cache=tmp_path)
    # sign() turns rounding into whole steps where a gradient is near zero: rare, and never outside
    # the ball
    assert (np.abs(whole - parts) > 1e-6).mean() < 0.01
    assert np.array_equal(whole, again)


def test_a_cached_attack_is_not_made_again_unless_something_that_decides_it_changed(
    tmp_path, monkeypatch
):
    model, images = toy_clip(), toy_set()
    calls = []
    real = module.pgd_attack
    monkeypatch.setattr(module, "pgd_attack", lambda *a, **k: calls.append(1) or real(*a, **k))

    def made(model=model, images=images, adversary=FAST, seed=0) -> bool:
        before = len(calls)
        adversarial_images(model, model, images, adversary, cache=tmp_path, seed=seed)
        return len(calls) > before

    assert made() and not made()
    assert (
        made(adversary=replace(FAST, eps=2 / 255))
        and made(seed=1)
        and made(images=images.take([3, 1, 2]))
    )
    assert made(model=toy_clip(1)) and not made() and not made(adversary=replace(FAST, rho=0.1))
    settings = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert settings["steps"] == 3 and settings["data"] == "toy" and "eps" in settings
    for file in tmp_path.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])  # cut off: made again, not crashed on
    assert made()


def test_perturbed_features_move_by_the_radius_and_leave_the_model_alone():
    model, batch = toy_clip(), toy_batch(12)
    before = {name: w.clone() for name, w in model.weights().items()}
    batches = batch.split(5)
    found = {}
    for rho in (0.0, 0.005, 0.05):
        clean, attacked = perturbed_features(model, model, batches, batches, Perturbations(rho=rho))
        assert torch.equal(clean, attacked) and clean.shape == (12, 16)
        found[rho] = (clean - model.features(batch.images)).norm(dim=1).mean().item()
    assert found[0.0] < 1e-6 < found[0.005] < found[0.05]
    assert norm([w - before[name] for name, w in model.weights().items()]) == 0


def test_weight_perturbation_raises_the_loss():
    model, batch = toy_clip(), toy_batch(12)
    _, pert = perturbed_features(model, model, [batch], [batch], Perturbations(rho=0.05))
    base = F.cross_entropy(model(batch.images), batch.labels)
    assert F.cross_entropy(model.logits(pert), batch.labels) > base


def test_batches_in_memory_are_in_order():
    x, y = np.random.default_rng(0).random((7, 3, 2, 2), dtype=np.float32), np.arange(7)
    batches = list(batches_of(x, y, 3))
    assert [len(b) for b in batches] == [3, 3, 1]
    assert np.array_equal(torch.cat([b.images for b in batches]).numpy(), x)
    assert torch.cat([b.index for b in batches]).tolist() == list(range(7))
    assert pytest.approx(x[6]) == batches[2].images[0].numpy()
