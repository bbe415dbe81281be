"""Folders of transformers and PEFT: each tensor is read, merged or refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from grace_geom.checkpoint import open_checkpoint
from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, open_clip_model, preprocess_of
from grace_geom.models.transformers_names import preprocess_config
from tests.toys import CLASSES, register_toy, toy_clip

BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip
TOP = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    **{f"visual.ln_pre.{k}": f"vision_model.pre_layrnorm.{k}" for k in ("weight", "bias")},
    **{f"visual.ln_post.{k}": f"vision_model.post_layernorm.{k}" for k in ("weight", "bias")},
    **{f"ln_final.{k}": f"text_model.final_layer_norm.{k}" for k in ("weight", "bias")},
    "logit_scale": "logit_scale",
}
SIDES = {"height": 16, "width": 16}
VISION = {
    "model_type": "clip_vision_model", "hidden_act": "gelu", "num_attention_heads": 2,
    "layer_norm_eps": 1e-5,
}  # fmt: skip


def theirs(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's tensors as transformers names and lays them out."""
    found = {}
    for name, w in state.items():
        if name in TOP:
            found[TOP[name]] = w.clone()
        elif name in ("visual.proj", "text_projection"):
            found[("visual" if name[0] == "v" else "text") + "_projection.weight"] = (
                w.T.contiguous()
            )
        else:
            tower = "vision" if name.startswith("visual.") else "text"
            i, inner = name.split(".resblocks.")[1].split(".", 1)
            head = f"{tower}_model.encoder.layers.{i}."
            if "in_proj" in inner:
                kind = inner.rsplit("_", 1)[1]
                for q, part in zip("qkv", w.chunk(3), strict=True):
                    found[f"{head}self_attn.{q}_proj.{kind}"] = part.clone()
            else:
                module, kind = inner.rsplit(".", 1)
                found[f"{head}{BLOCK[module]}.{kind}"] = w.clone()
    return found


def vision_only(tensors):
    return {n: w for n, w in tensors.items() if n.startswith("vis")}


def folder_of(folder: Path, tensors, config=VISION, name="model.safetensors") -> Path:
    save = save_file if name.endswith("safetensors") else torch.save
    save(tensors, folder / name)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def whole(vision=VISION):
    text = {"num_attention_heads": 2, "hidden_act": vision["hidden_act"]}
    return {"model_type": "clip", "vision_config": vision, "text_config": text}


@pytest.fixture(scope="module")
def tuned():
    return {n: w.clone() for n, w in toy_clip(seed=7).clip.state_dict().items()}


def same(clip, state) -> bool:
    return all(torch.equal(w, state[n]) for n, w in clip.state_dict().items())


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_both_towers_is_read_at_both_doors(name, tuned, tmp_path, recwarn):
    folder = folder_of(tmp_path, theirs(tuned), whole(), name)
    clip, origin = open_clip_model(ModelSpec(register_toy(), str(folder)))
    assert same(clip, tuned) and origin.startswith(f"{name}:")
    model, _ = open_checkpoint(folder, model=register_toy(), class_names=CLASSES)
    assert same(model.clip, tuned)
    assert not [w for w in recwarn if "GELU" in str(w.message)]  # config.json tells


def test_an_image_tower_takes_its_text_from_where_it_is_told(tuned, tmp_path):
    base = {n: w.clone() for n, w in toy_clip(seed=8).clip.state_dict().items()}
    (tmp_path / "tower").mkdir()
    folder = folder_of(tmp_path / "tower", vision_only(theirs(tuned)))
    torch.save(base, tmp_path / "base.pt")
    spec = ModelSpec(register_toy(), str(folder), base=str(tmp_path / "base.pt"))
    clip, origin = open_clip_model(spec)
    assert same(clip, base | {n: w for n, w in tuned.items() if n.startswith("visual.")})
    assert " on base.pt:" in origin
    with pytest.raises(UserError, match=r"image tower only.*--pretrained-base"):
        open_clip_model(ModelSpec(register_toy(), str(folder)))
    with pytest.raises(UserError, match="neither"):
        open_clip_model(ModelSpec(register_toy(), "random", base="random"))


def test_a_base_that_is_not_needed_is_told(tuned, tmp_path):
    torch.save(tuned, tmp_path / "whole.pt")
    with pytest.warns(UserWarning, match="--pretrained-base was not used"):
        open_clip_model(ModelSpec(register_toy(), str(tmp_path / "whole.pt"), base="random"))


def test_of_a_base_that_is_not_needed_nothing_is_taken(tuned, tmp_path):
    (tmp_path / "base").mkdir()
    folder = folder_of(tmp_path / "base", theirs(tuned), whole())
    settings = {"image_mean": [0.5] * 3, "size": SIDES}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    torch.save(tuned, tmp_path / "whole.pt")
    name, file = register_toy(), str(tmp_path / "whole.pt")
    alone, wanted = open_clip_model(ModelSpec(name, file))
    clip, origin = open_clip_model(ModelSpec(name, file, base=str(folder)))
    assert origin == wanted
    assert (
        preprocess_of(clip)
        == preprocess_of(alone)
        != preprocess_of(open_clip_model(ModelSpec(name, str(folder)))[0])
    )
    assert same(clip, tuned)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "quick_gelu"}, "toy-clip-quickgelu"),
        ({"hidden_act": "relu"}, "'relu'"),
        ({"num_attention_heads": 4}, "4 attention heads"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ({"model_type": "siglip_vision_model"}, "siglip_vision_model"),
    ],
)
def test_what_tensors_do_not_say_must_agree(change, said, tuned, tmp_path):
    folder = folder_of(tmp_path, theirs(tuned), {**VISION, **change})
    with pytest.raises(UserError, match=said) as error:
        open_checkpoint(folder, model=register_toy(), class_names=CLASSES)
    assert "\n" not in str(error.value)


def test_every_tensor_is_accounted_for(tuned, tmp_path):
    more = {"vision_model.encoder.layers.0.mlp.fc3.weight": torch.ones(2, 2)}
    folder = folder_of(tmp_path, theirs(tuned) | more, whole())
    with pytest.raises(UserError, match=r"no place for.*fc3"):
        open_checkpoint(folder, model=register_toy(), class_names=CLASSES)
    fewer = theirs(tuned)
    del fewer["vision_model.pre_layrnorm.bias"]
    with pytest.raises(UserError, match=r"visual\.ln_pre\.bias"):
        open_checkpoint(
            folder_of(tmp_path, fewer, whole()), model=register_toy(), class_names=CLASSES
        )


def test_preprocessing_beside_the_weights_is_theirs(tuned, tmp_path):
    folder = folder_of(tmp_path, theirs(tuned), whole())
    settings = {
        "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 2, "do_center_crop": False,
        "size": {"height": 16, "width": 16},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    clip, _ = open_clip_model(ModelSpec(register_toy(), str(folder)))
    found = preprocess_of(clip)
    assert (found.mean, found.std) == ((0.5,) * 3, (0.25,) * 3)
    assert (found.resize_mode, found.interpolation) == ("squash", "bilinear")


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"size": SIDES, "do_center_crop": True}, "squash"),
        ({"size": SIDES, "do_center_crop": True, "crop_size": 16}, "squash"),
        ({"size": SIDES, "do_center_crop": False, "crop_size": 32}, "squash"),
        ({"size": SIDES}, "squash"),
        ({"size": 16, "crop_size": 16}, "shortest"),
        (
            {"size": {"shortest_edge": 16}, "crop_size": SIDES, "rescale_factor": 1 / 255},
            "shortest",
        ),
        ({}, "shortest"),
    ],
)
def test_size_and_crop_say_how_pictures_are_resized(settings, mode, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(settings))
    assert preprocess_config(tmp_path / "p.json", (16, 16))["resize_mode"] == mode


@pytest.mark.parametrize(
    ("settings", "key", "remedy"),
    [
        ({"size": {"shortest_edge": 20}, "crop_size": 16}, "size", "resize_mode=squash"),
        ({"size": {"shortest_edge": 20}}, "size", "resize_mode=squash"),
        ({"size": 20, "crop_size": 20}, "crop_size", "resize_mode=squash"),
        ({"size": {"height": 20, "width": 20}, "crop_size": 16}, "size", "resize_mode=squash"),
        ({"size": SIDES, "crop_size": 12}, "crop_size", "resize_mode=squash"),
        ({"size": {"height": 16, "width": 12}}, "size", "resize_mode=squash"),
        ({"size": {"longest_edge": 16}}, "size", "resize_mode=squash"),
        ({"size": {"shortest_edge": 16, "longest_edge": 20}}, "size", "resize_mode=squash"),
        ({"size": [16, 16]}, "size", "resize_mode=squash"),
        ({"size": 16, "crop_size": "16"}, "crop_size", "resize_mode=squash"),
        ({"size": 16, "do_center_crop": False}, "do_center_crop", "resize_mode=squash"),
        ({"size": 16, "do_resize": False}, "do_resize", "resize_mode=squash"),
        ({"size": 16, "do_rescale": False}, "do_rescale", "mean=0.5,std=0.5"),
        ({"size": 16, "rescale_factor": 1 / 127.5}, "rescale_factor", "mean=0.5,std=0.5"),
        ({"size": 16, "resample": 1}, "resample", "interpolation=bilinear"),
    ],
)
def test_what_a_preprocessor_asks_and_cannot_be_done_is_refused(
    settings, key, remedy, tuned, tmp_path
):
    folder = folder_of(tmp_path, theirs(tuned), whole())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    line = rf"preprocessor_config\.json: {key} is .*--preprocess {remedy.split('=')[0]}="
    with pytest.raises(UserError, match=line) as error:
        open_clip_model(ModelSpec(register_toy(), str(folder)))
    assert "\n" not in str(error.value)
    spec = ModelSpec(register_toy(), str(folder), preprocess=remedy)
    found = preprocess_of(open_clip_model(spec)[0]).record()
    name, _, value = remedy.partition(",")[0].partition("=")
    assert found[name] == ([0.5] * 3 if name == "mean" else value)


ADAPTED = (
    "vision_model.encoder.layers.1.self_attn.q_proj", "vision_model.encoder.layers.0.mlp.fc2",
    "visual_projection",
)  # fmt: skip


def test_an_adapter_folder_is_merged_into_its_base(tuned, tmp_path):
    g, named, factors = torch.Generator().manual_seed(0), theirs(tuned), {}
    for module in ADAPTED:
        n1, n2 = named[f"{module}.weight"].shape
        A, B = torch.randn(2, n2, generator=g), torch.randn(n1, 2, generator=g)
        factors |= {
            f"base_model.model.{module}.lora_A.weight": A,
            f"base_model.model.{module}.lora_B.weight": B,
        }
        named[f"{module}.weight"] = (
            named[f"{module}.weight"].double() + 4.0 * B.double() @ A.double()
        ).float()
    torch.save(tuned, tmp_path / "base.pt")
    (tmp_path / "adapter").mkdir()
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "lora_alpha": 8, "r": 2, "base_model_name_or_path": "x"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    torch.save(named, tmp_path / "merged.pt")
    wanted, _ = open_clip_model(ModelSpec(register_toy(), str(tmp_path / "merged.pt")))
    base = str(tmp_path / "base.pt")
    clip, _ = open_clip_model(ModelSpec(register_toy(), str(tmp_path / "adapter"), base=base))
    assert_close(clip.state_dict(), wanted.state_dict())
    model, record = open_checkpoint(
        tmp_path / "adapter", model=register_toy(), pretrained=base, class_names=CLASSES
    )
    assert_close(model.clip.state_dict(), wanted.state_dict())
    assert record.base["pretrained"] == base
    for door in (
        lambda: open_clip_model(ModelSpec(register_toy(), str(tmp_path / "adapter"))),
        lambda: open_checkpoint(tmp_path / "adapter", model=register_toy(), class_names=CLASSES),
    ):
        with pytest.raises(UserError, match="low-rank factors only: name the weights"):
            door()


def test_weights_in_pieces_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="max_shard_size"):
        open_checkpoint(tmp_path, model=register_toy(), class_names=CLASSES)


def test_pefts_attention_is_refused_with_the_remedy(tuned, tmp_path):
    module = "base_model.model.visual.transformer.resblocks.0.attn"
    torch.save(
        {
            f"{module}.{part}lora_{side}.weight": torch.ones(*shape)
            for part, out in (("", 48), ("base_layer.out_proj.", 16))
            for side, shape in (("A", (2, 16)), ("B", (out, 2)))
        },
        tmp_path / "f.pt",
    )
    torch.save(tuned, tmp_path / "base.pt")
    with pytest.raises(UserError, match=r"out_proj.*merge_and_unload"):
        open_clip_model(
            ModelSpec(register_toy(), str(tmp_path / "f.pt"), base=str(tmp_path / "base.pt"))
        )
