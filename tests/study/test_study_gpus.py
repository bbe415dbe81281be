"""Runs of a study on several GPUs: each worker has one, and its run sees no other."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from grace_geom.config import TrainConfig, make_config
from grace_geom.engines import EngineOptions, Task, local, make_engine
from grace_geom.evaluation import Measures, Source
from grace_geom.records import EvalRecord
from grace_geom.study import Study, StudyOptions, execute
from grace_geom.study.estimate import Timing
from grace_geom.study.options import Job, jobs_of
from tests.pretended_gpu import pretended_gpu
from tests.stub_study import MEASURES, Stub, study, timed

EMPTY = EvalRecord("", "", "", None, {}, ())


class Inline:
    """An executor that runs each job here, in the order of their submission, and remembers its
    GPU.
    """

    def __init__(self, gpu: str | None, seen: list[tuple[str | None, int]]) -> None:
        self.gpu, self.seen = gpu, seen

    def submit(self, work: Callable[..., Any], task: Task[Any]) -> "Future[Any]":
        self.seen.append((self.gpu, task.args[0].seed))
        done: Future[Any] = Future()
        done.set_result(work(task))
        return done

    def shutdown(self, **_: object) -> None:
        """Nothing runs."""


def placed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, device: str, workers: int, gpus: int
) -> list[str | None]:
    """The GPU of each of six runs, in order."""
    seen: list[tuple[str | None, int]] = []
    monkeypatch.setattr(local, "_process", lambda workers, gpu: Inline(gpu, seen))
    shared = {"method": "ft", "device": device}
    jobs = [
        Job("ft", i, make_config(shared | {"seed": i, "out": folder / f"ft-s{i}"}))
        for i in range(6)
    ]

    def train(config: TrainConfig) -> Path:
        return config.run_dir

    steps = execute.Steps(train, lambda *_: EMPTY)
    with pretended_gpu(count=gpus):
        engine = make_engine(EngineOptions(), workers, device)
        outcomes = list(execute.run_all(jobs, Measures(), Source(device=device), engine, steps))
    assert len(outcomes) == 6 and not any(outcome.error for outcome in outcomes)
    return [gpu for gpu, _ in sorted(seen, key=lambda pair: pair[1])]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_workers_take_the_gpus_in_turn(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert placed(monkeypatch, tmp_path, device, 3, 4) == ["0", "1", "2"] * 2
    assert placed(monkeypatch, tmp_path, device, 3, 2) == ["0", "1", "0"] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert placed(monkeypatch, tmp_path, device, 2, 2) == ["6", "7"] * 3


def test_a_device_that_is_named_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("cuda:1", "cpu"):
        assert placed(monkeypatch, tmp_path, device, 2, 2) == [None] * 6


def test_a_worker_sees_its_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    monkeypatch.setattr(local, "share_threads", lambda workers: None)
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    local._begin(2, None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6,7"
    local._begin(2, "7")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_more_workers_than_gpus_are_told_once(tmp_path: Path) -> None:
    options = {workers: StudyOptions(methods=("ft",), workers=workers) for workers in (1, 2, 3)}
    assert [execute.shared_gpus(o) for o in options.values()] == [""] * 3
    with pretended_gpu(count=2):
        assert [execute.shared_gpus(options[n]) for n in (1, 2)] == ["", ""]
        assert execute.shared_gpus(options[3]) == "; 3 runs at a time share 2 GPUs, in turn"
    with pretended_gpu(count=1):
        assert execute.shared_gpus(options[2]) == "; 2 runs at a time share the GPU"
        made, said = study(tmp_path, Stub(), workers=2, methods=("ft",), seeds=(0,))
        made.run()
    assert sum("share the GPU" in line for line in said) == 1


@pytest.mark.parametrize("on", [True, False])
def test_deterministic_covers_the_timing_the_trainings_and_the_evaluations(
    tmp_path: Path, on: bool
) -> None:
    found: set[tuple[str, bool]] = set()

    def note(what: str) -> None:
        found.add((what, torch.are_deterministic_algorithms_enabled()))

    class Noting(Stub):
        def train(self, config: TrainConfig) -> Path:
            note("training")
            return super().train(config)

        def evaluate(self, folder: Path, measures: Measures, source: object) -> EvalRecord:
            note("evaluation")
            return super().evaluate(folder, measures, source)

    def timing(config: TrainConfig) -> Timing:
        note("timing")
        return timed(config)

    one, _ = study(tmp_path, Noting(), deterministic=on, methods=("ft",), seeds=(0,))
    one.timed = timing
    one.run()
    assert found == {(what, on) for what in ("timing", "training", "evaluation")}
    found.clear()  # and in a process of its own, which knows the settings of its runs alone
    (job,) = jobs_of(StudyOptions(methods=("ft",), out=tmp_path / "o", deterministic=on), {})
    stub = Noting()
    steps = execute.Steps(stub.train, stub.evaluate)
    assert not execute.run_job(job, MEASURES, Source(), steps).error
    assert found == {(what, on) for what in ("training", "evaluation")}
    assert not torch.are_deterministic_algorithms_enabled()


def test_compile_is_of_attacks_in_trainings_and_evaluations(tmp_path: Path) -> None:
    options = StudyOptions(
        methods=("zero-shot", "ft", "at", "lora-at"),
        out=tmp_path,
        compile="attack",
        set={"lora-at.compile": "graphs"},
    )
    assert [job.config.compile for job in jobs_of(options, {})] == [
        "off",
        "off",
        "attack",
        "graphs",
    ]
    assert Study(options, MEASURES).source.compile == "attack"
