"""The commands on a finished study with two workers, as interpreters that start anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grace_geom.records import EvalRecord, Result
from tests.processes import LONGEST, ROOT, made_once

pytestmark = pytest.mark.nightly

RUNS = ["ft-s0", "zero-shot-s0"]
TWO = ("--workers", "2", "--device", "cpu")


def called(folder: Path, *words: str) -> str:
    """What a command says on both its channels; it must end well."""
    ended = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=4 * LONGEST, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def made(folder: Path) -> Path:
    """A study of two runs."""
    folder.mkdir()
    called(folder, "grace_geom.compare", "--methods", "zero-shot,ft", "--baseline", "ft",
           "--max-steps", "4", "--batch-size", "16", "--train-images", "200", "--suites", "id",
           "--n", "20", "--device", "cpu", "--out", "study")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "commands", made)


def test_two_processes_evaluate_a_study_on_more(folder: Path) -> None:
    command = ("grace_geom.study", "evaluate", "study", "--suites", "adv", "--attack", "pgd",
               "--n-attack", "8", "--steps", "2", *TWO)  # fmt: skip
    said = called(folder, *command)
    assert "[2/2] " in said and "2 runs, 0 of them measured before" in said
    for run in RUNS:
        (clean, attacked) = EvalRecord.load(folder / "study" / run / "eval.json").accuracies
        assert (clean.suite, clean.n, attacked.suite, attacked.n) == ("id", 20, "adv", 8)
    assert "2 runs, 2 of them measured before" in called(folder, *command)


def test_two_processes_analyse_a_study(folder: Path) -> None:
    command = ("grace_geom.study", "analyse", "study", "--analyses", "parameter_drift,sharpness",
               "--n", "20", "--set", "sharpness.ascent_steps=2", *TWO)  # fmt: skip
    said = called(folder, *command)
    assert "[4/4] " in said and "failed" not in said
    for name in ("parameter_drift", "sharpness"):
        result = Result.load(folder / "study" / "analyses" / f"{name}.json")
        assert sorted(result.parts) == RUNS
        assert all(part.values and not part.not_measured for part in result.parts.values())
    assert "every analysis is current" in called(folder, *command)
