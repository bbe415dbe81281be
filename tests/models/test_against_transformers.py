"""The same answers as transformers and PEFT give, where they are installed."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from grace_geom.checkpoint import checkpoint_of, load, open_checkpoint, save_checkpoint
from grace_geom.data.transforms import eval_view
from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, build, loading, open_clip_model, tokenizer_of
from grace_geom.models.transformers_names import preprocess_config
from grace_geom.preprocess import Preprocess
from tests.toys import CLASSES, CONFIG, TEMPLATES, register_toy, toy_clip

QUICK = {**CONFIG, "quick_gelu": True}

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def their_clip():
    vision = {
        "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    text = {
        "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 49408, "max_position_embeddings": 12,
    }  # fmt: skip
    torch.manual_seed(3)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    model = transformers.CLIPModel(config).eval()
    for w in model.parameters():
        torch.nn.init.normal_(w, std=0.2)
    return model


X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_a_whole_network_is_read_of_their_folder(their_clip, tmp_path):
    their_clip.save_pretrained(tmp_path)
    clip, _ = open_clip_model(ModelSpec(f"local-dir:{tmp_path}"))
    clip.eval()
    ids = torch.tensor([[49406, 320, 1125, 49407] + [0] * 8])
    with torch.no_grad():
        theirs = their_clip(input_ids=ids, pixel_values=X)
        assert_close(clip.encode_image(X, normalize=True), theirs.image_embeds)
        assert_close(clip.encode_text(ids, normalize=True), theirs.text_embeds)
    assert_close(clip.logit_scale, their_clip.logit_scale)


def test_their_image_tower_gives_their_embeddings(their_clip, tmp_path):
    vision = transformers.CLIPVisionModelWithProjection(their_clip.config.vision_config)
    vision.config.projection_dim = 16
    vision = transformers.CLIPVisionModelWithProjection(vision.config).eval()
    vision.save_pretrained(tmp_path / "tower")
    (tmp_path / "quick.json").write_text(json.dumps(QUICK))
    spec = ModelSpec(str(tmp_path / "quick.json"), str(tmp_path / "tower"), base=None)
    torch.save(open_clip_model(ModelSpec(spec.model, "random"))[0].state_dict(), tmp_path / "b.pt")
    clip, _ = open_clip_model(ModelSpec(spec.model, spec.pretrained, base=str(tmp_path / "b.pt")))
    with torch.no_grad():
        assert_close(clip.eval().encode_image(X), vision(X).image_embeds)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["fc1", "visual_projection"]])
def test_pefts_adapters_give_pefts_answers(targets, their_clip, tmp_path):
    peft = pytest.importorskip("peft")
    their_clip.save_pretrained(tmp_path / "base")
    loaded = transformers.CLIPModel.from_pretrained(tmp_path / "base").eval()
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=targets, init_lora_weights=False)
    adapted = peft.get_peft_model(loaded, config)
    adapted.save_pretrained(tmp_path / "adapter")
    spec = ModelSpec(
        f"local-dir:{tmp_path / 'base'}", str(tmp_path / "adapter"), base=str(tmp_path / "base")
    )
    clip, _ = open_clip_model(spec)
    ids = torch.tensor([[49406, 320, 1125, 49407] + [0] * 8])
    with torch.no_grad():
        out = adapted(input_ids=ids, pixel_values=X)
        assert_close(clip.eval().encode_image(X, normalize=True), out.image_embeds)
        assert_close(clip.encode_text(ids, normalize=True), out.text_embeds)


def test_pefts_adapters_of_an_open_clip_model(tmp_path):
    peft = pytest.importorskip("peft")
    model = toy_clip(seed=2)
    torch.save(model.clip.state_dict(), tmp_path / "base.pt")
    config = peft.LoraConfig(
        r=2, lora_alpha=6, target_modules=["c_fc", "conv1"], init_lora_weights=False
    )
    adapted = peft.get_peft_model(model.clip, config).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        wanted = adapted.base_model.model.encode_image(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read, _ = open_checkpoint(
            tmp_path / "adapter", model=register_toy(), pretrained=str(tmp_path / "base.pt"),
            class_names=CLASSES,
        )  # fmt: skip
        with torch.no_grad():
            assert_close(read.clip.encode_image(X), wanted)


# Where 3, 7, 11 ... pixels are cropped, open_clip's centre is one pixel beside theirs: not here.
@pytest.mark.parametrize("shape", [(37, 23), (20, 60), (16, 16), (10, 15)])
@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}},
        {"size": 16, "crop_size": 16, "resample": 2, "image_mean": [0.5] * 3},
        {"size": {"height": 16, "width": 16}, "do_center_crop": True, "crop_size": 16},
        {"size": {"height": 16, "width": 16}, "do_center_crop": False, "do_normalize": False},
    ],
)
def test_pictures_are_read_as_their_processor_reads_them(settings, shape, tmp_path):
    slow = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(settings))
    g = torch.Generator().manual_seed(5)
    pixels = torch.randint(256, (*shape, 3), dtype=torch.uint8, generator=g).numpy()
    theirs = slow.from_pretrained(tmp_path)(Image.fromarray(pixels), return_tensors="pt")
    base = Preprocess((16, 16))
    own = base.overlaid(preprocess_config(file, base.size), str(file))
    x = torch.tensor(eval_view(Image.fromarray(pixels), own)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (own.mean, own.std))
    assert_close((x - mean) / std, theirs["pixel_values"][0], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A tokenizer of a few words, as ``save_pretrained`` leaves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "</s>", "<unk>", "a", "photo", "drawing", "of", "circle", "square", "star"]
    own = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    folder = tmp_path_factory.mktemp("tokens") / "tokenizer"
    fast.save_pretrained(folder)
    return folder


def test_a_tokenizer_beside_a_configuration_is_found(tokenizer, tmp_path):
    text = {**CONFIG["text_cfg"], "vocab_size": 10, "hf_tokenizer_name": "tokenizer"}
    file = tokenizer.parent / "mine.json"
    file.write_text(json.dumps({**CONFIG, "text_cfg": text, "init_logit_bias": -10}))
    assert tokenizer_of(str(file))(["a photo of"])[0].tolist() == [3, 4, 6] + [0] * 9
    model = build(ModelSpec(str(file), "random"), CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "c.pt", checkpoint_of(model, {}))
    again, _ = open_checkpoint(tmp_path / "c.pt")
    assert torch.equal(again.head["head.weight"], model.head["head.weight"])


def test_a_checkpoint_is_opened_where_its_tokenizer_is_gone(tokenizer, tmp_path):
    folder = tmp_path / "here" / "tokenizer"
    shutil.copytree(tokenizer, folder)
    text = {**CONFIG["text_cfg"], "vocab_size": 10, "hf_tokenizer_name": "tokenizer"}
    (folder.parent / "mine.json").write_text(json.dumps({**CONFIG, "text_cfg": text}))
    model = build(ModelSpec(str(folder.parent / "mine.json"), "random"), CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "c.pt", checkpoint_of(model, {}))
    before = model(X)
    shutil.rmtree(folder.parent)
    loading._tokenizer.cache_clear()  # as another process
    again, _ = open_checkpoint(tmp_path / "c.pt")
    assert torch.equal(again(X), before)
    save_checkpoint(tmp_path / "d.pt", checkpoint_of(again, {}))
    assert same_weights(load(tmp_path / "d.pt"), model.clip)
    for needs_text in (
        lambda: open_checkpoint(tmp_path / "c.pt", class_names=["hexagon"]),
        lambda: again.text_features(["a star"]),
    ):
        with pytest.raises(UserError, match=f"tokenizer, {folder}, is not here: put it") as error:
            needs_text()
        assert "\n" not in str(error.value)


def same_weights(clip, other) -> bool:
    own, theirs = clip.state_dict(), other.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[n], theirs[n]) for n in own)


def test_a_folder_brings_its_own_tokenizer(tokenizer):
    text = {**CONFIG["text_cfg"], "vocab_size": 10, "hf_tokenizer_name": "some/other"}
    (tokenizer / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": {**CONFIG, "text_cfg": text}})
    )
    assert tokenizer_of(f"local-dir:{tokenizer}")(["star"])[0, 0] == 9


def test_a_text_tower_of_transformers_is_built_from_a_folder(tokenizer, tmp_path):
    config = transformers.XLMRobertaConfig(
        vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=20, pad_token_id=0,
    )  # fmt: skip
    config.save_pretrained(tokenizer.parent / "tower")
    text = {
        "hf_model_name": "tower", "hf_tokenizer_name": "tokenizer", "hf_proj_type": "mlp",
        "hf_pooler_type": "mean_pooler", "context_length": 12,
    }  # fmt: skip
    file = tokenizer.parent / "xlm.json"
    file.write_text(json.dumps({**CONFIG, "text_cfg": text}))
    model = build(ModelSpec(str(file), "random", 1), CLASSES, TEMPLATES)
    assert type(model.clip.text).__name__ == "HFTextEncoder"
    torch.save(model.clip.state_dict(), tmp_path / "w.pt")
    clip, _ = open_clip_model(ModelSpec(str(file), str(tmp_path / "w.pt")))
    for name, w in clip.state_dict().items():
        assert torch.equal(w, model.clip.state_dict()[name])
