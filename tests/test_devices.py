"""Which device, precision and number of workers are taken where none is named, by which process;
and the same bits twice.
"""

import os
import re
from importlib import import_module

import pytest
import torch

from grace_geom import devices
from grace_geom.devices import (
    cores,
    deterministic,
    pick_device,
    pick_precision,
    pick_workers,
    room_for,
    visible_gpus,
)
from grace_geom.errors import UserError
from grace_geom.world import World
from tests.pretended_gpu import pretended_gpu

GPU = torch.device("cuda")


def test_devices():
    assert pick_precision("auto", torch.device("cpu")) == "float32"
    assert pick_precision("fp16", torch.device("cpu")) == "fp16"
    assert (
        pick_workers(None, torch.device("cpu")) == 0 and pick_workers(3, torch.device("cpu")) == 3
    )
    assert 1 <= pick_workers(None, GPU) <= 8
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["mps", "mps:0", "xpu", "gpu", "cuda:x", "cuda:2", "cuda:-1"])
def test_what_there_is_not_is_refused_in_a_line(name: str):
    with pretended_gpu(count=2), pytest.raises(UserError, match=f"--device {name}: ") as refused:
        pick_device(name)
    assert len(str(refused.value).splitlines()) == 1
    assert ("float64" in str(refused.value)) == name.startswith("mps")


OPTIONS = {
    "config": "TrainConfig",
    "evaluation.measures": "Source",
    "analysis.options": "Common",
    "analysis.report": "ReportOptions",
    "study.options": "StudyOptions",
    "tools.tiny_clip.making": "Pretraining",
}


@pytest.mark.parametrize("module, name", OPTIONS.items())
def test_what_help_offers_is_accepted(module: str, name: str):
    about = getattr(import_module(f"grace_geom.{module}"), name).__doc__
    (said,) = re.findall(r"^ *device: Device: (.*); auto:", about, re.MULTILINE)
    with pretended_gpu(count=2):
        assert [str(pick_device(device)) for device in said.split(", ")] == [
            "cpu",
            "cuda:0",
            "cuda:1",
        ]


def test_a_gpu_that_is_named_becomes_the_current_one():
    with pretended_gpu(count=2):
        assert pick_device("cuda:1") == torch.device("cuda:1")
        assert torch.cuda.current_device() == 1
        assert torch.zeros(1, device="cuda").device.index == 1, "what libraries mean by cuda"
        assert pick_device("cuda:0").index == 0 == torch.cuda.current_device()


def several(patch: pytest.MonkeyPatch, rank: int, size: int = 2) -> None:
    patch.setattr(devices, "world", lambda: World(rank, size, rank, size))


def test_each_of_several_processes_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch):
    for rank in range(2):
        several(monkeypatch, rank)
        with pretended_gpu(count=2):
            assert pick_device("cuda").index == pick_device("auto").index == rank
            assert torch.cuda.current_device() == rank
            with pytest.raises(
                UserError, match=r"--device cuda:1: of several .* use --device cuda"
            ):
                pick_device("cuda:1")
    with (
        pretended_gpu(count=1),
        pytest.raises(UserError, match="asks for GPU 1, this machine has 1"),
    ):
        pick_device("cuda")
    assert pick_device("auto") == torch.device("cpu") == pick_device("cpu")


def test_rocm_is_said_to_be_untested_once(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(torch.version, "hip", "6.2.41133")
    devices._tell.cache_clear()
    with pretended_gpu():
        pick_device("cuda")
        pick_device("cuda")
    said = capsys.readouterr().err
    assert said.count("ROCm 6.2.41133: nothing was tested there") == 1


@pytest.mark.parametrize("beside, each", [(1, 8), (2, 8), (4, 5), (8, 2), (24, 1), (48, 1)])
def test_the_cores_are_divided_among_the_processes_of_a_machine(
    beside: int, each: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(devices, "cores", lambda: 24)
    monkeypatch.setattr(devices, "world", lambda: World(0, beside, 0, beside))
    assert pick_workers(None, GPU) == each and pick_workers(7, GPU) == 7
    monkeypatch.setattr(devices, "world", World)
    monkeypatch.setattr(devices, "_sharing", 1)
    devices.share_cores(beside)
    assert pick_workers(None, GPU) == each, "those of a study know nothing of each other"


def test_only_cores_that_this_process_may_use_are_counted():
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usual)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, usual)


@pytest.mark.parametrize(
    "said, found",
    [
        (None, ("0", "1")),
        ("", ("0", "1")),
        ("3, 5", ("3", "5")),
        ("GPU-a,GPU-b,GPU-c", ("GPU-a", "GPU-b")),
    ],
)
def test_gpus_are_named_as_the_environment_names_them(said, found, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert visible_gpus() == ()
    with pretended_gpu(count=2):
        assert visible_gpus() == found


def test_deterministic_is_set_and_put_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with pytest.raises(KeyError), deterministic():
        assert torch.are_deterministic_algorithms_enabled() and cudnn.deterministic
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8" and not cudnn.benchmark
        assert cudnn.allow_tf32 == before[2]
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    assert before == (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_deterministic_puts_back_what_a_caller_had_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic():
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":0:0"
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_gpu_first_used_within_deterministic_may_be_so_again(monkeypatch: pytest.MonkeyPatch):
    """Its library has read the workspace by then; one used in between by others has not."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(devices, "_workspace_read", False)
    in_use = False
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    with deterministic():
        pass
    in_use = True
    with pytest.raises(UserError, match="in use already"), deterministic():
        pass
    in_use = False
    with deterministic():
        in_use = True
    with deterministic():
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_deterministic_comes_too_late_for_a_gpu_in_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UserError, match="set CUBLAS_WORKSPACE_CONFIG=:4096:8"), deterministic():
        pass
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()


def test_a_full_device_is_a_line_with_the_flag_that_helps():
    with (
        pytest.raises(UserError, match=r"no room for 8 images: use a smaller --batch$"),
        room_for("8 images", "a smaller --batch"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(ZeroDivisionError), room_for("8 images", "a smaller --batch"):
        raise ZeroDivisionError
