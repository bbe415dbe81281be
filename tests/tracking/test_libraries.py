"""The real libraries, without a network; skipped where the library is not installed."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from grace_geom.tracking import TRACKERS, Status, Trackers


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "curve.png"
    Image.new("RGB", (4, 3), "red").save(path)
    path.with_suffix(".html").write_text("<p>curve</p>")
    return path


def report(
    name: str, folder: Path, steps: range, status: Status, picture: Path, done: int | None = None
) -> None:
    """One part of a run whose loss at step ``i`` is ``1 / i``."""
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    some = Trackers([name], folder, say=said.append)
    some.start({"lr": 0.5, "ood": {"a=b": "c"}, "sizes": [1, 2]}, "at-s0", done=done)
    for i in steps:
        some.log(i, {"step": i, "loss": 1 / i, "ood/a=b/clean": 0.25})
    some.figure("curve", picture)
    some.figure("curve", picture.with_suffix(".html"))
    some.finish(status)
    assert not said


def test_tensorboard_has_numbers_and_pictures(tmp_path, picture):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report("tensorboard", tmp_path / "run", range(1, 4), "stopped", picture)
    report("tensorboard", tmp_path / "run", range(3, 5), "finished", picture, done=2)
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    # the third step of the part that was stopped is purged
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [
        (i, pytest.approx(1 / i)) for i in range(1, 5)
    ]
    image = found.Images("curve")[-1]
    assert (image.width, image.height) == (4, 3)
    assert "settings/text_summary" in found.Tags()["tensors"]


def test_wandb_has_numbers_figures_and_the_same_run_after_a_resume(tmp_path, picture, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # reads the environment again
    monkeypatch.delenv("WANDB_DIR", raising=False)
    report("wandb", tmp_path / "run", range(1, 4), "stopped", picture)
    report("wandb", tmp_path / "run", range(4, 5), "finished", picture)
    files = sorted((tmp_path / "run").glob(".trackers/wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1  # the name is the run's id
    begun, ended = (_wandb_records(file) for file in files)
    steps = [row["step"] for row in begun["history"] if "loss" in row]
    losses = [row["loss"] for row in begun["history"] if "loss" in row]
    assert (steps, losses) == ([1, 2, 3], pytest.approx([1, 1 / 2, 1 / 3]))
    assert begun["config"]["ood"] == {"a=b": "c"}
    media = {key: row[key] for row in begun["history"] for key in row if key.endswith("/_type")}
    assert media == {"curve/_type": "image-file", "curve.html/_type": "html-file"}
    assert (begun["exit"], ended["exit"]) == (1, 0)


NAMES = (
    "ood/sketch/clean", "n/ood/sketch/clean", "mean-per-class/ood/sketch/clean",
    "calibration/ood/sketch/clean/ece", "calibration/ood/sketch/clean/ece-scaled",
    "corruption/ood/c/clean/mce", "effective-robustness/sketch", "summary/OOD'",
    "mean/grace:gv=off/HM'", "low/grace:gv=off/HM'", "difference/grace:gv=off/HM'",
    "effective-robustness/grace:gv=off/mean over sets", "held-out/id/held-out/clean", "chosen-t",
)  # fmt: skip
"""Kinds of names that evaluations, lines and studies report."""


@pytest.mark.parametrize("name", TRACKERS)
def test_every_kind_of_name_is_taken(tmp_path, monkeypatch, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'store'}")
    said: list[str] = []
    some = Trackers([name], tmp_path, say=said.append)
    some.start({}, "run")
    for step in (-500, 0, 1500):
        some.log(step, dict.fromkeys(NAMES, 0.5))
    some.finish("finished")
    assert not said


def _wandb_records(file: Path) -> dict:
    """What wandb wrote for a later synchronisation: a LevelDB log of protobuf records behind 7
    bytes. Each block of 32 KiB has chunks of CRC, length, type (1 whole, 2 first, 3 middle, 4
    last).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = file.read_bytes(), 7, b""
    found: dict = {"history": [], "config": {}, "exit": None}
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole = (b"" if kind in (1, 2) else whole) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            _take(Record.FromString(whole), found)
    return found


def _take(record: Any, found: dict) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "history":
        items = record.history.item
        found["history"].append(
            {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
        )
    elif kind == "run":
        found["config"] |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
    elif kind == "exit":
        found["exit"] = record.exit.exit_code


def test_wandb_asks_nobody_to_log_in(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    wandb.teardown()  # reads the environment again
    monkeypatch.setattr("wandb.login", lambda prompt: False)
    said: list[str] = []
    some = Trackers(["wandb"], tmp_path, say=said.append)
    some.start({}, "run")
    some.finish("finished")
    (line,) = said
    assert "wandb login" in line and "WANDB_MODE=offline" in line


def test_mlflow_has_numbers_figures_and_the_same_run_after_a_resume(tmp_path, picture, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'store'}")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    client = MlflowClient()
    report("mlflow", tmp_path / "run", range(1, 4), "stopped", picture)
    experiment = client.get_experiment_by_name("grace_geom")
    (begun,) = client.search_runs([experiment.experiment_id])
    assert begun.info.status == "KILLED"
    report("mlflow", tmp_path / "run", range(4, 5), "finished", picture)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "at-s0")
    assert run.data.params["lr"] == "0.5"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(i, 1 / i) for i in range(1, 5)]
    assert run.data.metrics["ood/a_b/clean"] == 0.25
    files = {file.path for file in client.list_artifacts(run.info.run_id, "figures")}
    assert files == {"figures/curve.png", "figures/curve.html"}
