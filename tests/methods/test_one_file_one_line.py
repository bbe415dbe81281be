"""A method that is new is its file and one line: commands and studies then know it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grace_geom
from tests.small_run import write_npz

PACKAGE = Path(grace_geom.__file__).parent
ASK = """
import contextlib, io, sys
from grace_geom import train
from grace_geom.study.options import StudyOptions

said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    train.main(["--method", "toy", "--help"])
assert "toy" in said.getvalue().split("--lr")[0], said.getvalue()[:2000]
assert "--smoothing" in said.getvalue(), said.getvalue()[:4000]
train.main(["--method", "toy", "--smoothing", "0.2", *sys.argv[1:]])
assert "toy" in StudyOptions(methods=("table6",)).labels()
"""


def test_a_new_method_is_its_file_and_one_line(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "grace_geom", ignore=shutil.ignore_patterns("__pycache__"))
    methods = tmp_path / "grace_geom" / "methods"
    shutil.copy(Path(__file__).with_name("toy_method.py"), methods / "toy.py")
    table = methods / "__init__.py"
    last = "from grace_geom.methods.grace import Grace\n"
    written = table.read_text(encoding="utf-8")
    table.write_text(
        written.replace(last, f"{last}from grace_geom.methods.toy import Toy\n"), encoding="utf-8"
    )
    flags = ["--data", write_npz(tmp_path), "--max-steps", "2", "--batch-size", "4"]
    flags += ["--image-size", "32", "--workers", "0", "--device", "cpu"]
    flags += ["--out", str(tmp_path / "run")]
    env = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *flags], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"loss_smoothed"' in log and (tmp_path / "run" / "ckpt.pt").is_file()
