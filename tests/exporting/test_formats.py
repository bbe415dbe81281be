"""Each format, read by its own library: logits, features, tokens and pixels are ours."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from grace_geom.checkpoint import Checkpoint
from grace_geom.data.transforms import eval_view
from grace_geom.errors import UserError
from grace_geom.exporting.graph import ImageGraph, traced
from grace_geom.exporting.head import HEAD_FILE
from grace_geom.exporting.loaded import Loaded
from tests.exporting.toy_checkpoints import register, toy
from tests.toys import CLASSES, TEMPLATES

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "howto" / "export.md"
TEXTS = ["A photo of a  circle!", "it's 42 stars, & naïve ones", "word " * 30]


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(n))


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal to 1e-5 of the largest."""
    largest = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * largest)


def picture(width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 5 + c) + np.cos(columns / 7 - c) for c in range(3)]
    return Image.fromarray((np.stack(waves, -1) * 60 + 128).astype(np.uint8))


def pixels(loaded, image: Image.Image) -> torch.Tensor:
    """Ours: resized, in [0, 1], normalised, ``(3, H, W)``."""
    view = torch.tensor(eval_view(image, loaded.model.preprocess)).float() / 255
    view = view.permute(2, 0, 1) if view.shape[-1] == 3 else view
    return ((view[None] - loaded.model.mean) / loaded.model.std)[0]


@torch.no_grad()
def test_open_clip_reads_towers_head_and_preprocessing(exported):
    loaded, out, said = exported("full", "open_clip")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    x = images()
    normal = (x - loaded.model.mean) / loaded.model.std
    features = model.eval().encode_image(normal, normalize=True)
    tokens = open_clip.get_tokenizer(f"local-dir:{out}")(TEXTS)
    same(features, loaded.model.features(x))
    same(model.encode_text(tokens, normalize=True), loaded.model.text_features(TEXTS))
    head = load_file(out / HEAD_FILE)
    same(F.linear(features, head["weight"], head["bias"]), loaded.model(x))
    same(preprocess(picture(40, 24)), pixels(loaded, picture(40, 24)))
    assert "The head was trained" in said


def test_the_folder_tells_classes_templates_and_preprocessing(exported):
    _, out, _ = exported("full", "open_clip")
    about = json.loads((out / "grace_geom_head.json").read_text())
    assert about["class_names"] == list(CLASSES)
    assert about["templates"] == list(TEMPLATES)
    assert about["preprocess"]["size"] == [16, 16]
    assert about["preprocess"]["resize_mode"] == "squash"
    assert about["preprocess"]["std"] == [0.25] * 3


@torch.no_grad()
def test_transformers_reads_both_towers(exported):
    loaded, out, _ = exported("full", "transformers")
    from transformers import AutoTokenizer, CLIPModel

    clip = CLIPModel.from_pretrained(out).eval()
    assert clip.config.vision_config.hidden_act == "quick_gelu"
    tokens = AutoTokenizer.from_pretrained(out)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    x = images()
    normal = (x - loaded.model.mean) / loaded.model.std
    text = loaded.model.text_features(TEXTS)
    wanted = loaded.model.logit_scale * loaded.model.features(x) @ text.T
    same(clip(pixel_values=normal, **tokens).logits_per_image, wanted)


@torch.no_grad()
def test_transformers_reads_the_image_tower_alone_as_llava_does(exported):
    loaded, out, _ = exported("full", "transformers")
    from transformers import CLIPImageProcessor, CLIPVisionModel, CLIPVisionModelWithProjection

    x = images()
    normal = (x - loaded.model.mean) / loaded.model.std
    projected = CLIPVisionModelWithProjection.from_pretrained(out).eval()
    same(projected(pixel_values=normal).image_embeds, loaded.model.encode(x))
    plain, notes = CLIPVisionModel.from_pretrained(out, output_loading_info=True)
    assert not notes["missing_keys"]
    hidden = plain.eval()(pixel_values=normal, output_hidden_states=True).hidden_states
    last = projected.state_dict()
    normed = F.layer_norm(
        hidden[-1][:, 0], (16,), *(v for k, v in last.items() if "post_layernorm" in k)
    )
    same(normed @ loaded.model.clip.visual.proj, loaded.model.encode(x))
    processor = CLIPImageProcessor.from_pretrained(out)
    assert processor.size["height"] == 16 and not processor.do_center_crop


def test_transformers_prepares_texts_and_pictures_as_we_do(exported):
    loaded, out, _ = exported("full", "transformers")
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(out)
    found = processor(text=TEXTS, padding=True, truncation=True)["input_ids"]
    ours = loaded.model.tokenizer(TEXTS)
    end = int(ours.max())
    for mine, theirs in zip(ours.tolist(), found, strict=True):
        length = mine.index(end) + 1
        assert theirs[:length] == mine[:length]
        assert set(theirs[length:]) <= {end}
    for image, levels in ((picture(16, 16), 0.01), (picture(40, 24), 2.5)):
        theirs = processor(images=image, return_tensors="pt")["pixel_values"][0]
        step = levels / 255 / 0.25  # grey levels: resizing rounds elsewhere
        torch.testing.assert_close(theirs, pixels(loaded, image), rtol=0, atol=step)


@torch.no_grad()
def test_peft_puts_the_adapter_on_the_base_and_merges_it(exported):
    loaded, out, _ = exported("lora", "peft")
    from peft import PeftModel
    from transformers import CLIPModel

    x = images()
    normal = (x - loaded.model.mean) / loaded.model.std
    wanted = loaded.model.features(x)
    base = CLIPModel.from_pretrained(out / "base").eval()
    before = F.normalize(base.get_image_features(normal).pooler_output, dim=-1)
    same(before, toy().features(x))
    assert (before - wanted).abs().max() > 0.01, "the adapter changes something"
    adapted = PeftModel.from_pretrained(base, out).eval()
    same(F.normalize(adapted.get_image_features(normal).pooler_output, dim=-1), wanted)
    merged = adapted.merge_and_unload()
    same(F.normalize(merged.get_image_features(normal).pooler_output, dim=-1), wanted)
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 3.0)
    assert config["base_model_name_or_path"] is None


@torch.no_grad()
def test_torch_export_takes_any_number_of_images_and_holds_prompt_tokens(exported):
    loaded, out, said = exported("prompt", "torch.export")
    program = torch.export.load(out / "model.pt2").module()
    for n in (1, 5):
        features, logits = program(images(n))
        same(features, loaded.model.features(images(n)))
        same(logits, loaded.model(images(n)))
    assert (logits - toy()(images(5))).abs().max() > 0.01, "the tokens change something"
    assert "The head (in the graph) is the zero-shot head" in said


@torch.no_grad()
def test_onnxruntime_takes_any_number_of_images(exported):
    loaded, out, _ = exported("full", "onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(out / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.shape[1:]) == ("images", [3, 16, 16])
    assert isinstance(given.shape[0], str)
    names = session.get_modelmeta().custom_metadata_map["class_names"]
    assert json.loads(names) == list(CLASSES)
    for n in (1, 5):
        features, logits = map(torch.from_numpy, session.run(None, {"images": images(n).numpy()}))
        same(features, loaded.model.features(images(n)))
        same(logits, loaded.model(images(n)))


def test_a_tower_that_is_no_plain_vit_is_called_as_it_is():
    resnet = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "patch_size": None}
    model = toy(register("toy-resnet", json.dumps({"vision_cfg": resnet})))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features, logits = ImageGraph(model).eval()(x)
        same(features, model.features(x))
        same(logits, model(x))
    loaded = Loaded(model, Checkpoint("toy-resnet", {}, CLASSES, TEMPLATES, {}), HOW_TO)
    program = traced(loaded).module()
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        same(program(x)[1], model(x))


class Counting(torch.nn.Module):
    """A tower whose operations depend on the pixels."""

    image_size = 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :16] if x.sum() > 0 else x.flatten(1)[:, 16:32]


def test_a_tower_that_cannot_be_traced_is_refused_by_name(tmp_path):
    model = toy()
    model.clip.visual, model.shape = Counting(), None
    checkpoint = Checkpoint("toy-counting", {}, CLASSES, TEMPLATES, {})
    with pytest.raises(UserError, match=r"toy-counting: torch.export cannot trace its Counting"):
        traced(Loaded(model, checkpoint, tmp_path))


def test_the_script_of_the_how_to_names_the_class(exported, tmp_path, monkeypatch, capsys):
    loaded, out, _ = exported("lora", "onnx")
    scripts = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.S)
    script = [text for text in scripts if "onnxruntime" in text]
    assert len(script) == 1
    (tmp_path / "photos-onnx").symlink_to(out)
    image = picture(40, 24)
    image.save(tmp_path / "photo.jpg", format="PNG")  # what matters is the pixels
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(script[0], names)
    with torch.no_grad():
        view = torch.tensor(eval_view(image, loaded.model.preprocess)).permute(2, 0, 1) / 255
        wanted = loaded.model(view[None])
    same(torch.from_numpy(names["logits"]), wanted)
    assert capsys.readouterr().out.strip() == CLASSES[int(wanted.argmax())]
