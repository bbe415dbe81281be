"""The door ``python -m grace_geom.train``: what it leaves on disk, and how it says no."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from grace_geom import train
from grace_geom.checkpoint import load_checkpoint, open_checkpoint
from grace_geom.config import parse_train
from grace_geom.data import resolve
from grace_geom.errors import UserError
from grace_geom.methods import METHODS
from grace_geom.records.statistics import wilson
from grace_geom.training import train_run
from tests.processes import LONGEST, wait_until
from tests.small_run import flags, lines, small_config, small_run, write_npz
from tests.toys import register_toy, toy_clip

ROOT = Path(__file__).resolve().parents[2]


def refused(argv: list[str], capsys) -> str:
    """What the door says before it exits with 2."""
    with pytest.raises(SystemExit) as stop:
        train.main(argv)
    said = capsys.readouterr()
    assert stop.value.code == 2, said.err
    message = said.err[said.err.index("error: ") :].rstrip("\n")
    assert message.count("\n") <= 1 and "Traceback" not in message
    return message


def test_a_run_directory(tmp_path, capsys):
    argv = flags(tmp_path, log_every=1)
    other = f"npz:{shutil.copy(tmp_path / 'toy.npz', tmp_path / 'other.npz')}"
    shutil.copy(tmp_path / "toy.classes.json", tmp_path / "other.classes.json")
    train.main([*argv, "--ood", f"shift={other}", "--json"])
    out = tmp_path / "run"
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert printed["files"][0] == str(out / "ckpt.pt")
    assert {Path(file) for file in printed["files"]} == {p for p in out.rglob("*") if p.is_file()}
    assert printed["result"]["step"] == 10
    clean, last = printed["result"]["held_out"]["clean"], lines(out / "metrics.jsonl")[-1]
    assert printed["result"]["metrics"] == last
    assert (clean["value"], clean["n"]) == (last["val_acc"], last["val_n"])
    assert (clean["low"], clean["high"]) == wilson(round(clean["value"] * clean["n"]), clean["n"])
    spec = f"npz:{tmp_path / 'toy.npz'}"
    seen, held, test = (len(resolve(spec, split)) for split in ("train", "val", "test"))
    assert seen + held + test == len(resolve(spec, "eval"))
    assert f"{seen} training images, {held} held out, {test} test -> {out}" in said.err
    config = parse_train(argv)
    assert f" 10 steps of {config.batch_size} images (" in said.err
    assert f" epochs), lr {config.options['lr']:g}, " in said.err and said.err.count("warning") == 1
    assert f"warning: {held} held-out images tell an accuracy to" in said.err
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert names == {
        "config.yaml",
        "metrics.jsonl",
        "ckpt.pt",
        "checkpoints/step_10.pt",
        "checkpoints/best.pt",
    }
    kept = yaml.safe_load((out / "config.yaml").read_text())
    assert kept["method"] == "lora" and kept["ood"] == {"shift": other} and kept["seed"] == 0
    assert kept["provenance"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert kept["provenance"]["precision"] == "float32"
    assert kept["provenance"]["data"]["train"]["files"][0]["sha256"]
    checkpoint = load_checkpoint(out)
    assert checkpoint.config["ood"] == {"shift": other} and "out" not in checkpoint.config
    assert checkpoint.step == 10 and checkpoint.trainer["sampler"] == {
        "epoch": 2,
        "batch": 0,
        "steps_per_epoch": 5,
    }
    assert [r["val_acc"] for r in lines(out / "metrics.jsonl") if "val_acc" in r][
        -1
    ] == checkpoint.metrics["val_acc"]


def test_the_kept_settings_make_the_same_run(tmp_path):
    out = small_run(tmp_path, "grace", seed=5)
    train.main(["--config", str(out / "config.yaml"), "--out", str(tmp_path / "again")])
    assert (tmp_path / "again" / "ckpt.pt").read_bytes() == (out / "ckpt.pt").read_bytes()
    rows = lines(out / "curvature.jsonl")
    assert [r["step"] for r in rows] == list(range(10)), "at least 20 refreshes, so here one a step"
    assert all({"score", "rank"} <= m.keys() for m in rows[0]["matrices"].values())


def test_held_out_images_are_not_trained_on_and_their_accuracy_is_right(tmp_path):
    out = small_run(tmp_path)
    model, checkpoint = open_checkpoint(out / "ckpt.pt")
    spec = checkpoint.config["data"]
    val, rest = resolve(spec, "val"), resolve(spec, "train")
    assert not set(val.index) & set(rest.index)
    images = (
        torch.stack([torch.tensor(val.fetch(i)) for i in range(len(val))])
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )
    with torch.no_grad():
        right = (model(images).argmax(1).numpy() == val.labels).mean()
    assert right == checkpoint.metrics["val_acc"] and len(val) == checkpoint.metrics["val_n"]


def test_zero_shot_leaves_a_checkpoint_too(tmp_path):
    out = small_run(tmp_path, "zero-shot")
    model, checkpoint = open_checkpoint(out / "ckpt.pt")
    assert checkpoint.step == 0 and "val_acc" in checkpoint.metrics
    for name, w in toy_clip().clip.state_dict().items():
        assert torch.equal(model.clip.state_dict()[name], w), name


def test_newest_and_best_checkpoints_stay(tmp_path):
    out = small_run(tmp_path, epochs=4, save_every=3, keep=2)
    kept = {p.name for p in (out / "checkpoints").iterdir()}
    assert kept == {"step_20.pt", "step_18.pt", "best.pt"}
    best = load_checkpoint(out / "checkpoints" / "best.pt")
    accuracies = {r["step"]: r["val_acc"] for r in lines(out / "metrics.jsonl") if "val_acc" in r}
    assert best.metrics["best_step"] == best.step and best.metrics["val_acc"] == max(
        accuracies.values()
    )
    every = small_run(tmp_path, epochs=1, save_every=2, keep=0, out=str(tmp_path / "every"))
    assert {p.name for p in (every / "checkpoints").glob("step*")} == {
        "step_2.pt",
        "step_4.pt",
        "step_5.pt",
    }


def test_large_steps_in_small_pieces_with_recomputed_activations(tmp_path):
    usual = load_checkpoint(small_run(tmp_path, "ft", epochs=1, lr=1e-3))
    other = load_checkpoint(
        small_run(
            tmp_path,
            "ft",
            epochs=1,
            lr=1e-3,
            micro_batch=3,
            grad_checkpoint=True,
            out=str(tmp_path / "other"),
        )
    )
    for name, w in usual.state_dict.items():
        torch.testing.assert_close(other.state_dict[name], w, rtol=1e-3, atol=2e-3)


def test_no_arguments_means_grace_on_the_embedded_benchmark():
    config = parse_train([])
    assert (config.method, config.data, config.model) == ("grace", "shapes", "tiny-shapes")
    assert config.run_dir == Path("runs/grace-shapes-s0")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "gracee"}, "did you mean 'grace'"),
        ({"model": "tiny-shape"}, "did you mean 'tiny-shapes'"),
        ({"data": "shape"}, "did you mean 'shapes'"),
        ({"data": "npz:/no/such.npz"}, "no such file"),
        ({"ood": "x=npz:/no/such.npz"}, "--ood x"),
        ({"ood": "x=shape"}, "--ood x"),
        ({"ood": "shapes:sketch"}, "--ood"),
        ({"pretrained": "/no/such.pt"}, "/no/such.pt"),
        ({"device": "cuda:77"}, "--device cuda:77"),
        ({"device": "gpu"}, "--device gpu"),
        ({"targets": "nonsense"}, "--targets 'nonsense' matches no"),
        ({"lrr": 1}, "unknown flag --lrr; did you mean"),
        ({"batch_size": "many"}, "--batch-size must be a whole number, not 'many'"),
        ({"precision": "fp8"}, "--precision must be one of auto, float32, bf16, fp16, not 'fp8'"),
        ({"config": "/no/such.yaml"}, "no such file: /no/such.yaml"),
        ({"resume": "true"}, "there is no run at"),
        ({"resume": "/"}, "--resume /: name the run with --out /"),
    ],
)
def test_mistakes_exit_with_2_and_leave_nothing(values, said, tmp_path, capsys):
    argv = [a for a in flags(tmp_path) if a.partition("=")[0][2:].replace("-", "_") not in values]
    argv += [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    assert said in refused(argv, capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", ["--method", "--preset"])
def test_a_flag_at_the_end_that_lacks_its_value_is_said(flag, capsys):
    assert refused(["--data", "shapes", flag], capsys) == f"error: {flag} needs a value"


def test_an_existing_directory_is_not_touched(tmp_path, capsys):
    out = small_run(tmp_path)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert "--resume continues it, --out NAME starts another run" in refused(
        flags(tmp_path), capsys
    )
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    (out / "ckpt.pt").write_bytes(before[out / "ckpt.pt"][:1000])
    said = refused(["--resume", "--out", str(out)], capsys)
    assert "ckpt.pt is not a checkpoint: truncated" in said


def test_stop_and_resume_by_the_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(flags(tmp_path, stop_after=4))
    assert stop.value.code == 130
    said = capsys.readouterr().err
    assert "stopped after step 4 of 10" in said
    command = said.partition("Continue with: ")[2].split()
    assert command[:3] == ["python", "-m", "grace_geom.train"]
    train.main(command[3:])
    assert load_checkpoint(tmp_path / "run").step == 10
    assert "lr was 0.0002, now 0.5" in refused([*command[3:], "--lr", "0.5"], capsys)
    assert "method was lora, now ft" in refused([*command[3:], "--method", "ft"], capsys)


@pytest.mark.parametrize("method", ["ft", "lora", "at", "lora-at", "grace"])
def test_divergence_of_any_method_is_said_and_leaves_nothing_in_the_way(method, tmp_path, capsys):
    quick = {"attack_steps": 1} if "eps" in {f.name for f in fields(METHODS[method])} else {}
    diverging = flags(tmp_path, method=method, lr="1e20", warmup=0, **quick)
    said = refused(diverging, capsys)
    assert "step 2: " in said and "lower --lr" in said and "last good checkpoint" not in said
    assert not (tmp_path / "run").exists()
    said = refused([*diverging, "--save-every", "1"], capsys)
    assert (
        "step 2: " in said
        and f"the last good checkpoint is step 1: {tmp_path / 'run' / 'ckpt.pt'}" in said
    )


@pytest.mark.parametrize(
    "options", [{"curvature_labels": "sampled"}, {"gv_form": "spread", "attack_steps": 0}]
)
def test_divergence_is_said_wherever_a_method_meets_it(options, tmp_path, capsys):
    said = refused(flags(tmp_path, method="grace", lr="1e20", warmup=0, **options), capsys)
    assert "step 2: " in said and "lower --lr" in said and not (tmp_path / "run").exists()


def test_a_fault_of_ours_before_the_first_checkpoint_leaves_nothing_in_the_way(
    tmp_path, monkeypatch
):
    def fault(self, batch):
        raise ZeroDivisionError

    monkeypatch.setattr("grace_geom.training.trainer.Trainer.step", fault)
    with pytest.raises(ZeroDivisionError):
        small_run(tmp_path)
    assert not (tmp_path / "run").exists()


def test_divergence_keeps_the_last_good_checkpoint(tmp_path, capsys):
    said = refused(flags(tmp_path, method="ft", lr="1e30", save_every=1, warmup=0), capsys)
    assert "is not a finite number; lower --lr" in said
    assert "the last good checkpoint is step" in said
    checkpoint = load_checkpoint(tmp_path / "run")
    assert all(w.isfinite().all() for w in checkpoint.trainer["optimizer"]["state"][0].values())


def test_nothing_stays_of_a_run_whose_images_cannot_be_read(tmp_path, capsys):
    folder = tmp_path / "pictures"
    for name in ("circle", "square"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.effect_noise((32, 32), 50.0 + i).save(folder / name / f"{i}.png")
    for path in (folder / "circle").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    said = refused(flags(tmp_path, data=f"folder:{folder}"), capsys)
    assert ".png" in said and not (tmp_path / "run").exists()


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) == 4:  # settings, and the checkpoints of steps 2 and 4 fit
            raise OSError(28, "No space left on device")
        return real(handle)

    monkeypatch.setattr("grace_geom.files.os.fsync", fsync)
    with pytest.raises(UserError, match="No space left on device") as error:
        small_run(tmp_path, save_every=2, keep=1, eval_every=0)
    monkeypatch.undo()
    assert "the last good checkpoint is step 4" in str(error.value)
    assert load_checkpoint(tmp_path / "run").step == 4
    assert not list((tmp_path / "run").rglob("*.part"))
    small_run(tmp_path, save_every=2, keep=1, eval_every=0, resume=True)
    assert load_checkpoint(tmp_path / "run").step == 10


def test_ctrl_c_in_a_real_process(tmp_path):
    spec = write_npz(tmp_path, 600)
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "grace_geom.train",
        "--method",
        "lora",
        "--data",
        spec,
        "--model",
        "tiny-shapes",
        "--pretrained",
        "random",
        "--epochs",
        "1000",
        "--batch-size",
        "8",
        "--log-every",
        "1",
        "--out",
        str(out),
        "--workers",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    metrics = out / "metrics.jsonl"
    wait_until(lambda: process.poll() is not None or (metrics.exists() and metrics.stat().st_size))
    os.killpg(
        process.pid, signal.SIGINT
    )  # as a terminal does: to the whole group, workers included
    _, said = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, said
    assert f"saved in {out}. Continue with: python -m grace_geom.train --out {out} --resume" in said
    assert "Traceback" not in said
    assert load_checkpoint(out).step >= 1


def test_registered_toy_is_what_the_runs_use(tmp_path):
    assert small_config(tmp_path).model == register_toy()
    assert train_run(small_config(tmp_path, epochs=0), quiet=True) == tmp_path / "run"
