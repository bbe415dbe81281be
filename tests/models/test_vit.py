import pytest
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

from grace_geom.models.vit import patches, shape_of, vit
from tests.toys import toy_batch, toy_clip


def tower(**options) -> VisionTransformer:
    torch.manual_seed(0)
    options = {"mlp_ratio": 4.0, "output_dim": 8} | options
    return VisionTransformer(
        image_size=16, patch_size=4, width=24, layers=3, heads=3, **options
    ).eval()


@pytest.mark.parametrize("act", [nn.GELU, QuickGELU])
def test_is_open_clip_s_tower_with_its_gradients(act):
    visual, x = tower(act_layer=act).double(), torch.rand(5, 3, 16, 16, dtype=torch.float64)
    weights = {
        n: (w + 0.1 * torch.rand_like(w)).detach().requires_grad_()
        for n, w in visual.named_parameters()
    }
    x.requires_grad_()
    shape = shape_of(visual)
    assert shape is not None
    ours, theirs = vit(shape, weights, x), functional_call(visual, weights, (x,))
    assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    direction = torch.rand_like(theirs)
    inputs = [x, *weights.values()]
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), inputs),
        torch.autograd.grad((theirs * direction).sum(), inputs),
        strict=True,
    ):
        assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_recomputed_blocks_give_the_gradients_of_kept_ones():
    model, batch = toy_clip(), toy_batch()
    weights = {
        n: (1.5 * w).requires_grad_()
        for n, w in model.weights().items()
        if "resblocks" in n and w.ndim == 2
    }

    def gradients():
        return torch.autograd.grad(
            model(batch.images, weights).square().sum(), list(weights.values())
        )

    kept = gradients()
    model.checkpoint_activations()
    for a, b in zip(kept, gradients(), strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_recomputing_never_looks_at_the_random_generator(monkeypatch):
    """Its state cannot be read while a CUDA graph is captured."""
    model, batch = toy_clip(), toy_batch()
    model.checkpoint_activations()
    monkeypatch.setattr(torch, "get_rng_state", lambda: pytest.fail("the generator was read"))
    x = batch.images.clone().requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None


def test_patches_are_what_a_convolution_sees():
    x, W = torch.rand(2, 3, 8, 8), torch.rand(5, 3, 4, 4)
    conv = nn.functional.conv2d(x, W, stride=4).flatten(2).mT
    assert_close(patches(x, 4) @ W.flatten(1).T, conv)


@pytest.mark.parametrize(
    "options",
    [
        {"patch_dropout": 0.5},
        {"pool_type": "avg"},
        {"ls_init_value": 0.1},
        {"no_ln_pre": True},
        {"attentional_pool": True},
    ],
)
def test_other_towers_are_left_to_their_module(options):
    assert shape_of(tower(**options)) is None


def test_a_module_tower_gives_the_same_logits():
    model, batch = toy_clip(), toy_batch()
    fast = model(batch.images)
    model.shape = None
    assert_close(model(batch.images), fast, rtol=1e-5, atol=1e-5)
