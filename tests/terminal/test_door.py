"""What a command says and prints, with and without ``--quiet`` and ``--json``, and how it ends."""

import io
import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from grace_geom.errors import Interrupted, UserError
from grace_geom.terminal import OUTPUT_FORMAT, door, finish, say, show, start, voice, warn
from grace_geom.terminal.voice import VOICES


@door
def main(argv=None):
    """A command that does a little of everything."""
    start("main: what on what")
    start("never said")
    say("a line")
    warn("careful")
    warnings.warn("of a library", stacklevel=1)
    print("of a library")
    show("a table")
    if "fail" in argv:
        raise UserError("--fail: was given")
    if "break" in argv:
        raise ZeroDivisionError("a fault")
    if "stop" in argv:
        raise Interrupted("saved; go on")
    numbers = {"value": np.float64(0.5), "low": math.nan, "path": Path("x"), "n": (1, 2)}
    finish(Path("out/a"), text="written: out/a", beside=[Path("out/b")], numbers=numbers)


def call(capsys, *argv: str) -> tuple[int, str, str]:
    code = 0
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            main(list(argv))
        except SystemExit as end:
            code = int(end.code or 0)
    assert bool(found) == ("--quiet" not in argv)
    out, err = capsys.readouterr()
    assert len(VOICES) == 1, "the command has ended"
    return code, out, err


def test_a_command_says_and_shows(capsys):
    code, out, err = call(capsys)
    assert code == 0 and out == "of a library\na table\nwritten: out/a\n"
    assert err == "main: what on what\na line\nwarning: careful\n"


def test_quiet_leaves_errors_and_the_final_path(capsys):
    assert call(capsys, "--quiet")[1:] == ("of a library\nout/a\n", "")
    assert call(capsys, "--quiet", "fail") == (2, "of a library\n", "error: --fail: was given\n")


def test_json_is_one_document_on_stdout(capsys):
    code, out, err = call(capsys, "--json")
    found = json.loads(out)
    assert code == 0 and found.pop("seconds") >= 0
    assert found == {
        "format": OUTPUT_FORMAT,
        "command": "test_door",
        "exit_code": 0,
        "error": None,
        "warnings": ["careful"],
        "files": ["out/a", "out/b"],
        "result": {"numbers": {"value": 0.5, "low": None, "path": "x", "n": [1, 2]}},
    }
    assert "a line" in err and "of a library" in err and "a table" not in err + out


@pytest.mark.parametrize(
    ("how", "code", "kind", "message"),
    [("fail", 2, "error", "--fail: was given"), ("stop", 130, "interrupted", "saved; go on")],
)
def test_json_tells_errors_too(capsys, how, code, kind, message):
    ended, out, err = call(capsys, "--json=on", how)
    found = json.loads(out)
    assert (ended, found["exit_code"]) == (code, code) and found["result"] == {}
    assert found["error"] == {"kind": kind, "message": message}
    assert err.endswith(f"{kind}: {message}\n")


def test_json_tells_a_fault_before_its_traceback(capsys):
    with pytest.raises(ZeroDivisionError), pytest.warns(UserWarning):
        main(["--json", "break"])
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 1 and found["error"] == {"kind": "fault", "message": "a fault"}


def test_a_reader_that_goes_away_is_no_fault(monkeypatch, capsys):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(SystemExit) as end, pytest.warns(UserWarning):
        main(["--json"])
    assert end.value.code == 0


def test_help_is_no_document(capsys):
    assert "a table" in call(capsys, "--json", "--help")[1]


def test_a_switch_can_be_off(capsys):
    _, out, err = call(capsys, "--json", "--json=off")
    assert "a table" in out and "a line" in err


def test_one_process_of_a_job_prints_the_document(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert "format" not in call(capsys, "--json")[1]


def test_a_command_within_a_command_has_a_voice_of_its_own(capsys):
    @door
    def outer(argv=None):
        with pytest.raises(SystemExit), pytest.warns(UserWarning):
            main(["fail"])
        assert voice().warnings == []
        finish(text="end", outer=1)

    outer(["--json"])
    out = capsys.readouterr().out
    assert json.loads(out)["result"] == {"outer": 1}
    assert sys.stdout is not sys.stderr


def test_a_pipe_gets_no_control_characters(capsys):
    assert "\x1b" not in "".join(map(str, call(capsys)))
