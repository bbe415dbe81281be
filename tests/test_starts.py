"""The first line of each command says what is done on what, and where that goes, before torch."""

import os
import subprocess
import sys
from pathlib import Path

from grace_geom import starts
from grace_geom.config import parse_train
from tests.processes import ROOT

EVALUATION = {"suites": ("id", "adv"), "attack": "pgd", "eps": 4 / 255, "norm": "linf"}


def test_a_training_says_where_it_goes():
    values = {"method": "at", "data": "npz:a/b.npz", "model": "tiny-shapes", "seed": 3, "out": None}
    assert starts.training(values) == (
        "train: at on npz:a/b.npz, from tiny-shapes -> runs/at-npz-a-b.npz-s3"
    )
    assert starts.training(values | {"out": Path("x")}).endswith(" -> x")


def test_evaluations_say_the_attack_and_name_few_checkpoints():
    values = EVALUATION | {"checkpoints": [Path(f"runs/{c}") for c in "abcde"]}
    assert starts.evaluation(values) == (
        "evaluate: runs/a, runs/b, runs/c and 2 more checkpoints on id, adv (pgd 4/255) -> "
        "eval.json beside each"
    )
    other = EVALUATION | {"eps": 0.5, "norm": "l2", "run": Path("runs/a"), "t": (0.0, 0.5)}
    assert starts.interpolation(other) == (
        "interpolate: runs/a at t = 0, 0.5, on id, adv (pgd 0.5 (l2)) -> dial.json beside it"
    )


def test_studies_analyses_and_exports():
    study = {"methods": ("ft", "at"), "data": "shapes", "seeds": (0, 1), "out": Path("runs/x")}
    assert starts.study(study) == "compare: ft, at on shapes, seeds 0, 1 -> runs/x"
    values = {"checkpoints": [Path("runs/a")], "n": 64, "out": None}
    assert starts.analysis("sharpness")(values) == (
        "sharpness: runs/a, up to 64 images a set -> analyses/ beside it"
    )
    report = starts.report(values | {"analyses": (), "out": Path("here")})
    assert report == "report: all analyses of runs/a -> report.html in here"
    export = {"checkpoint": Path("runs/a"), "format": None, "out": Path("w.safetensors")}
    assert starts.export(export) == "export: runs/a as safetensors -> w.safetensors"
    made = {"model": "m", "data": ("shapes",), "steps": 3, "batch_size": 2, "out": Path("w")}
    assert starts.pretraining(made) == "pretrain: m on shapes, 3 steps of 2 pairs -> w"


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, *more):
        if name == "torch":
            raise ImportError("torch was asked for")
sys.meta_path.insert(0, Blocked())
from grace_geom.train import main
main(sys.argv[1:])
"""


def test_the_first_line_comes_before_torch_is_imported(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    argv = ["--method", "ft", "--max-steps", "1", "--out", str(tmp_path / "run")]
    parse_train(argv)  # leaves what the next call answers from
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *argv], cwd=ROOT, env=dict(os.environ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    first, *_ = done.stderr.splitlines()
    assert first == f"train: ft on shapes, from tiny-shapes -> {tmp_path / 'run'}"
    assert done.stderr.rstrip().endswith("torch was asked for") and done.returncode == 1
