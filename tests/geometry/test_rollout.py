"""Attention rollout against the direct product of open_clip's own attention matrices."""

import pytest
import torch
from torch import Tensor

from grace_geom.errors import UserError
from grace_geom.geometry.rollout import rollout
from grace_geom.models.vit import attentions, shape_of
from tests.toys import toy_clip


def own_attentions(model, x: Tensor) -> list[Tensor]:
    """``(B, N, N)`` of each block, as torch's MultiheadAttention gives them when asked."""
    found = []

    def ask(block, inputs, kwargs, output):
        h = block.ln_1(kwargs.get("q_x", inputs[0] if inputs else None))
        found.append(block.attn(h, h, h, need_weights=True, average_attn_weights=True)[1])

    hooks = [
        block.register_forward_hook(ask, with_kwargs=True)
        for block in model.clip.visual.transformer.resblocks
    ]
    model.clip.visual((x - model.mean) / model.std)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def test_rollout_is_the_direct_product_with_residuals_in_float64():
    model = toy_clip().double()
    torch.manual_seed(0)
    x = torch.rand(3, 3, *model.preprocess.size, dtype=torch.float64)
    own = own_attentions(model, x)
    found = model.attentions(x)
    assert found.shape[1] == len(own) >= 2
    torch.testing.assert_close(found, torch.stack(own, dim=1), rtol=1e-9, atol=1e-12)
    product = torch.eye(found.shape[-1], dtype=torch.float64)
    for A in own:
        product = (0.5 * A + 0.5 * torch.eye(A.shape[-1], dtype=torch.float64)) @ product
    shares = rollout(found)
    torch.testing.assert_close(shares, product[:, 0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3, dtype=torch.float64))


def test_without_attention_to_others_nothing_is_heard_of_them():
    eye = torch.eye(4).expand(2, 3, 4, 4)
    assert rollout(eye).tolist() == [[1, 0, 0, 0]] * 2
    even = torch.full((1, 1, 4, 4), 0.25)
    assert rollout(even).tolist() == [[0.625, 0.125, 0.125, 0.125]]
    later = torch.stack([torch.eye(4).roll(1, 0), torch.eye(4)])[
        None
    ]  # the first block alone moves
    assert rollout(later).tolist() == [[0.5, 0, 0, 0.5]]


@torch.no_grad()
def test_prompt_tokens_are_tokens_too():
    model = toy_clip()
    visual = model.clip.visual
    shape = shape_of(visual)
    assert shape is not None
    w = dict(visual.named_parameters())
    x = torch.rand(2, 3, *model.preprocess.size)
    plain = attentions(shape, w, x)
    asked = attentions(shape, w | {"prompt": torch.randn(5, w["class_embedding"].numel())}, x)
    assert asked.shape[-1] == plain.shape[-1] + 5
    torch.testing.assert_close(asked.sum(dim=-1), torch.ones(asked.shape[:-1]))


def test_another_tower_is_refused():
    model = toy_clip()
    model.shape = None
    with pytest.raises(UserError, match="attention rollout needs a plain open_clip ViT"):
        model.attentions(torch.rand(1, 3, *model.preprocess.size))
