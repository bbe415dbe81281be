"""What a command line may ask of an engine, and what it is refused."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from grace_geom.engines import EngineOptions, Resources, check_engine, make_engine
from grace_geom.engines.local import Local
from grace_geom.engines.site import SiteOptions
from grace_geom.errors import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"retries": -1}, "--retries must be at least 0, not -1"),
        ({"cpus_per_run": 4}, "--cpus-per-run is of --engine ray or slurm, not of local"),
        ({"memory_per_run": 4.0}, "--memory-per-run is of --engine ray or slurm"),
        ({"ray_address": "auto"}, "--ray-address is of --engine ray, not of local"),
        ({"engine": "ray", "slurm_options": Path("x")}, "--slurm-options is of --engine slurm"),
        ({"engine": "slurm"}, "--engine slurm needs --slurm-options FILE"),
        ({"engine": "ray", "cpus_per_run": 0}, "--cpus-per-run must be at least 1, not 0"),
        ({"engine": "ray", "memory_per_run": -2.0}, "--memory-per-run is in GiB and positive"),
        ({"engine": "ray", "gpus_per_run": 1.5}, "a whole number, or with --engine ray a part"),
        ({"gpus_per_run": 0.5}, "a whole number, or with --engine ray a part"),
        ({"engine": "ray", "nodes_per_run": 2}, "--nodes-per-run 2 needs --gpus-per-run"),
        (
            {"engine": "ray", "nodes_per_run": 2, "gpus_per_run": 3},
            "--gpus-per-run 3 cannot be shared out evenly over --nodes-per-run 2",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict, message: str) -> None:
    with pytest.raises(UserError) as refused:
        EngineOptions(**values)
    assert message in str(refused.value)


def test_a_run_gets_what_was_asked_for() -> None:
    options = EngineOptions(
        "ray", cpus_per_run=8, gpus_per_run=16, memory_per_run=1.5, nodes_per_run=2, retries=3
    )
    assert options.resources() == Resources(8, 16, 3 * 2**29, processes=8, nodes=2, retries=3)
    assert EngineOptions("ray", gpus_per_run=0.5).resources() == Resources(gpus=0.5)
    assert EngineOptions().resources() == Resources()


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_is_refused_with_the_line_that_mends_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda asked: None if asked == module else real(asked)
    )
    options = EngineOptions(name, slurm_options=Path("site.yaml") if name == "slurm" else None)
    with pytest.raises(UserError) as refused:
        check_engine(options)
    assert f"pip install 'grace_geom[{name}]'" in str(refused.value)


def test_a_device_that_the_engine_would_overrule_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="--device cuda:1: the engine gives each run its GPUs"):
        check_engine(EngineOptions("ray"), "cuda:1")
    with pytest.raises(UserError, match=r"--gpus-per-run 1 and --device cpu exclude each other"):
        check_engine(EngineOptions(gpus_per_run=1), "cpu")
    check_engine(EngineOptions(), "cuda:1")


def test_processes_of_this_machine_share_its_gpus_out() -> None:
    assert Local(2, ("0", "1", "2", "3"), each=2).gpus == ("0,1", "2,3")
    assert Local(4, ("0", "1")).gpus == ("0", "1")
    with pytest.raises(UserError, match=r"--gpus-per-run 2 for --workers 2: .* has 3 GPUs"):
        Local(2, ("0", "1", "2"), each=2)
    with pytest.raises(UserError, match="this machine has 0 GPUs"):
        make_engine(EngineOptions(gpus_per_run=1), 1, "auto")


def test_refusals_need_no_torch() -> None:
    code = "import sys, grace_geom.engines; print('torch' in sys.modules, 'yaml' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("- a", "names with values are wanted"),
        ("a: [", "expected"),
        ("partition: gpu", "time must be minutes, such as 240, not nothing"),
        ("time: 4:00:00", "time must be minutes, such as 240, not 4:00:00"),
        ("time: 240\nnodes: 2", "nodes is decided by --nodes-per-run"),
        ("time: 240\ncluster: lsf", "cluster is slurm or local, not 'lsf'"),
    ],
)
def test_a_file_of_a_site_that_cannot_be_used_is_refused(
    text: str | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "site.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError) as refused:
        SiteOptions.read(file)
    assert message in str(refused.value) and str(file) in str(refused.value)


def test_a_site_and_flags_become_what_submitit_is_told(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("partition: gpu\ntime: 240\nadditional_parameters: {hint: nomultithread}\n")
    site = SiteOptions.read(file)
    needs = Resources(cpus=8, gpus=16, memory=2**35, processes=8, nodes=2)
    assert site.parameters(needs, workers=5) == {
        "cpus_per_task": 8, "gpus_per_node": 8, "mem_gb": 32, "nodes": 2, "tasks_per_node": 1,
        "name": "grace_geom", "timeout_min": 240, "slurm_partition": "gpu", "slurm_time": 240,
        "slurm_additional_parameters": {"hint": "nomultithread"}, "slurm_array_parallelism": 5,
    }  # fmt: skip
    file.write_text("time: 240\ncpus_per_task: 4\n")
    with pytest.raises(UserError, match=r"--cpus-per-run and cpus_per_task in .* say the same"):
        SiteOptions.read(file).parameters(needs)
    file.write_text("time: 240\npartitoin: gpu\n")
    pytest.importorskip("submitit", reason="submitit knows the names of sbatch: the extra slurm")
    with pytest.raises(UserError, match="'partitoin' is not known"):
        SiteOptions.read(file).check()
