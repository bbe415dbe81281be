import json
import math
from collections.abc import Callable

import open_clip
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, build, loading, open_clip_model, text_head, tokenizer_of
from tests.pretended_gpu import pretended_gpu
from tests.toys import CLASSES, CONFIG, TEMPLATES, toy_batch, toy_clip, write_weights


def test_logits_are_those_of_plain_open_clip():
    model, batch = toy_clip(), toy_batch()
    clip, tokenizer = model.clip, model.tokenizer
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    templates = [lambda name, t=t: t.format(name) for t in TEMPLATES]
    T = open_clip.build_zero_shot_classifier(
        clip, tokenizer, CLASSES, templates
    )  # (D, K), an independent builder
    image = clip.encode_image((batch.images - mean) / std, normalize=True)
    assert_close(model(batch.images), clip.logit_scale.exp() * image @ T, rtol=1e-5, atol=1e-5)


def test_handed_in_weights_act_and_leave_the_module_alone():
    model, batch = toy_clip(), toy_batch()
    before = {name: w.clone() for name, w in model.clip.state_dict().items()}
    plain = model(batch.images)
    doubled = {name: 2 * w for name, w in model.weights().items() if "mlp" in name}
    other = model(batch.images, doubled)
    assert (other - plain).abs().max() > 1e-3
    assert all(torch.equal(before[name], w) for name, w in model.clip.state_dict().items())
    write_weights(model, doubled)
    assert_close(model(batch.images), other)


def test_head_weights_replace_the_head():
    model, batch = toy_clip(), toy_batch()
    head = {
        "head.weight": torch.zeros_like(model.head["head.weight"]),
        "head.bias": torch.tensor([1.0, 2.0, 3.0]),
    }
    assert_close(model(batch.images, head), torch.tensor([1.0, 2.0, 3.0]).expand(len(batch), 3))


def test_with_head_shares_the_towers():
    model = toy_clip()
    other = model.with_head(["red", "blue"], ["{}"])
    assert other.clip is model.clip
    assert other(toy_batch().images).shape == (8, 2)
    assert model(toy_batch().images).shape == (8, 3)


def test_images_of_another_size_are_resized_inside():
    model = toy_clip()
    images = torch.rand(2, 3, 24, 24)
    small = torch.nn.functional.interpolate(images, size=(16, 16), mode="bicubic", antialias=True)
    assert_close(model(images), model(small))


def test_a_tokenizer_is_read_once_for_a_name_and_its_configuration(tmp_path):
    def lengths(context: int) -> int:
        text = CONFIG["text_cfg"] | {"context_length": context}
        (tmp_path / "toy-told.json").write_text(json.dumps(CONFIG | {"text_cfg": text}))
        open_clip.add_model_config(tmp_path)
        assert tokenizer_of("toy-told") is tokenizer_of("toy-told")
        return tokenizer_of("toy-told")(["a star"]).shape[1]

    assert [lengths(12), lengths(20), lengths(12)] == [12, 20, 12]


def test_head_rows_are_unit_means_over_templates():
    clip, _ = open_clip_model(ModelSpec("toy-clip", "random"))
    tokenizer = tokenizer_of("toy-clip")
    T = text_head(clip, tokenizer, CLASSES, TEMPLATES, batch=2)
    for k, name in enumerate(CLASSES):
        one = torch.stack(
            [clip.encode_text(tokenizer([t.format(name)]), normalize=True)[0] for t in TEMPLATES]
        ).mean(dim=0)
        assert_close(T[k], one / one.norm(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ModelSpec("ViT-B-23"), "did you mean .*ViT-B-32"),
        (ModelSpec("ViT-B-32"), "--pretrained"),
        (ModelSpec("ViT-B-32", "opnai"), "openai"),
    ],
)
def test_says_what_is_wrong_with_a_model_name(spec, says):
    with pytest.raises(UserError, match=says):
        build(spec, CLASSES, TEMPLATES)


def test_a_file_that_is_not_weights_is_named(tmp_path):
    for name, content in [
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0{}"),
        ("b.pt", b"nothing"),
        ("c.safetensors", b"x"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            build(ModelSpec("toy-clip", str(tmp_path / name)), CLASSES, TEMPLATES)


def test_a_template_needs_a_place_for_the_name():
    model = toy_clip()
    with pytest.raises(UserError, match=r"no \{\}"):
        model.with_head(CLASSES, ["a photo"])


def test_openai_s_weights_get_quick_gelu(monkeypatch):
    # open_clip 3 builds GELU for the tag and only warns; every number would be that of a damaged
    # model
    asked = []

    def create(name: str, **options: object) -> torch.nn.Module:
        asked.append(name)
        return torch.nn.Module()

    monkeypatch.setattr(loading.open_clip, "create_model", create)
    loading.open_clip_model(ModelSpec("ViT-B-32", "openai"))
    loading.open_clip_model(ModelSpec("ViT-B-32", "laion2b_s34b_b79k"))
    assert asked == ["ViT-B-32-quickgelu", "ViT-B-32"]
    assert open_clip.get_model_config(asked[0])["quick_gelu"] is True


def test_a_file_s_activation_is_said(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="ViT-B-32-quickgelu"), pytest.raises(UserError):
        build(ModelSpec("ViT-B-32", str(tmp_path / "w.pt")), CLASSES, TEMPLATES)


def test_the_scale_is_read_in_inference_mode_too():
    wanted = toy_clip().logit_scale
    with torch.inference_mode():
        model = toy_clip()
        assert model.clip.logit_scale.is_inference()
        assert model.logit_scale == wanted
        model.clip.logit_scale.add_(math.log(2))
        assert model.logit_scale == pytest.approx(2 * wanted)


def doubled_in_place(stored: nn.Parameter) -> None:
    with torch.no_grad():
        stored.add_(math.log(2))


def doubled_as_data(stored: nn.Parameter) -> None:
    stored.data = stored.data + math.log(2)


def doubled_behind_its_back(stored: nn.Parameter) -> None:
    stored.data.add_(math.log(2))  # which its version does not count


@pytest.mark.parametrize("change", [doubled_in_place, doubled_as_data, doubled_behind_its_back])
def test_a_changed_scale_is_read_anew(change: Callable[[nn.Parameter], None]):
    model = toy_clip()
    before = model.logit_scale
    change(model.clip.logit_scale)
    assert model.logit_scale == pytest.approx(2 * before)


def test_a_gpus_scale_is_read_once_until_it_is_written_or_replaced():
    model = toy_clip()
    with pretended_gpu() as seen:
        model.to("cuda")
        before = model.logit_scale
        seen.waits.clear()
        assert model.logit_scale == before and not seen.waits
        for change in (doubled_in_place, doubled_as_data):
            before = model.logit_scale
            change(model.clip.logit_scale)
            assert model.logit_scale == pytest.approx(2 * before)
        other = nn.Parameter(torch.zeros((), device="cuda"))
        model.clip.logit_scale = other  # of the same version and type as the first one was
        assert model.logit_scale == 1
        doubled_in_place(other)
        assert model.logit_scale == pytest.approx(2)
        model.clip.logit_scale = nn.Parameter(other.data)  # the same memory, with its own count
        doubled_in_place(model.clip.logit_scale)
        assert model.logit_scale == pytest.approx(4)
