"""Checkpoints: plain, whole, readable by open_clip, and never a way to run code."""

import os
import pickle
import re
import resource
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

import grace_geom
from grace_geom.checkpoint import (
    checkpoint_of,
    digest,
    export_weights,
    link,
    load_checkpoint,
    open_base,
    open_checkpoint,
    save_checkpoint,
)
from grace_geom.checkpoint.opened import architecture
from grace_geom.errors import UserError
from grace_geom.methods import METHODS
from grace_geom.models import ClipClassifier, ModelSpec, build, tokenizer_of
from grace_geom.weights import detach
from tests.processes import fork, wait
from tests.toys import CLASSES, TEMPLATES, register_toy, toy_batch, toy_clip, toy_run, train

INTERFACE = {
    "format",
    "model",
    "state_dict",
    "adapter",
    "base",
    "class_names",
    "templates",
    "text_head",
    "config",
    "step",
    "metrics",
    "trainer",
}


@pytest.fixture(scope="module", params=["ft", "lora"])
def trained(request):
    """A method after three steps: its run, and the logits at its effective weights."""
    method = METHODS[request.param](lr=1e-2)
    run = toy_run(method)
    train(method, run, [toy_batch(seed=s) for s in range(3)])
    with torch.no_grad():
        weights = detach(method.weights(run.model, run.params))
    return method, run, run.model(toy_batch().images, weights)


def saved(trained, path: Path) -> Path:
    method, run, _ = trained
    checkpoint = checkpoint_of(
        run.model,
        method.finish(run),
        adapter=method.kept_leaves(run),
        config={"method": "x"},
        step=run.step,
        trainer={"optimizer": {"state": {0: torch.ones(2)}}},
    )
    save_checkpoint(path, checkpoint)
    return path


def test_reads_as_plain_data_with_the_promised_keys(trained, tmp_path):
    content = torch.load(saved(trained, tmp_path / "c.pt"), weights_only=True)
    assert content.keys() >= INTERFACE
    assert content["format"] == "grace_geom.checkpoint/1"
    assert content["class_names"] == list(CLASSES) and content["templates"] == list(TEMPLATES)
    assert content["trainer"]["optimizer"]["state"][0].tolist() == [1, 1]


def test_logits_come_back(trained, tmp_path):
    model, checkpoint = open_checkpoint(saved(trained, tmp_path / "c.pt"))
    with torch.no_grad():
        assert_close(model(toy_batch().images), trained[2], atol=1e-5, rtol=1e-5)
    assert checkpoint.step == 3
    assert checkpoint.adapter.keys() == trained[0].kept_leaves(trained[1]).keys()


def test_merged_weights_load_into_plain_open_clip(trained, tmp_path):
    path = saved(trained, tmp_path / "c.pt")
    content = torch.load(path, weights_only=True)
    clip = open_clip.create_model(content["model"]).eval()
    clip.load_state_dict(content["state_dict"])  # strict
    for other in (clip, grace_geom.load(path)):
        x = toy_batch().images
        x = (x - torch.tensor(clip.visual.preprocess_cfg["mean"]).view(3, 1, 1)) / torch.tensor(
            clip.visual.preprocess_cfg["std"]
        ).view(3, 1, 1)
        with torch.no_grad():
            features = torch.nn.functional.normalize(other.encode_image(x), dim=-1)
        logits = features @ content["text_head"]["weight"].T + content["text_head"]["bias"]
        assert_close(logits, trained[2], atol=1e-5, rtol=1e-5)


def test_export_is_read_by_create_model(trained, tmp_path):
    path = saved(trained, tmp_path / "c.pt")
    said = export_weights(path, tmp_path / "x.safetensors")
    assert "open_clip.create_model('toy-clip'" in said
    clip = open_clip.create_model("toy-clip", pretrained=str(tmp_path / "x.safetensors"))
    assert digest(clip.state_dict()) == digest(load_checkpoint(path).state_dict)
    with pytest.raises(UserError, match="--force"):
        export_weights(path, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        export_weights(path, tmp_path / "x.pt")


def test_the_base_is_found_again_and_checked(trained, tmp_path):
    checkpoint = load_checkpoint(saved(trained, tmp_path / "c.pt"))
    assert digest(open_base(checkpoint).clip.state_dict()) == digest(
        trained[1].model.clip.state_dict()
    )
    checkpoint.base["sha256"] = "0" * 64
    with pytest.raises(UserError, match="not those the run started from"):
        open_base(checkpoint)


def test_same_content_same_bytes(trained, tmp_path):
    first, second = saved(trained, tmp_path / "a.pt"), saved(trained, tmp_path / "b.pt")
    assert first.read_bytes() == second.read_bytes()
    save_checkpoint(second, load_checkpoint(first))
    assert first.read_bytes() == second.read_bytes()


def test_a_view_is_saved_without_the_memory_behind_it(tmp_path):
    model = toy_clip()
    large = torch.zeros(10_000_000)
    weights = {"visual.class_embedding": large[:16]}
    save_checkpoint(tmp_path / "c.pt", checkpoint_of(model, weights))
    assert (tmp_path / "c.pt").stat().st_size < 20_000_000


def test_weights_of_no_tensor_of_the_model_are_a_fault():
    with pytest.raises(KeyError, match="nonsense"):
        checkpoint_of(toy_clip(), {"visual.nonsense": torch.zeros(1)})


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_pickled_code_is_never_run(tmp_path):
    trace = tmp_path / "was-run"
    torch.save({"format": "grace_geom.checkpoint/1", "x": Malicious(trace)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Malicious(trace)))
    for name in ("zip.pt", "plain.pt"):
        for call in (load_checkpoint, open_checkpoint, grace_geom.load):
            with pytest.raises(UserError, match=name) as error:
                call(tmp_path / name)
        assert "never run" in str(error.value)
    assert not trace.exists()


def test_files_that_are_not_checkpoints(trained, tmp_path):
    whole = saved(trained, tmp_path / "ckpt.pt").read_bytes()
    cases = {
        "cut.pt": whole[: len(whole) // 2],
        "start.pt": whole[:100],
        "empty.pt": b"",
        "text.pt": b"hello " * 50,
        "host.pt": b"machine\n",
        "zip.pt": b"PK\x03\x04" + bytes(200),
        "cut.safetensors": bytes(9),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not a checkpoint") as error:
            load_checkpoint(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"did you mean 'ckpt\.pt'"):
        load_checkpoint(tmp_path / "ckptt.pt")
    torch.save({"a": 1}, tmp_path / "foreign.pt")
    with pytest.raises(UserError, match="--model NAME --classes FILE"):
        load_checkpoint(tmp_path / "foreign.pt")


def test_damaged_and_newer_ones_of_ours(trained, tmp_path):
    content = torch.load(saved(trained, tmp_path / "c.pt"), weights_only=True)
    torch.save(content | {"format": "grace_geom.checkpoint/2"}, tmp_path / "new.pt")
    with pytest.raises(UserError, match="newer version"):
        load_checkpoint(tmp_path / "new.pt")
    del content["text_head"]
    torch.save(content, tmp_path / "damaged.pt")
    with pytest.raises(UserError, match="it has no text_head"):
        load_checkpoint(tmp_path / "damaged.pt")


def _nan(tensors):
    name = next(iter(tensors))
    return tensors | {name: torch.full_like(tensors[name], float("nan"))}


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("state_dict", lambda w: {}, "its state_dict is empty"),
        ("state_dict", lambda w: None, "its state_dict is empty"),
        ("state_dict", lambda w: w | {next(iter(w)): 1}, "is not a tensor"),
        ("state_dict", _nan, "not finite"),
        ("text_head", _nan, "not finite"),
        ("text_head", lambda w: {"weight": w["weight"]}, "no bias"),
        ("text_head", lambda w: w | {"weight": w["weight"][1:]}, "its text_head has shapes"),
        ("text_head", lambda w: w | {"bias": w["bias"][None]}, "its text_head has shapes"),
    ],
)
def test_a_part_that_cannot_be_used_is_said(part, change, says, trained, tmp_path):
    content = torch.load(saved(trained, tmp_path / "c.pt"), weights_only=True)
    torch.save(content | {part: change(content[part])}, tmp_path / "broken.pt")
    for reader in (load_checkpoint, grace_geom.load, open_checkpoint):
        with pytest.raises(UserError, match=says):
            reader(tmp_path / "broken.pt")


def test_a_head_of_another_width_does_not_fit(trained, tmp_path):
    content = torch.load(saved(trained, tmp_path / "c.pt"), weights_only=True)
    head = content["text_head"]
    torch.save(
        content | {"text_head": head | {"weight": head["weight"][:, 1:].clone()}},
        tmp_path / "narrow.pt",
    )
    with pytest.raises(UserError, match="features of"):
        open_checkpoint(tmp_path / "narrow.pt")


def other_clip() -> ClipClassifier:
    return toy_clip(seed=5)


@pytest.mark.parametrize(
    ("layout", "suffix"),
    [
        (lambda s: s, ".pt"),
        (lambda s: s, ".safetensors"),
        (lambda s: {"state_dict": {f"module.{k}": w for k, w in s.items()}, "epoch": 3}, ".pt"),
        (lambda s: {k: w.half() for k, w in s.items()}, ".safetensors"),
    ],
    ids=["state_dict", "safetensors", "data-parallel", "half"],
)
def test_a_whole_foreign_clip(layout, suffix, tmp_path):
    wanted = other_clip()
    content = layout(wanted.clip.state_dict())
    path = tmp_path / f"foreign{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(content, path)
    with pytest.raises(UserError, match="--model"):
        open_checkpoint(path)
    with pytest.raises(UserError, match="--classes"):
        open_checkpoint(path, model=register_toy())
    model, record = open_checkpoint(
        path, model=register_toy(), class_names=CLASSES, templates=TEMPLATES
    )
    with torch.no_grad():
        assert_close(model(toy_batch().images), wanted(toy_batch().images), atol=0.1, rtol=1e-2)
    assert record.class_names == CLASSES
    with pytest.raises(
        UserError, match="does not say which weights it was tuned from: add --pretrained"
    ):
        open_base(record)
    assert digest(grace_geom.load(path, model=register_toy()).state_dict()) == digest(
        model.clip.state_dict()
    )


@pytest.mark.parametrize(
    "layout",
    [
        lambda v: v,
        lambda v: {f"visual.{k}": w for k, w in v.items()},
        lambda v: {f"model.{k}": w for k, w in v.items()} | {"normalize.mean": torch.zeros(3)},
        lambda v: {
            "vision_encoder_state_dict": {f"module.{k}": w for k, w in v.items()},
            "epoch": 1,
            "optimizer": {},
        },
        lambda v: {
            "vision_encoder_state_dict": {f"module.visual.{k}": w for k, w in v.items()},
            "state_dict": {},
        },
    ],
    ids=["fare", "visual", "wrapped", "tecoa", "tecoa-prefixed"],
)
def test_an_image_tower_alone_takes_its_text_tower_from_pretrained(layout, tmp_path):
    tuned = other_clip().clip.visual.state_dict()
    torch.save(layout(tuned), tmp_path / "tower.pt")
    with pytest.raises(UserError, match="image tower only"):
        open_checkpoint(tmp_path / "tower.pt", model=register_toy(), class_names=CLASSES)
    model, record = open_checkpoint(
        tmp_path / "tower.pt",
        model=register_toy(),
        pretrained="random",
        class_names=CLASSES,
        templates=TEMPLATES,
    )
    assert digest(open_base(record).clip.state_dict()) == digest(toy_clip(seed=0).clip.state_dict())
    assert digest(model.clip.visual.state_dict()) == digest(tuned)
    base = toy_clip(seed=0)  # "random" is seed 0
    assert digest({"t": model.head["head.weight"]}) == digest({"t": base.head["head.weight"]})


def test_the_weights_that_come_with_our_model_can_be_named(tmp_path):
    ours = build(ModelSpec(), CLASSES, TEMPLATES)
    torch.save(ours.clip.visual.state_dict(), tmp_path / "tower.pt")
    _, record = open_checkpoint(
        tmp_path / "tower.pt", model="tiny-shapes", pretrained="shipped", class_names=CLASSES
    )
    assert digest(open_base(record).clip.state_dict()) == digest(ours.clip.state_dict())
    with pytest.raises(UserError, match="valid: random, shipped"):
        open_checkpoint(
            tmp_path / "tower.pt", model="tiny-shapes", pretrained="openai", class_names=CLASSES
        )
    with pytest.raises(UserError, match="has no shipped weights"):
        build(ModelSpec("ViT-B-32", "shipped"), CLASSES, TEMPLATES)


def test_a_foreign_file_that_does_not_fit(tmp_path):
    state = toy_clip().clip.state_dict()
    torch.save({k: w for k, w in state.items() if "resblocks.1" not in k}, tmp_path / "short.pt")
    with pytest.raises(UserError, match=r"has no visual\.transformer\.resblocks\.1"):
        open_checkpoint(tmp_path / "short.pt", model=register_toy(), class_names=CLASSES)
    torch.save(state | {"visual.class_embedding": torch.zeros(99)}, tmp_path / "wide.pt")
    with pytest.raises(UserError, match=r"shape \(99,\), the model wants \(16,\)"):
        open_checkpoint(tmp_path / "wide.pt", model=register_toy(), class_names=CLASSES)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds no weights"):
        open_checkpoint(tmp_path / "list.pt", model=register_toy(), class_names=CLASSES)
    with pytest.raises(UserError, match="did you mean"):
        open_checkpoint(tmp_path / "wide.pt", model="ViT-B32", class_names=CLASSES)


def test_quick_gelu_is_part_of_the_name():
    clip = open_clip.create_model(register_toy(), force_quick_gelu=True)
    model = ClipClassifier(clip, tokenizer_of(register_toy()), CLASSES, TEMPLATES)
    assert checkpoint_of(model, {}).model == ""  # no name is known here, and no variant of it
    assert architecture(clip, "ViT-B-32") == "ViT-B-32-quickgelu"
    assert architecture(toy_clip().clip, "ViT-B-32") == "ViT-B-32"
    assert architecture(clip, "ViT-B-32-quickgelu") == "ViT-B-32-quickgelu"


def test_link_replaces_and_survives_the_old_name(tmp_path):
    a, b, name = tmp_path / "a", tmp_path / "b", tmp_path / "name"
    a.write_text("a")
    b.write_text("b")
    link(a, name)
    link(a, name)
    assert name.read_text() == "a"
    link(b, name)
    b.unlink()
    assert name.read_text() == "b"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "name"]


def save_on_a_full_disk(path: Path) -> None:
    """In a process of its own, which can write no large file any more."""
    checkpoint = checkpoint_of(toy_clip(), {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    with pytest.raises(UserError, match=f"^cannot write {re.escape(str(path))}"):
        save_checkpoint(path, checkpoint)


@pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes on this system"
)
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "ckpt.pt"
    save_checkpoint(path, checkpoint_of(toy_clip(), {}, step=7))
    before = path.read_bytes()
    assert len(before) > 1_000_000
    assert wait([fork(save_on_a_full_disk, path)]) == [0]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]
