"""The document that each command prints with ``--json``, and the path that ``--quiet`` leaves."""

import importlib
import json
import runpy
from pathlib import Path

import pytest

from tests.processes import ROOT, made_once
from tests.small_run import small_run

pytestmark = pytest.mark.slow

COMMANDS = {
    "evaluate": ("{run}", "--suites", "id"),
    "interpolate": ("{run}", "--suites", "id", "--t", "0,1", "--choose", "none"),
    "export": ("{run}", "--out", "{out}/weights.safetensors", "--force"),
    "analyses/parameter_drift.py": ("{run}", "--out", "{out}", "--n", "4"),
    "analyses/report.py": (
        "{run}", "--out", "{out}", "--n", "4", "--analyses", "parameter_drift",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made_once(tmp_path_factory, "documents", lambda folder: _trained(folder))


def _trained(folder: Path) -> Path:
    folder.mkdir()
    return small_run(folder, "ft", max_steps=2)


def call(name: str, run: Path, out: Path, *more: str) -> None:
    words = [word.format(run=run, out=out) for word in (*COMMANDS[name], *more)]
    if name.endswith(".py"):
        runpy.run_path(str(ROOT / name))["main"](words)
    else:
        importlib.import_module(f"grace_geom.{name}").main(words)


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_one_document_or_one_path(name, run, tmp_path, capsys):
    call(name, run, tmp_path, "--json")
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["command"] == Path(name).stem and found["error"] is None
    assert found["files"] and all(Path(file).is_file() for file in found["files"])
    assert said.err.startswith(f"{found['command']}: ") and str(run) in said.err.splitlines()[0]
    if name == "analyses/parameter_drift.py":
        assert {Path(file).name for file in found["files"]} == {p.name for p in tmp_path.iterdir()
                                                                if p.is_file()}  # fmt: skip
    CHECKS[name](found["result"], Path(found["files"][0]))
    call(name, run, tmp_path, "--quiet")
    assert capsys.readouterr() == (found["files"][0] + "\n", "")


def written(file: Path) -> dict:
    return json.loads(file.read_text())


def check_report(result: dict, file: Path) -> None:
    ((name, section),) = result["analyses"].items()
    assert (name, section["failure"]) == ("parameter_drift", "") and Path(section["file"]).is_file()


CHECKS = {
    "evaluate": lambda result, file: _same(
        result["records"][0]["accuracies"], written(file)["accuracies"]
    ),
    "interpolate": lambda result, file: _same(
        [(p["t"], p["accuracies"]) for p in result["record"]["points"]],
        [(p["t"], p["accuracies"]) for p in written(file)["points"]],
    ),
    "export": lambda result, file: _same(
        (result["format"], Path(result["out"])), ("safetensors", file)
    ),
    "analyses/parameter_drift.py": lambda result, file: _same(result, written(file)),
    "analyses/report.py": check_report,
}


def _same(one: object, other: object) -> None:
    assert json.loads(json.dumps(one, default=str)) == json.loads(json.dumps(other, default=str))
