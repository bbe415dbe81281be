"""What an export refuses, and that a folder is whole or untouched."""

import os
from pathlib import Path

import open_clip
import pytest
import torch

from grace_geom import export
from grace_geom.checkpoint import checkpoint_of, digest, load_checkpoint, save_checkpoint
from grace_geom.errors import UserError
from grace_geom.exporting import (
    FOLDERS,
    ExportRequest,
    export_model,
    extras,
    graph,
    open_clip_folder,
)
from grace_geom.exporting.loaded import compared, opened
from grace_geom.exporting.peft_folder import check, refuse_other_changes
from grace_geom.exporting.run import _writer
from grace_geom.exporting.usage import CODE, LIBRARIES, PIPELINES
from grace_geom.models import ModelSpec, build
from tests.exporting.toy_checkpoints import (
    SETTINGS,
    full_checkpoint,
    lora_checkpoint,
    prompt_checkpoint,
    register,
)
from tests.toys import CLASSES, TEMPLATES


@pytest.fixture
def everything_installed(monkeypatch):
    """Refusals come before any import of a library: they are tested without it."""
    monkeypatch.setattr(extras, "EXTRAS", dict.fromkeys(extras.EXTRAS, ()))


def refused(argv: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        export.main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_the_command_writes_a_folder_with_a_card(tmp_path, capsys):
    path = full_checkpoint(tmp_path)
    export.main([str(path), "--format", "open_clip"])
    out = tmp_path / "toy-quick-open_clip"
    said = capsys.readouterr().out
    assert said.startswith(f"{out}\n")
    assert "card without accuracies: no eval.json beside it" in said
    assert {f.name for f in out.iterdir()} == {
        "README.md",
        "grace_geom_head.json",
        "grace_geom_head.safetensors",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    }
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o777 & ~umask


def test_safetensors_stays_the_default(tmp_path, capsys):
    path = full_checkpoint(tmp_path)
    export.main([str(path), "--out", str(tmp_path / "w.safetensors")])
    plain = (tmp_path / "w.safetensors").read_bytes()
    out = ["--out", str(tmp_path / "x.safetensors")]
    export.main([str(path), "--format", "safetensors", *out])
    assert (tmp_path / "x.safetensors").read_bytes() == plain
    assert "text_head of the checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--format", "tflite"], "--format"),
        (["--out", "model.onnx"], "--out model.onnx: say which format with --format"),
        (["--out", "m.pt2", "--format", "torch.export"], "writes a folder: leave the suffix out"),
        (["--license", "mit"], "--license is for formats with a card"),
        (["--push-to-hub", "a/b"], "--push-to-hub is for formats with a card"),
        (["--format", "open_clip", "--private"], "--private is for --push-to-hub"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, said, tmp_path, capsys):
    (tmp_path / "ckpt.pt").write_text("not read")
    assert said in refused([str(tmp_path), *flags], capsys)


@pytest.mark.parametrize(
    ("flags", "mend"),
    [
        (["--format", "transformers"], "pip install 'grace_geom[transformers]'"),
        (["--format", "peft"], "pip install 'grace_geom[peft]'"),
        (["--format", "onnx"], "pip install 'grace_geom[onnx]'"),
        (["--format", "open_clip", "--push-to-hub", "a/b"], "pip install 'grace_geom[hub]'"),
    ],
)
def test_a_missing_library_is_named_before_anything_is_read(
    flags, mend, tmp_path, capsys, monkeypatch
):
    (tmp_path / "ckpt.pt").write_text("not read")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert mend in refused([str(tmp_path), *flags], capsys)


@pytest.mark.usefixtures("everything_installed")
@pytest.mark.parametrize("format", ["open_clip", "transformers", "peft"])
def test_prompt_tokens_are_refused_where_there_is_no_place_for_them(format, tmp_path):
    with pytest.raises(UserError, match="2 visual prompt tokens"):
        export_model(ExportRequest(prompt_checkpoint(tmp_path), tmp_path / "out", format))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("everything_installed")
@pytest.mark.parametrize("format", ["transformers", "peft"])
def test_another_network_is_refused_by_name(format, tmp_path):
    name = register("toy-average", '{"vision_cfg": {"pool_type": "avg"}}')
    model = build(ModelSpec(name, "random", 0), CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint_of(model, {}))
    with pytest.raises(UserError, match=r"toy-average does not fit .* pools by avg"):
        export_model(ExportRequest(tmp_path, None, format))


def test_an_adapter_is_refused_where_there_is_none_or_it_is_not_all(tmp_path):
    (tmp_path / "full").mkdir()
    with pytest.raises(UserError, match=r"no low-rank factors .*--format transformers"):
        check(opened(full_checkpoint(tmp_path / "full"), verify=True))
    moved = {"visual.ln_post.bias": torch.ones(16)}
    loaded = opened(lora_checkpoint(tmp_path, changes=moved), verify=True)
    check(loaded)
    base = build(ModelSpec("toy-clip", "random", 0), CLASSES, TEMPLATES)
    with pytest.raises(UserError, match=r"also changed visual.ln_post.bias"):
        refuse_other_changes(loaded, base)


def test_an_adapter_of_the_wrong_scale_is_noticed(tmp_path):
    pytest.importorskip("peft", reason="needs peft: pip install 'grace_geom[peft]'")
    path = lora_checkpoint(tmp_path, SETTINGS | {"lora_alpha": 5.0})
    with pytest.raises(RuntimeError, match="logits differ"):
        export_model(ExportRequest(path, tmp_path / "out", "peft"))
    assert not (tmp_path / "out").exists()


def test_an_existing_export_is_replaced_with_force_alone(tmp_path):
    path, out = full_checkpoint(tmp_path), tmp_path / "out"
    export_model(ExportRequest(path, out, "open_clip"))
    (out / "stale.txt").write_text("of the first export")
    with pytest.raises(UserError, match="exists already: add --force"):
        export_model(ExportRequest(path, out, "open_clip"))
    export_model(ExportRequest(path, out, "open_clip", force=True))
    assert not (out / "stale.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ckpt.pt", "out"]


def test_force_removes_no_folder_of_somebody_else(tmp_path):
    path, home = full_checkpoint(tmp_path), tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("ten years")
    with pytest.raises(UserError, match="no export of grace_geom"):
        export_model(ExportRequest(path, home, "open_clip", force=True))
    assert (home / "thesis.tex").read_text() == "ten years"


def test_an_export_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path, out = full_checkpoint(tmp_path), tmp_path / "out"
    export_model(ExportRequest(path, out, "open_clip"))
    before = {f.name: f.read_bytes() for f in out.iterdir()}

    def full_disk(folder, loaded):
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(open_clip_folder, "write", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        export_model(ExportRequest(path, out, "open_clip", force=True))
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ckpt.pt", "out"]


def test_logits_that_differ_are_a_fault():
    ours = torch.tensor([[10.0, 2.0]])
    assert compared(ours, ours + 1e-5, "it") == pytest.approx(1e-6, rel=0.1)
    for wrong in (ours + 0.01, ours * float("nan")):
        with pytest.raises(RuntimeError, match="it: logits differ"):
            compared(ours, wrong, "it")


def test_every_format_has_a_writer_and_its_words():
    for format in FOLDERS:
        assert all(callable(f) for f in _writer(format, ExportRequest(Path("x"))))
    assert tuple(CODE) == tuple(LIBRARIES) == tuple(PIPELINES) == FOLDERS
    assert graph.PT2 in CODE["torch.export"] and graph.ONNX in CODE["onnx"]


def test_the_exported_weights_are_the_merged_ones(tmp_path):
    path = lora_checkpoint(tmp_path)
    export_model(ExportRequest(path, tmp_path / "out", "open_clip"))
    clip = open_clip.create_model(f"local-dir:{tmp_path / 'out'}")
    assert digest(clip.state_dict()) == digest(load_checkpoint(path).state_dict)
