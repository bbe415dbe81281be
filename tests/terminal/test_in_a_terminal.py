"""Commands in a pseudo-terminal, where nothing may wrap and nothing stale may stay."""

from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.screen import watch

COMMAND = """
import sys, time
from grace_geom.progress import Progress
from grace_geom.terminal import door, finish, say, start, warn

@door
def main(argv=None):
    start("evaluate: runs/a on id, ood -> eval.json beside it")
    watch = Progress(head="a-run-with-quite-a-long-name: ", parts=2)
    for name in ("ID shapes", "OOD shapes:sketch"):
        watch.part += 1
        watch.begin(name, 500)
        watch.show(loss=0.41234, train_acc=0.75, another_number=12.5)
        for _ in range(5):
            time.sleep(0.06)
            watch.step(100, 100)
        warn("a sentence of more words than have room in a line of eighty columns, so that it is "
             "broken between two of them")
        print("from a library", file=sys.stderr)
        watch.end("never seen")
    if "fail" in sys.argv:
        watch.begin("is interrupted", 3)
        raise KeyboardInterrupt
    finish(text="written: eval.json")

main()
"""
ENV = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}


@pytest.mark.parametrize("columns", [80, 160])
def test_rows_fit_and_are_gone_at_the_end(columns: int, tmp_path: Path) -> None:
    seen = watch(["-c", COMMAND], tmp_path, columns, ENV)
    assert seen.code == 0 and seen.screen.wrapped == 0
    states = [rows[-1] for _, rows in seen.screens if rows]
    assert any("[1/2] ID shapes" in row and "images/s" in row for row in states)
    assert any("[2/2] OOD shapes:sketch" in row and " left" in row for row in states)
    assert any("━" in row for row in states) or columns == 80
    assert any("another_number" in row for row in states) == (columns == 160)
    rows = seen.screen.shown()
    assert not [row for row in rows if "images/s" in row or "never seen" in row]
    assert rows[0].startswith("evaluate: ") and rows[-1] == "written: eval.json"
    assert rows.count("from a library") == 2
    assert sum("warning: a sentence" in row for row in rows) == 2


def test_an_interrupted_command_leaves_a_clean_terminal(tmp_path: Path) -> None:
    seen = watch(["-c", COMMAND, "fail"], tmp_path, 80, ENV)
    assert seen.code == 130 and seen.screen.shown()[-1] == "interrupted"
    assert not [row for row in seen.screen.shown() if "is interrupted" in row]


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_terminals_without_colour_get_none(variables: dict[str, str], tmp_path: Path) -> None:
    seen = watch(["-c", COMMAND], tmp_path, 80, ENV | variables)
    assert seen.code == 0 and not {"36", "33", "90"} & seen.screen.colours
    drawn = any("━" in row for _, rows in seen.screens for row in rows)
    assert not ("TERM" in variables and drawn)
