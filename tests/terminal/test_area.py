"""The live area: what fits in a row, and that nothing of it stays on the screen."""

import contextlib
import io
import sys

import pytest
from rich.cells import cell_len, set_cell_size

from grace_geom.terminal import AREA, Bar
from grace_geom.terminal.area import can_draw, in_colour, pieces
from grace_geom.terminal.voice import line
from tests.screen import Terminal

FULL = Bar(
    "run-with-a-long-name: [2/7] OOD shapes:sketch",
    "250/500",
    0.5,
    ("310 images/s", "1 s left"),
    ("loss 0.4123", "train_acc 0.75"),
)


def text(bar: Bar, width: int) -> str:
    return "".join(part for part, _ in pieces(bar, width, cell_len, set_cell_size))


class Rows:
    """An owner whose rows a test sets."""

    def __init__(self, *bars: Bar) -> None:
        self.bars = list(bars)

    def rows(self) -> list[Bar]:
        return self.bars


def test_a_wide_terminal_has_a_bar_and_all_numbers():
    shown = text(FULL, 160)
    assert shown.startswith("run-with-a-long-name: [2/7] OOD shapes:sketch ━━━━")
    assert shown.count("━") == shown.count("─") == 20
    assert shown.endswith(" 250/500  310 images/s  1 s left  loss 0.4123  train_acc 0.75")


def test_eighty_columns_keep_rate_and_time_left():
    shown = text(FULL, 79)
    assert shown.startswith("run-with-a-long-name: [2/7] OOD shapes:sketch 250/500")
    assert "310 images/s  1 s left" in shown and "loss" not in shown


def test_a_narrow_terminal_keeps_the_ends_of_the_label_and_the_time_left():
    shown = text(FULL, 40)
    assert shown.startswith("run-w") and "…" in shown and "1 s left" in shown
    assert "250/500" in shown


@pytest.mark.parametrize("label", ["", "a", "日本語のデータ集合の長い名前", "x" * 200])
@pytest.mark.parametrize("width", [*range(12, 60), 79, 159])
def test_no_row_is_wider_than_the_terminal(label, width):
    for bar in (FULL, Bar(label), Bar(label, "1/3", 1 / 3), Bar(label, "9", 3.0, ("45 s left",))):
        assert cell_len(text(bar, width)) <= max(width, cell_len(bar.count) + 2)


def test_rows_are_drawn_below_what_is_said_and_leave_nothing(monkeypatch):
    terminal = Terminal.instead_of_stderr(monkeypatch, 80)
    first, second = Rows(Bar("first", "1/2", 0.5)), Rows(Bar("second"))
    AREA.show(first)
    AREA.show(second)
    terminal.redraw()
    assert [row.split()[0] for row in terminal.rows()] == ["first", "second"]
    print("told by a library", file=sys.stderr)
    assert AREA.above("said " + "x" * 100)
    terminal.redraw()
    rows = terminal.rows()
    assert rows[:2] == ["told by a library", "said " + "x" * 75]  # the rest is in the next line
    assert [row.split()[0] for row in rows[3:]] == ["first", "second"]
    second.bars = []
    AREA.hide(first)
    terminal.redraw()
    assert len(terminal.rows()) == 3
    AREA.leave(0)
    assert terminal.rows()[-1] == "x" * 25 and not AREA.drawn
    assert sys.stderr is terminal


def test_nobody_hears_what_is_said_above_while_somebody_listens(monkeypatch):
    assert not AREA.above("x"), "nothing is drawn"
    terminal = Terminal.instead_of_stderr(monkeypatch, 80)
    AREA.show(Rows(Bar("under way")))
    with contextlib.redirect_stderr(io.StringIO()) as listener:
        assert not AREA.above("not said"), "stderr goes elsewhere"
        line("heard")
    assert AREA.above("said")
    AREA.leave(0)
    assert listener.getvalue() == "heard\n"
    assert "said" in terminal.rows() and not {"heard", "not said"} & set(terminal.rows())


@pytest.mark.parametrize(
    ("variables", "draws", "colours"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_is_taken_for_what_it_says(monkeypatch, variables, draws, colours):
    terminal = Terminal.instead_of_stderr(monkeypatch, 120)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (can_draw(), in_colour()) == (draws, colours)
    if draws:
        AREA.show(Rows(FULL))
        terminal.redraw()
        AREA.leave(0)
        terminal.rows()
        assert ("36" in terminal.screen.colours) == colours
