"""A run that was stopped and resumed is the run that never stopped, bit for bit; two runs of one
seed are one run.
"""

import json

import pytest
import torch
from safetensors.torch import save_file

from grace_geom import train
from grace_geom.checkpoint import digest, load_checkpoint
from grace_geom.errors import Interrupted, UserError
from grace_geom.methods import METHODS
from grace_geom.models import ModelSpec, open_clip_model
from grace_geom.training import train_run
from tests.small_run import lines, small_config, small_run
from tests.toys import CONFIG, register_toy

LIKE_OTHERS = ("mix-at", "lora-mix-at", "agft", "ucat", "adv-flyp", "grace-plus")
"""Methods whose state and draws are those of `at`, `lora-at` or `flyp`."""
TRAINED = [
    pytest.param(name, marks=pytest.mark.nightly if name in LIKE_OTHERS else ())
    for name, method in METHODS.items()
    if method.trains
]


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("name", TRAINED)
def test_seven_three_and_five_steps_are_fifteen(name, tmp_path):
    whole = small_run(tmp_path, name, epochs=3, out=str(tmp_path / "whole"))
    parts = tmp_path / "parts"
    config = {"epochs": 3, "out": str(parts)}
    with pytest.raises(Interrupted, match="--resume"):
        small_run(tmp_path, name, **config, stop_after=7)  # inside the second epoch of five steps
    torch.manual_seed(99)  # whatever the new process did before
    with pytest.raises(Interrupted):
        small_run(tmp_path, name, **config, stop_after=10, resume=True)
    small_run(tmp_path, name, **config, resume=True)
    a, b = load_checkpoint(whole / "ckpt.pt"), load_checkpoint(parts / "ckpt.pt")
    assert a.step == b.step == 15
    assert digest(a.state_dict) == digest(b.state_dict)
    assert same(a.trainer, b.trainer)
    assert (whole / "ckpt.pt").read_bytes() == (parts / "ckpt.pt").read_bytes()
    for stream in ("metrics", "curvature"):
        if (whole / f"{stream}.jsonl").exists():
            clock = {"seconds", "images_per_s"}
            first, second = (
                [
                    {k: v for k, v in r.items() if k not in clock}
                    for r in lines(folder / f"{stream}.jsonl")
                ]
                for folder in (whole, parts)
            )
            assert first == second


@pytest.mark.parametrize("name", ["grace", "ft"])
def test_one_seed_one_checkpoint(name, tmp_path):
    first, second, other = (
        small_run(tmp_path, name, out=str(tmp_path / out), seed=seed)
        for out, seed in [("a", 3), ("b", 3), ("c", 4)]
    )
    assert (first / "ckpt.pt").read_bytes() == (second / "ckpt.pt").read_bytes()
    assert digest(load_checkpoint(first).state_dict) != digest(load_checkpoint(other).state_dict)


def test_workers_change_nothing(tmp_path):
    first, second = (
        small_run(tmp_path, "ft", out=str(tmp_path / f"w{n}"), workers=n, epochs=1) for n in (0, 2)
    )
    assert digest(load_checkpoint(first).state_dict) == digest(load_checkpoint(second).state_dict)


def test_records_after_the_checkpoint_are_written_again(tmp_path):
    with pytest.raises(Interrupted):
        small_run(tmp_path, "grace", stop_after=7)
    with open(tmp_path / "run" / "curvature.jsonl", "a") as file:
        file.write('{"step": 7, "matrices": {}}\n')  # made before the eighth step
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write(
            '{"step": 8, "seconds": 1.0, "loss": 0.0}\n{"step": 9, "lo'
        )  # the process was killed here
    out = small_run(tmp_path, "grace", resume=True)
    refreshes = lines(out / "curvature.jsonl")
    assert [r["step"] for r in refreshes] == list(range(10)) and all(
        r["matrices"] for r in refreshes
    )
    steps = [r["step"] for r in lines(out / "metrics.jsonl") if "loss" in r]
    assert steps == list(range(1, 11))
    seconds = [r["seconds"] for r in lines(out / "metrics.jsonl")]
    assert seconds == sorted(seconds)


def test_another_config_is_refused_by_name(tmp_path):
    with pytest.raises(Interrupted):
        small_run(tmp_path, stop_after=3)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(
        UserError, match=r"lr was 0\.01, now 0\.02; epochs was 2, now 3|epochs was 2, now 3; lr was"
    ):
        small_run(tmp_path, resume=True, lr=2e-2, epochs=3)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    small_run(tmp_path, resume=True, log_every=2, keep=0)  # what does not change the run may change


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match="there is no run at"):
        small_run(tmp_path, resume=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").write_text("")
    with pytest.raises(UserError, match="not a run directory"):
        small_run(tmp_path, resume=True)


def test_a_finished_run_stays_as_it_is(tmp_path, capsys):
    out = small_run(tmp_path)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert small_run(tmp_path, resume=True) == out
    assert "is finished" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_other_base_weights_are_noticed(tmp_path):
    with pytest.raises(Interrupted):
        small_run(tmp_path, stop_after=3)
    path = tmp_path / "run" / "ckpt.pt"
    content = torch.load(path, weights_only=True)
    content["base"]["sha256"] = "0" * 64
    torch.save(content | {"rest_sha256": None}, path)
    with pytest.raises(UserError, match="started from other weights"):
        small_run(tmp_path, resume=True)


def test_a_run_stopped_before_its_first_checkpoint_starts_again(tmp_path):
    with pytest.raises(Interrupted):
        small_run(tmp_path, stop_after=3)
    (tmp_path / "run" / "ckpt.pt").unlink()
    out = train_run(small_config(tmp_path, resume=True), quiet=True)
    assert [r["step"] for r in lines(out / "metrics.jsonl") if "loss" in r] == list(range(1, 11))


def test_a_run_whose_networks_folder_is_gone_says_where_it_belongs(tmp_path, capsys):
    clip, _ = open_clip_model(ModelSpec(register_toy(), "random"))
    kept, gone = tmp_path / "kept", tmp_path / "robust"
    kept.mkdir()
    (kept / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    save_file(clip.state_dict(), kept / "open_clip_model.safetensors")
    gone.symlink_to(kept)
    values = {"model": f"local-dir:{gone}", "pretrained": None, "max_steps": 4}
    with pytest.raises(Interrupted):
        small_run(tmp_path, **values, stop_after=2)
    gone.unlink()
    with pytest.raises(SystemExit):
        train.main(["--out", str(tmp_path / "run"), "--resume"])
    told = capsys.readouterr().err
    assert f"error: --resume needs the pretrained weights, local-dir:{gone}, which is not" in told
    assert f"put the folder back at {gone}, or a link to where it lies now" in told
    gone.symlink_to(kept)
    train.main(["--out", str(tmp_path / "run"), "--resume"])
    assert load_checkpoint(tmp_path / "run").step == 4
