"""Which towers transformers' CLIPModel can hold."""

import json

import pytest
import torch

from grace_geom.errors import UserError
from grace_geom.exporting.clip_layout import flaw_of, places, refuse_flaw, renamed
from tests.exporting.toy_checkpoints import register, toy

OTHERS = {
    "resnet": ({"vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}},
               "its image tower is a ModifiedResNet"),
    "average": ({"vision_cfg": {"pool_type": "avg"}}, "pools by avg"),
    "attention": ({"vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 2}},
                  "pools by attention"),
    "no-ln": ({"vision_cfg": {"no_ln_pre": True}}, "no LayerNorm before the blocks"),
    "scaled": ({"vision_cfg": {"ls_init_value": 0.1}}, "blocks that are not CLIP's"),
    "wide": ({"vision_cfg": {"image_size": [16, 24]}}, "16 x 24 pixels"),
    "last": ({"text_cfg": {"pool_type": "last"}}, "its text tower pools by last"),
    "both-ways": ({"text_cfg": {"no_causal_mask": True}}, "its text tower is not causal"),
    "text-bias": ({"text_cfg": {"proj_bias": True}}, "no plain projection"),
    "text-scaled": ({"text_cfg": {"ls_init_value": 0.1}}, "its text tower has blocks"),
    "bias": ({"init_logit_bias": -10}, "its logits have a bias"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_another_network_is_refused_by_what_does_not_fit(kind):
    changes, said = OTHERS[kind]
    model = toy(register(f"toy-{kind}", json.dumps(changes)))
    assert said in flaw_of(model)
    with pytest.raises(UserError, match=r"--format open_clip, torch\.export and onnx hold it"):
        refuse_flaw(model, kind)


def test_padded_pictures_are_refused():
    assert "pads images" in flaw_of(toy(preprocess="resize_mode=longest"))


@pytest.mark.parametrize("changes", [{}, {"custom_text": True}, {"nonscalar_logit_scale": True}])
def test_a_plain_clip_fits_however_open_clip_wraps_it(changes):
    plain, other = toy(), toy(register(f"toy-{'-'.join(changes)}", json.dumps(changes)))
    assert flaw_of(other) == ""
    assert renamed(other.clip.state_dict()).keys() == renamed(plain.clip.state_dict()).keys()
    assert renamed(other.clip.state_dict())["logit_scale"].shape == ()


def test_factors_of_a_part_give_the_part_of_the_product():
    B, A = torch.randn(12, 2), torch.randn(2, 5)
    for name in ("visual.transformer.resblocks.3.attn.in_proj_weight", "visual.proj"):
        for place in places(name):
            b, a = place.take_factors(B, A)
            torch.testing.assert_close(b @ a, place.take(B @ A))


def test_a_name_that_no_clip_has_is_no_place():
    with pytest.raises(KeyError):
        places("visual.prompt")
