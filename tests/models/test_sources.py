"""``--model`` beyond open_clip's names: repositories of the Hub, folders in its layout,
configurations of the user's own.
"""

import json
import shutil
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from grace_geom.checkpoint import checkpoint_of, open_base, open_checkpoint, save_checkpoint
from grace_geom.checkpoint.export import export_weights
from grace_geom.config import make_config
from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, build, open_clip_model, preprocess_of, tokenizer_of
from grace_geom.models.sources import check_model, known_models
from tests.toys import CLASSES, CONFIG, TEMPLATES, toy_clip

MEAN = [0.1, 0.2, 0.3]
WIDE = {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "width": 24}, "quick_gelu": True}
"""A network that nobody else has registered."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A folder as open_clip pushes it to the Hub."""
    folder = tmp_path_factory.mktemp("hub") / "robust"
    folder.mkdir()
    made = tmp_path_factory.mktemp("made") / "wide.json"
    made.write_text(json.dumps(WIDE))
    clip, _ = open_clip_model(ModelSpec(str(made), "random", 3))
    cfg = {"model_cfg": WIDE, "preprocess_cfg": {"mean": MEAN, "resize_mode": "squash"}}
    (folder / "open_clip_config.json").write_text(json.dumps(cfg))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def as_open_clip(folder: Path):
    """By the other package's own door."""
    return open_clip.create_model(f"local-dir:{folder}")


def same(clip, other) -> bool:
    own, theirs = clip.state_dict(), other.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[n], theirs[n]) for n in own)


def test_a_folder_is_what_open_clip_makes_of_it(repository):
    clip, origin = open_clip_model(ModelSpec(f"local-dir:{repository}"))
    assert same(clip, as_open_clip(repository))
    assert origin.startswith("open_clip_model.safetensors:")
    found = preprocess_of(clip)
    assert (found.mean, found.resize_mode, found.size) == (tuple(MEAN), "squash", (16, 16))
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert_close(clip.encode_image(x), as_open_clip(repository).encode_image(x))


def test_a_repository_is_fetched_by_open_clips_client(repository, monkeypatch):
    asked = []

    def client(repo_id, filename, **_):
        asked.append((repo_id, filename))
        if not (repository / filename).is_file():
            raise FileNotFoundError(filename)
        return str(repository / filename)

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", client)
    clip, _ = open_clip_model(ModelSpec("hf-hub:some/robust"))
    assert same(clip, as_open_clip(repository))
    assert preprocess_of(clip).mean == tuple(MEAN)
    assert tokenizer_of("hf-hub:some/robust")(["a"]).shape == (1, 12)
    assert {repo for repo, _ in asked} == {"some/robust"}


def test_a_base_that_cannot_be_fetched_again_is_told_with_the_cache(repository, monkeypatch):
    def client(repo_id, filename, **_):
        if not (repository / filename).is_file():
            raise FileNotFoundError(filename)
        return str(repository / filename)

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", client)
    checkpoint = checkpoint_of(build(ModelSpec("hf-hub:some/robust"), CLASSES, TEMPLATES), {})

    def unreached(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", unreached)
    with pytest.raises(UserError, match=r"`hf download some/robust` .*HF_HOME") as error:
        open_base(checkpoint)
    assert "--model" not in str(error.value), "which no comparison takes"


def test_without_a_network_the_file_route_is_named(monkeypatch):
    def client(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", client)
    with pytest.raises(UserError, match=r"no route to host.*local-dir:DIR") as error:
        open_clip_model(ModelSpec("hf-hub:some/robust"))
    assert "\n" not in str(error.value)


def test_a_checkpoint_is_opened_where_the_folder_is_gone(repository, tmp_path):
    folder = tmp_path / "robust"
    shutil.copytree(repository, folder)
    model = build(ModelSpec(f"local-dir:{folder}"), CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "c.pt", checkpoint_of(model, {}))
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = model(x)
    _, whole = open_checkpoint(tmp_path / "c.pt")
    assert same(open_base(whole).clip, model.clip)
    shutil.rmtree(folder)
    again, checkpoint = open_checkpoint(tmp_path / "c.pt")
    assert torch.equal(again(x), before)
    assert again.preprocess == model.preprocess
    assert checkpoint.model == f"local-dir:{folder}" and checkpoint.network["quick_gelu"]
    told = r"needs the pretrained weights, local-dir:.*, which is not here: put the folder back at "
    with pytest.raises(UserError, match=f"{told}{folder}, or a link to where it lies now"):
        open_base(checkpoint)
    folder.symlink_to(repository)
    assert same(open_base(checkpoint).clip, model.clip)
    folder.unlink()
    save_checkpoint(tmp_path / "d.pt", checkpoint_of(again, {}))  # once more, from memory
    assert torch.equal(open_checkpoint(tmp_path / "d.pt")[0](x), before)


def test_an_export_is_read_where_only_open_clip_is_known(repository, tmp_path):
    model = build(ModelSpec(f"local-dir:{repository}"), CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint_of(model, {}))
    told = export_weights(tmp_path / "ckpt.pt")
    assert told.splitlines()[0] == str(tmp_path / "robust.safetensors")
    lines = [line.partition("read it with: ")[2] for line in told.splitlines()[1:3]]
    exec(lines[0], {"open_clip": open_clip})
    clip = eval(lines[1], {"open_clip": open_clip})
    assert same(clip, model.clip)


def test_checkpoints_of_known_networks_say_no_more_than_before(tmp_path):
    save_checkpoint(tmp_path / "c.pt", checkpoint_of(toy_clip(), {}))
    assert "network" not in torch.load(tmp_path / "c.pt")


def test_a_configuration_of_ones_own(repository, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**WIDE, "preprocess_cfg": {"std": 0.5}}))
    weights = repository / "open_clip_model.safetensors"
    moved = str(shutil.copy(weights, tmp_path / "w.safetensors"))
    clip, _ = open_clip_model(ModelSpec(str(file), moved))
    assert same(clip, as_open_clip(repository))
    assert preprocess_of(clip).std == (0.5, 0.5, 0.5)
    model, _ = open_checkpoint(moved, model=str(file), class_names=CLASSES)
    assert same(model.clip, clip) and model.preprocess.std == (0.5, 0.5, 0.5)
    config = make_config({"model": str(file), "pretrained": moved, "method": "lora"})
    assert config.spec == ModelSpec(str(file), moved)


def test_two_configurations_of_one_file_name_are_two_networks(tmp_path):
    for name, width in (("a", 16), ("b", 24)):
        (tmp_path / name).mkdir()
        cfg = {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "width": width}}
        (tmp_path / name / "mine.json").write_text(json.dumps(cfg))
        clip, _ = open_clip_model(ModelSpec(str(tmp_path / name / "mine.json"), "random"))
        assert clip.visual.conv1.out_channels == width
    assert not [name for name in known_models() if name.startswith("outside")]


BROKEN = {
    "no configuration": ({"a.txt": ""}, "local-dir:{}", "has no open_clip_config.json"),
    "not JSON": ({"open_clip_config.json": "{"}, "local-dir:{}", "is no JSON"),
    "no towers": ({"open_clip_config.json": '{"model_cfg": {}}'}, "local-dir:{}", "embed_dim"),
    "a list": ({"m.json": "[1]"}, "{}/m.json", "no configuration of open_clip"),
    "absent": ({}, "{}/m.json", "cannot be read"),
    "no folder": ({}, "local-dir:{}/x", "there is no folder"),
    "another model": ({"config.json": '{"model_type": "siglip"}'}, "local-dir:{}", "'siglip'"),
    "no weights": (
        {"open_clip_config.json": json.dumps({"model_cfg": WIDE})}, "local-dir:{}", "no such checkpoint",
    ),
    "unknown setting": (
        {"m.json": json.dumps({**WIDE, "vision_cfg": {"wdth": 3}})}, "{}/m.json", "wdth",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_a_network_is_one_line(case, tmp_path):
    files, model, said = BROKEN[case]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    spec = ModelSpec(model.format(tmp_path), None if "local-dir" in model else "random")
    with pytest.raises(UserError, match=said) as error:
        open_clip_model(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("model", ["hf-hub:", "hf-hub:name", "hf-hub:a/b/c", "local-dir:/nowhere"])
def test_a_name_that_cannot_be_is_refused_before_any_call(model):
    with pytest.raises(UserError, match="--model"):
        check_model(model)


HUGE_TOKENIZERS = ("ViT-B-16-SigLIP", "xlm-roberta-base-ViT-B-32", "nllb-clip-base", "ViTamin-B")


@pytest.mark.parametrize("model", HUGE_TOKENIZERS)
def test_transformers_is_named_before_anything_is_built(model, monkeypatch):
    monkeypatch.setattr("grace_geom.models.sources.find_spec", lambda name: None)
    if model == "ViTamin-B":  # its tokenizer is open_clip's own
        check_model(model)
        return
    with pytest.raises(UserError, match=r"pip install 'grace_geom\[transformers\]'"):
        make_config({"model": model, "pretrained": "random"})
    with pytest.raises(UserError, match="transformers"):
        tokenizer_of(model)


def test_a_pickled_repository_is_read_without_running_it(repository, tmp_path):
    """open_clip's own loader takes ``.bin`` through ``torch.load``; ours is the one reader."""
    shutil.copy(repository / "open_clip_config.json", tmp_path)
    state = as_open_clip(repository).state_dict() | {"head.weight": torch.ones(3, 16)}
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match=r"head\.weight"):
            open_clip_model(ModelSpec(f"local-dir:{tmp_path}"))
