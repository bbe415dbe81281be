"""What a card is measured with: each part runs (tiny, on the CPU), and none spoils the others."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks import gpu, gpu_parts
from benchmarks.gpu_timing import DRY
from tests.toys import register_toy

ALONE = {"gpu_tests", "attack_rate", "correctness"}
"""Parts that start pytest, compile, or need the shipped weights."""


def run(code: str, tmp_path, seconds: float = 60) -> dict:
    out = tmp_path / "part.json"
    command = [sys.executable, "-c", code, str(out)]
    return gpu.finished(command, seconds, os.environ, out)


def test_a_part_gives_what_it_wrote_its_error_or_its_lateness(tmp_path):
    write = "import sys; open(sys.argv[1], 'w').write('{}')"
    assert run(write.format('{"a": 1}'), tmp_path) == {"found": {"a": 1}}
    fault = {"a": 1, "error": "two runs differ"}  # what it found stays, and it has failed
    both = {"found": fault, "error": "two runs differ"}
    assert run(write.format(json.dumps(fault)), tmp_path) == both
    raised = run("raise RuntimeError('CUDA error: an illegal memory access')", tmp_path)
    assert "RuntimeError: CUDA error: an illegal memory access" in raised["error"]
    late = run("import time; time.sleep(60)", tmp_path, seconds=0.5)
    assert late == {"error": "not done in 0 s"}
    (tmp_path / "part.json").unlink()
    assert run("pass", tmp_path) == {"error": "no result"}


def test_the_json_grows_part_by_part_and_a_failure_ends_nothing(tmp_path, capsys, monkeypatch):
    out, seen = tmp_path / "deep" / "gpu.json", []

    def stub(name, o, seconds):
        seen.append((name, seconds, json.loads(out.read_text())["parts"] if out.exists() else {}))
        return {"error": "hung"} if name == "large" else {"found": {"x": 1.5}}

    monkeypatch.setattr(gpu.run_all, "__defaults__", (stub,))
    assert gpu.main(["--out", str(out), "--parts", "environment,large,waits"]) == 1
    assert [(name, seconds) for name, seconds, _ in seen] == [
        (name, gpu.BUDGETS[name]) for name in ("environment", "large", "waits")
    ]
    done = {"status": "done", "found": {"x": 1.5}}
    assert seen[-1][2] == {"environment": done, "large": {"status": "failed", "error": "hung"}}
    assert json.loads(out.read_text())["parts"]["waits"] == done
    assert "2 of 3 parts; failed: ['large']" in capsys.readouterr().out


def test_no_part_begins_when_the_time_is_over(tmp_path):
    o = gpu.options(["--out", str(tmp_path / "x.json"), "--minutes", "0"])
    found = gpu.run_all(["environment"], o, run=lambda *a: pytest.fail("began"))
    late = {"status": "failed", "error": "no time left of 0 minutes"}
    assert found["parts"]["environment"] == late


def test_what_is_not_installed_is_a_part_that_was_skipped(monkeypatch):
    monkeypatch.setattr(gpu_parts, "installed", lambda package: None)
    found = {"found": gpu_parts.gpu_tests(DRY, 989.0)}
    assert gpu.status(found) == "skipped"


def test_a_part_that_is_not_there_is_named(capsys):
    assert gpu.main(["--parts", "environment,speed"]) == 2
    assert "'speed' is not known; known: environment, correctness" in capsys.readouterr().err


@pytest.mark.parametrize("code, wanted", [(0, None), (1, "pytest ended with exit code 1")])
def test_tests_that_fail_are_a_part_that_failed(monkeypatch, code, wanted):
    def pytest_ends(command, **how):
        return subprocess.CompletedProcess(command, code, "2 failed, 3 passed", "")

    monkeypatch.setattr(gpu_parts.subprocess, "run", pytest_ends)
    found = gpu_parts.gpu_tests(replace(DRY, device="cuda"), 989.0)
    assert found["exit_code"] == code and found.get("error") == wanted


def test_deterministic_runs_that_differ_are_a_part_that_failed(monkeypatch):
    found = []

    def trainer_of(*args, **settings):
        t = trainer(*args, **settings)
        found.append(t)
        if len(found) == 4:  # the second one with deterministic kernels
            next(iter(t.run.params.values())).data += 1
        return t

    trainer = gpu_parts.trainer_of
    monkeypatch.setattr(gpu_parts, "trainer_of", trainer_of)
    result = gpu_parts.deterministic(replace(DRY, rate=(register_toy(), 4)), 989.0)
    assert result["default"]["two_runs_agree"]
    assert result["error"] == "two runs with deterministic kernels differ"


def test_only_the_part_that_measures_it_has_cublas_s_fixed_workspaces(tmp_path, monkeypatch):
    seen = {}

    def finished(command, seconds, environment, out):
        seen[command[command.index("--part") + 1]] = environment.get("CUBLAS_WORKSPACE_CONFIG")
        return {"found": {}}

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(gpu, "finished", finished)
    for name in gpu.BUDGETS:
        gpu.run_part(name, gpu.options([]), 1.0)
    assert {name for name, value in seen.items() if value} == {"deterministic"}


def test_every_budget_has_its_part():
    assert list(gpu.BUDGETS) == list(gpu_parts.PARTS)


@pytest.mark.parametrize("name", [n for n in gpu_parts.PARTS if n not in ALONE])
def test_parts_run_on_the_toy_and_find_numbers(name: str):
    toy = (register_toy(), 4)
    found = gpu_parts.PARTS[name](replace(DRY, rate=toy, large=toy, curved=toy), 989.0)
    assert found and gpu_parts.finite(found) and json.loads(json.dumps(found)) == found


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(ALONE))
def test_the_others_run_on_the_shipped_model(name: str):
    found = gpu_parts.PARTS[name](DRY, 989.0)
    assert gpu_parts.finite(found) and json.loads(json.dumps(found)) == found
    if name == "correctness":
        assert found["outcomes_that_differ"] == 0
        assert max(found[k] for k in ("loss", "gradient", "product", "lambda_1")) < 1e-3
    if name == "attack_rate":
        assert found["graphs"]["told"][0]["reason"] == "CUDA graphs need a CUDA device"


@pytest.mark.nightly
def test_a_dry_run_of_the_shell_script_does_every_part(tmp_path):
    """Each in a process of its own, from another folder; two minutes of one core."""
    out = tmp_path / "gpu.json"
    script = gpu.ROOT / "benchmarks" / "gpu.sh"
    done = gpu.subprocess.run(
        ["bash", str(script), str(out), "--dry-run"],
        cwd=tmp_path, env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert set(result) == {"dry_run", "peak_tflops", "parts"} and result["dry_run"]
    assert {name: part["status"] for name, part in result["parts"].items()} == dict.fromkeys(
        gpu.BUDGETS, "done"
    )
    assert all(set(part) == {"status", "found", "seconds"} for part in result["parts"].values())
    assert f"{out}: 11 of 11 parts" in done.stdout
    rate = result["parts"]["attack_rate"]["found"]
    assert [record["used"] for record in rate["attack"]["told"]] == ["attack"]
    assert rate["graphs"]["told"][0]["reason"] == "CUDA graphs need a CUDA device"
