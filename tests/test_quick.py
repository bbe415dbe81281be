"""What needs no torch is answered without it, and says what the whole program would say.

The whole programs are called in this process, which leaves their descriptions in a cache; then one
process that starts with nothing imported answers everything from there.
"""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from grace_geom.cli import memory
from tests.calls import ROOT, Answer, answer

TRAIN = "grace_geom.train"
PROGRAMS = [
    TRAIN,
    "grace_geom.evaluate",
    "grace_geom.compare",
    "grace_geom.interpolate",
    "grace_geom.export",
    "grace_geom.pretrain",
    "grace_geom.effects",
    "grace_geom.data.__main__",
    *sorted(f"analyses/{path.name}" for path in (ROOT / "analyses").glob("*.py")),
]
SETTINGS = ("--method", "at", "--epochs", "3", "--print-config")
REFUSED = [
    (TRAIN, ("--method", "grase"), "did you mean 'grace'"),
    (TRAIN, ("--model", "ViT-B32"), "did you mean 'ViT-B-32'"),
    (TRAIN, ("--lambda-gvv", "1"), "did you mean '--lambda-gv'"),
    (TRAIN, ("--rho", "-1"), "--rho is -1.0, it must be at least 0"),
    (
        TRAIN,
        ("--eps", "4"),
        "--eps is 4.0, it must be between 0 and 1: pixels are in [0, 1] here. Did you",
    ),
    (TRAIN, ("--eps", "-4/255"), "--eps is -4/255, it must be between 0 and 1"),
    (TRAIN, ("--batch-size", "many"), "--batch-size must be a whole number, not 'many'"),
    (TRAIN, ("--data", "nowhere"), "unknown data set 'nowhere'"),
    (TRAIN, ("--data", "npz:nowhere.npz"), "no such file or folder: nowhere.npz"),
    ("grace_geom.evaluate", ("nothing.pt",), "no such checkpoint: nothing.pt"),
    (
        "grace_geom.evaluate",
        (f"{ROOT}/README.md",),
        "README.md is not a checkpoint: it looks like text (Markdown)",
    ),
    ("grace_geom.study.__main__", ("analyze", "runs"), "did you mean 'analyse'"),
    (
        "grace_geom.study.__main__",
        ("analyse", "runs", "--analyses", "sharpnes"),
        "did you mean 'sharpness'",
    ),
    (
        "grace_geom.study.__main__",
        ("evaluate", "runs", "--suites", "id,odd"),
        "unknown suite 'odd'; did you",
    ),
    ("grace_geom.evaluate", ("nothing.pt", "--suites", "id,odd"), "unknown suite 'odd'; did you"),
    ("grace_geom.interpolate", ("nothing.pt",), "no such checkpoint: nothing.pt"),
    ("grace_geom.export", ("nothing.pt",), "no such checkpoint: nothing.pt"),
    ("grace_geom.compare", ("--methods", "ft,grase"), "--methods: 'grase' is not known; did you"),
    ("grace_geom.compare", ("--methods", "ft", "--data", "folder:no"), "no such file or folder"),
    ("analyses/sharpness.py", ("nothing.pt",), "no such checkpoint: nothing.pt"),
    ("analyses/report.py", ("x.pt", "--analyses", "sharpnes"), "did you mean 'sharpness'"),
]
BUILDING = [(program, ("--help",)) for program in PROGRAMS] + [(TRAIN, SETTINGS)]
CALLS = BUILDING + [(program, flags) for program, flags, _ in REFUSED]

Answers = dict[tuple[str, tuple[str, ...]], Answer]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the programs say that build their options from the code, as nothing is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "100")
        with patch.context() as forgetful:
            forgetful.setattr("grace_geom.cli.quick.recall", lambda key: None)
            said = {call: answer(*call) for call in CALLS}
        yield said


@pytest.fixture(scope="module")
def quick(whole: Answers, tmp_path_factory) -> Answers:
    """What a process says that finds the descriptions which ``whole`` left."""
    calls = tmp_path_factory.mktemp("calls") / "calls.json"
    calls.write_text(json.dumps(CALLS))
    done = subprocess.run(
        [sys.executable, "-m", "tests.calls", str(calls)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return dict(zip(CALLS, (Answer(*each) for each in json.loads(done.stdout)), strict=True))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_comes_without_torch_and_is_the_same(whole: Answers, quick: Answers, program):
    call = (program, ("--help",))
    assert whole[call].code == 0
    assert "--config FILE" in whole[call].out
    assert quick[call][:3] == whole[call][:3]
    assert quick[call].imported == []


@pytest.mark.parametrize(("program", "flags", "said"), REFUSED)
def test_refusals_come_without_torch_in_the_same_words(
    whole: Answers, quick: Answers, program, flags, said
):
    out, errors, code, imported = quick[program, flags]
    assert (code, imported) == (2, [])
    assert said in errors
    assert out == ""
    assert whole[program, flags].errors.endswith(errors) and whole[program, flags].code == 2


@pytest.mark.parametrize(
    "program",
    [
        "grace_geom.evaluate",
        "grace_geom.export",
        "grace_geom.interpolate",
        "analyses/sharpness.py",
        "analyses/report.py",
    ],
)
def test_the_first_call_of_an_installation_looks_at_the_file_too(program, monkeypatch):
    monkeypatch.setattr("grace_geom.cli.quick.recall", lambda key: None)
    monkeypatch.setattr("grace_geom.cli.quick.sys", SimpleNamespace(modules={}))  # as if no torch
    found = answer(program, (f"{ROOT}/README.md", "--no-such-flag"))
    assert found.code == 2 and "--no-such-flag" not in found.errors
    assert "README.md is not a checkpoint: it looks like text" in found.errors


def test_settings_are_printed_as_the_whole_program_prints_them(whole: Answers, quick: Answers):
    call = (TRAIN, SETTINGS)
    assert quick[call][:3] == whole[call][:3]
    assert "epochs: 3" in quick[call].out
    assert quick[call].imported == []


def test_a_changed_installation_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory.remember("names", ["a"])
    assert memory.recall("names") == ["a"]
    monkeypatch.setattr(memory, "fingerprint", lambda: "another")
    assert memory.recall("names") is None


def test_a_damaged_cache_costs_time_only(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory.remember("names", ["a"])
    for damage in (b"", b"{", b"[]", b'{"key": "other", "value": 1}', b"\xff"):
        memory._file("names").write_bytes(damage)
        assert memory.recall("names") is None
