"""Kernels that are asked for on a GPU: fused AdamW, channels-last convolutions, flash attention."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.geometry.operators import twice_differentiable
from grace_geom.methods import METHODS
from grace_geom.models import vit
from grace_geom.training import Plan, Trainer
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch, toy_clip, toy_run

MATH, FLASH = 0, 1


def trainer(device: str) -> Trainer:
    """In double precision: Adam makes whole steps of gradients that are nothing but rounding."""
    method = METHODS["ft"](lr=1e-2)
    run = toy_run(method, toy_clip().double().to(device))
    run.generator = torch.Generator(device).manual_seed(0)
    return Trainer(method, run, Plan(10, 10))


def stepped(t: Trainer, seeds: range) -> Trainer:
    for seed in seeds:
        batch = toy_batch(8, seed)
        t.step(replace(batch, images=batch.images.double()).to(t.device))
    return t


def weights(t: Trainer) -> dict[str, torch.Tensor]:
    return {name: w.detach().cpu().clone() for name, w in t.run.params.items()}


def on_cpu(tree):
    """As a checkpoint keeps it."""
    if isinstance(tree, torch.Tensor):
        return tree.cpu()
    if isinstance(tree, dict):
        return {name: on_cpu(item) for name, item in tree.items()}
    return [on_cpu(item) for item in tree] if isinstance(tree, list) else tree


def test_adamw_is_fused_on_a_gpu_and_makes_the_same_steps():
    plain = stepped(trainer("cpu"), range(3))
    assert plain.optimizer.param_groups[0]["fused"] is None
    with pretended_gpu():
        fused = stepped(trainer("cuda"), range(3))
        assert fused.optimizer.param_groups[0]["fused"] is True
        found = weights(fused)
    for name, w in weights(plain).items():
        assert_close(found[name], w, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("begins, goes_on", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_on_another_device_with_its_kernels(begins: str, goes_on: str):
    whole = weights(stepped(trainer("cpu"), range(4)))
    with pretended_gpu():
        state = on_cpu(stepped(trainer(begins), range(2)).state())
        other = trainer(goes_on)
        state["rng"] = on_cpu(other.state())["rng"]  # of that device
        other.restore(state)
        assert other.optimizer.param_groups[0]["fused"] is (True if goes_on == "cuda" else None)
        found = weights(stepped(other, range(2, 4)))
    for name, w in whole.items():
        assert_close(found[name], w, rtol=1e-6, atol=1e-8)


def test_convolutions_get_channels_last_images_on_a_gpu_alone():
    """A tower that is called as a module; its numbers are the same."""
    seen, real = [], F.conv2d

    def spy(x, *args, **kwargs):
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return real(x, *args, **kwargs)

    model, x = toy_clip(), toy_batch().images
    model.shape = None
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(F, "conv2d", spy)
        here = model.encode(x)
        with pretended_gpu():
            there = model.to("cuda").encode(x.to("cuda")).cpu()
    assert_close(there, here, rtol=1e-5, atol=1e-6)
    assert seen == [False, True], "in the tower's convolution: on the CPU, on the GPU"


def test_attention_is_flash_for_attacks_and_has_two_derivatives_for_curvature():
    """As torch itself chooses for tensors of the tower's shapes: the attack differentiates once in
    the images, in bf16; a Hessian product differentiates twice.
    """
    chosen, real = [], F.scaled_dot_product_attention

    def spy(q, k, v):
        chosen.append(torch._fused_sdp_choice(q, k, v))
        return real(q, k, v)

    q, k, v = torch.randn(3, 2, 2, vit.SHORT + 1, 8).to(torch.bfloat16).requires_grad_().unbind()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", spy)
        vit._mix(q, k, v)
        with twice_differentiable():
            vit._mix(q, k, v)
    assert chosen == [FLASH, MATH]
