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
from grace_geom.terminal import OUTPUT_FORMAT, door, failed, finish, say, show, start, voice, warn
from grace_geom.terminal.door import PACKAGE
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


def test_what_failed_is_heard_however_quiet_and_is_in_the_document(capsys):
    @door
    def outer(argv=None):
        failed("ft-s1 failed: no such luck")
        finish(Path("out"))

    for flags in ((), ("--quiet",), ("--json",), ("--quiet", "--json")):
        outer(list(flags))
        out, err = capsys.readouterr()
        assert err == "ft-s1 failed: no such luck\n"
        if "--json" in flags:
            assert json.loads(out)["warnings"] == ["ft-s1 failed: no such luck"]


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


@pytest.mark.parametrize(
    "flags", [("--json", "--json=off"), ("--json", "on", "--json", "False"), ("--json", "no", "x")]
)
def test_a_switch_can_be_off(capsys, flags):
    _, out, err = call(capsys, *flags)
    assert "a table" in out and "a line" in err


@pytest.mark.parametrize("flags", [("--json",), ("--json", "true"), ("--json", "off", "--json")])
def test_a_switch_can_be_on(capsys, flags):
    assert json.loads(call(capsys, *flags, "x")[1])["exit_code"] == 0


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


def test_warnings_of_the_package_are_lines_and_those_of_others_stay_as_they_are(capsys):
    @door
    def warned(argv=None):
        warnings.warn_explicit("of ours", UserWarning, str(PACKAGE / "models" / "x.py"), 1)
        warnings.warn_explicit("of theirs", UserWarning, "/elsewhere/x.py", 1)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warned(["--json"])
        out, err = capsys.readouterr()
        assert err == "warning: of ours\n" and json.loads(out)["warnings"] == ["of ours"]
        assert [str(w.message) for w in found] == ["of theirs"]
        warned(["--quiet"])
        assert capsys.readouterr() == ("", "") and len(found) == 1


def test_a_pipe_gets_no_control_characters(capsys):
    assert "\x1b" not in "".join(map(str, call(capsys)))
