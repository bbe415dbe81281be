"""LoRA and GRACE on towers of convolutions: a kernel is a matrix of its output channels."""

import json

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.analysis.objective import objective
from grace_geom.attacks import weight_perturbation
from grace_geom.methods import METHODS
from grace_geom.methods.lora import ATTENTION_AND_MLP, Lora, target_matrices
from grace_geom.models import ModelSpec, build
from tests.toys import CLASSES, CONFIG, TEMPLATES, toy_batch, toy_clip, toy_run, train

RESNET = {
    **CONFIG,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
}
KERNEL = "visual.layer2.0.conv2.weight"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    file = tmp_path_factory.mktemp("resnet") / "small.json"
    file.write_text(json.dumps(RESNET))
    return build(ModelSpec(str(file), "random"), CLASSES, TEMPLATES)


def test_a_kernel_is_adapted_as_two_convolutions(resnet):
    """What PEFT computes: the input through A (k x k), then through B (1 x 1), beside the layer."""
    method = Lora(r=2, lora_alpha=6.0)
    params, _ = method.setup(resnet, torch.Generator().manual_seed(0))
    A, B = params[f"{KERNEL}.A"], params[f"{KERNEL}.B"]
    W = resnet.weights()[KERNEL]
    assert A.shape == (2, *W.shape[1:]) and B.shape == (len(W), 2, 1, 1)
    with torch.no_grad():
        B.normal_(generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, W.shape[1], 7, 7, generator=torch.Generator().manual_seed(2))
    beside = F.conv2d(x, W, padding=1) + 3.0 * F.conv2d(F.conv2d(x, A, padding=1), B)
    merged = method.weights(resnet, params)[KERNEL]
    assert_close(F.conv2d(x, merged, padding=1), beside, rtol=1e-4, atol=1e-4)


def test_default_targets_cover_a_tower_of_stages(resnet):
    chosen, own = target_matrices(resnet, ATTENTION_AND_MLP), resnet.weights()
    left = {n for n, w in own.items() if w.ndim in (2, 4) and n not in chosen}
    assert left == {
        "visual.conv1.weight", "visual.conv2.weight", "visual.conv3.weight",
        "visual.attnpool.positional_embedding", "head.weight",
    }  # fmt: skip
    assert target_matrices(resnet, r"conv2\.weight$")[0] == "visual.conv2.weight"


def test_default_targets_of_a_vit_are_what_they_were():
    found = target_matrices(toy_clip(), ATTENTION_AND_MLP)
    assert len(found) == 8 and not [n for n in found if "conv" in n]


@pytest.mark.parametrize("name", ["lora", "grace"])
def test_learns(name, resnet):
    options = (
        {"attack_steps": 1, "refresh_every": 1, "awp_direction": "sketch"}
        if name == "grace"
        else {}
    )
    method = METHODS[name](lr=0.02, r=4, **options)
    run = toy_run(method, resnet, steps=12)
    history = train(method, run, [toy_batch(32, seed=s) for s in range(12)])
    task = [terms["task"].item() for terms in history]
    assert sum(task[-3:]) < 0.9 * sum(task[:3])
    run.step = 12
    assert not method.state_flaw(run, run.state, 12)


def test_a_perturbed_kernel_stays_in_its_ball(resnet):
    weights = resnet.weights()
    delta = weight_perturbation.draw(weights, {KERNEL: 3}, torch.Generator().manual_seed(0))
    radius = weight_perturbation.radii({KERNEL: weights[KERNEL]}, 0.1, absolute=False)
    slope = torch.randn(weights[KERNEL].shape, generator=torch.Generator().manual_seed(1))
    found = weight_perturbation.ascend(lambda w: {KERNEL: slope}, weights, delta, radius)
    moved = weight_perturbation.perturb(weights, found)[KERNEL] - weights[KERNEL]
    assert_close(moved.norm(), 0.1 * weights[KERNEL].norm(), rtol=1e-3, atol=1e-5)
    assert (moved * slope).sum() > 0


def test_the_factors_of_a_kernel_are_weights_that_analyses_vary(resnet):
    method = Lora(r=2)
    params, _ = method.setup(resnet, torch.Generator().manual_seed(0))
    adapter = {n: w.detach() + 0.1 for n, w in params.items()}
    merged = method.weights(resnet, adapter)
    here = build(resnet.spec, CLASSES, TEMPLATES)
    with torch.no_grad():
        for n, w in merged.items():
            here.weights()[n].copy_(w)
    found = objective(
        here, lambda x, w: here(x, w), [toy_batch(4)], "adapter", adapter, method.scale
    )
    for name, w in found.effective(found.weights).items():
        assert_close(w, merged[name], rtol=1e-4, atol=1e-5)
