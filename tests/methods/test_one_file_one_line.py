"""A method that is new is its file and one line: commands and studies then know it."""

import contextlib
import io
import shutil
import sys
from pathlib import Path

import grace_geom
from tests.processes import fork, wait
from tests.small_run import write_npz

PACKAGE = Path(grace_geom.__file__).parent


def ask(folder: Path, flags: list[str]) -> None:
    """In a process of its own, where the package is the one in ``folder``."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "grace_geom"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    import grace_geom as copied
    from grace_geom import train
    from grace_geom.study.options import StudyOptions

    assert Path(copied.__file__).parent == folder / "grace_geom"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        train.main(["--method", "toy", "--help"])
    assert "toy" in said.getvalue().split("--lr")[0], said.getvalue()[:2000]
    assert "--smoothing" in said.getvalue(), said.getvalue()[:4000]
    train.main(["--method", "toy", "--smoothing", "0.2", *flags])
    assert "toy" in StudyOptions(methods=("table6",)).labels()


def test_a_new_method_is_its_file_and_one_line(tmp_path, monkeypatch):
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
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert wait([fork(ask, tmp_path, flags)]) == [0]
    log = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"loss_smoothed"' in log and (tmp_path / "run" / "ckpt.pt").is_file()
