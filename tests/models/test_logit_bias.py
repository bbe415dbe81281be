"""SigLIP's logit bias, and what is said where a tokenizer or a text tower is out of reach."""

import json

import open_clip
import pytest
import torch
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, build
from grace_geom.models.sources import register
from tests.toys import CLASSES, CONFIG, TEMPLATES, toy_clip


def test_the_logit_bias_is_in_the_head(tmp_path):
    file = tmp_path / "biased.json"
    file.write_text(json.dumps({**CONFIG, "init_logit_bias": -10, "custom_text": True}))
    model = build(ModelSpec(str(file), "random"), CLASSES, TEMPLATES)
    assert torch.equal(model.head["head.bias"], torch.full((3,), -10.0))
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    image = (x - model.mean) / model.std
    text = model.text_features([t.format(c) for c in CLASSES for t in TEMPLATES[:1]])
    own = model.with_head(CLASSES, TEMPLATES[:1])
    with torch.no_grad():
        f = model.clip.encode_image(image, normalize=True)
        wanted = f @ text.T * model.clip.logit_scale.exp() + model.clip.logit_bias
        assert_close(own(x), wanted, rtol=1e-4, atol=1e-4)
    assert not toy_clip().head["head.bias"].any()


@pytest.mark.parametrize("key", ["hf_tokenizer_name", "hf_model_name"])
@pytest.mark.parametrize(
    ("place", "way"),
    [
        ("nobody/at-all", "--model FILE.json with hf_tokenizer_name"),
        ("/nowhere/at-all", "put it back"),
    ],
)
def test_what_cannot_be_fetched_is_named_with_the_file_route(key, place, way, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = {**CONFIG["text_cfg"], key: place}
    name = register({**CONFIG, "text_cfg": text}, "mine")
    with pytest.raises(UserError, match=f"{place}.*{way}") as error:
        build(ModelSpec(name, "random"), CLASSES, TEMPLATES)
    assert "\n" not in str(error.value)
    assert open_clip.get_model_config(name)
