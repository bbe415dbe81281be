"""What needs no torch is answered without it, and says what the whole program would say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grace_geom.cli import memory

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import json, runpy, sys
sys.argv = {argv!r}
code = 0
try:
    runpy.{how}
except SystemExit as stop:
    code = stop.code
heavy = [name for name in ("torch", "open_clip", "scipy.stats", "matplotlib") if name in sys.modules]
print(json.dumps([code or 0, heavy]), file=sys.stderr)
"""


def call(cache: Path, program: str, *flags: str) -> tuple[str, str, int, list[str]]:
    """Output, errors, exit code and heavy imports of a program in a process of its own."""
    how = (
        f"run_path({program!r}, run_name='__main__')"
        if program.endswith(".py")
        else f"run_module({program!r}, run_name='__main__', alter_sys=True)"
    )
    code = SCRIPT.format(argv=[program, *flags], how=how)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
    )
    *said, last = done.stderr.splitlines()
    return done.stdout, "\n".join(said), *json.loads(last)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache that every program has been called with once."""
    return tmp_path_factory.mktemp("cache")


PROGRAMS = ["grace_geom.train", "grace_geom.evaluate", "analyses/hessian_spectrum.py"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_comes_without_torch_and_is_the_same(cache, program):
    first = call(cache, program, "--help")
    assert first[2] == 0
    assert "torch" in first[3], "the first call builds the options from the code"
    again = call(cache, program, "--help")
    assert again[:3] == first[:3]
    assert again[3] == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--method", "grase"), "did you mean 'grace'"),
        (("--model", "ViT-B32"), "did you mean 'ViT-B-32'"),
        (("--lambda-gvv", "1"), "did you mean '--lambda-gv'"),
        (("--rho", "-1"), "--rho is -1.0, it must be at least 0"),
        (("--batch-size", "many"), "--batch-size must be a whole number, not 'many'"),
    ],
)
def test_refusals_come_without_torch(cache, flags, said):
    call(cache, "grace_geom.train", "--help")
    out, errors, code, heavy = call(cache, "grace_geom.train", *flags)
    assert (code, heavy) == (2, [])
    assert said in errors
    assert out == ""


def test_settings_are_printed_as_the_whole_program_prints_them(cache):
    flags = ("--method", "at", "--epochs", "3", "--print-config")
    first, again = (call(cache, "grace_geom.train", *flags) for _ in range(2))
    assert again[0] == first[0]
    assert "epochs: 3" in again[0]
    assert ("torch" in first[3], again[3]) == (True, [])


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
