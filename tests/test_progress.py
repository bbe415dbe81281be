"""One line for steps, sets and jobs: what it says, and how it looks in a pipe and on a terminal."""

import re

import pytest

from grace_geom.attacks import AttackSpec
from grace_geom.evaluation import Console, Target
from grace_geom.progress import Progress, duration
from grace_geom.records import Accuracy
from grace_geom.terminal import AREA, voice
from tests.screen import Terminal


def test_progress_lines(capsys):
    progress = Progress(total=10, done=2, every=0.0)
    progress.show(loss=1.25)
    progress.step(8)
    assert "step 3/10" in capsys.readouterr().err
    assert "loss 1.25" in progress.line() and "left" in progress.line()
    quiet = Progress(total=10, quiet=True, every=0.0)
    quiet.step(8)
    quiet.say("x")
    assert not capsys.readouterr().err


def test_work_that_takes_longer_than_expected_has_no_negative_time_left():
    watch = Progress(2, quiet=True)
    for _ in range(3):
        watch.step(4)
    assert watch.line().startswith("step 3, 2 were expected") and "-" not in watch.line()


def test_steps_of_an_earlier_run_tell_nothing_of_the_time_left():
    watch = Progress(100, quiet=True)
    watch.resume(90)
    assert watch.line() == "step 90/100"
    watch.began -= 8
    watch.step(4, 2)
    assert watch.line() == "step 92/100  0.5 images/s  32 s left"


def test_work_of_others_has_their_time_left():
    watch = Progress(parts=4, quiet=True)
    watch.part = 1
    watch.look("at-s0: step 5/20", 200)
    assert watch.line() == "[1/4] at-s0: step 5/20  3:20 min left"


def test_a_terminal_has_one_row_that_changes(monkeypatch):
    terminal = Terminal.instead_of_stderr(monkeypatch, 80)
    watch = Progress(3, head="x: ", parts=2)
    watch.part = 1
    watch.begin("ID shapes", 500)
    assert re.fullmatch(
        r"x: \[1/2\] ID shapes ─{30,40} 0/500  [\d:]+ \w+ so far", terminal.rows()[-1]
    )
    watch.step(250, 250)
    terminal.redraw()
    half = r"x: \[1/2\] ID shapes ━+─+ 250/500  [\d.]+ images/s  \d+ s left"
    assert re.fullmatch(half, terminal.rows()[-1])
    watch.say("said")
    terminal.redraw()
    said, row = terminal.rows()
    assert said == "said" and re.fullmatch(half, row)
    watch.step(250, 250)
    watch.end("gone")
    assert terminal.rows() == ["said"]


def test_what_is_not_counted_shows_the_time_that_it_takes(monkeypatch):
    terminal = Terminal.instead_of_stderr(monkeypatch, 40)
    watch = Progress()
    watch.begin("a stage with a long name")
    watch.began -= 75
    terminal.redraw()
    assert re.fullmatch(r"a stage wi…a long name  1:\d\d min so far", terminal.rows()[0])
    watch.clear()
    assert terminal.rows() == []


def measured(console: Console, suite: str, known: bool = False) -> None:
    attack = AttackSpec("pgd", 4 / 255) if suite == "adv" else None
    if not known:
        console.begin(Target(suite, "shapes", "shapes", "test", attack, None), 4)
        console.advance(4)
    console.end(Accuracy(suite, "shapes", "shapes", 4, 3, 0.75, 0.3, 0.95, 0.1), known)


def test_an_evaluation_has_a_line_a_number_in_a_pipe(capsys):
    console = Console("run: ")
    console.plan(3)
    measured(console, "id", known=True)
    measured(console, "ood")
    measured(console, "adv")
    assert console.reused == 1
    lines = re.sub(r"\(\d+\.\d s\)", "(T)", capsys.readouterr().err).splitlines()
    assert lines == ["run: [2/3] OOD shapes: 75.0 (T)", "run: [3/3] Adv shapes: 75.0 (T)"]


def test_an_evaluation_leaves_a_terminal_empty(monkeypatch):
    terminal = Terminal.instead_of_stderr(monkeypatch, 80)
    console = Console()
    console.plan(1)
    console.begin(Target("id", "shapes", "shapes", "test", None, None), 4)
    assert terminal.rows()[-1].startswith("[1/1] ID shapes ─")
    measured(console, "id")
    assert terminal.rows() == [] and not AREA.drawn


def test_quiet_commands_show_no_progress(capsys, monkeypatch):
    monkeypatch.setattr(voice(), "quiet", True)
    progress = Progress(10, every=0.0)
    progress.step(8)
    progress.end("text")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("seconds, text", [(3.4, "3 s"), (200, "3:20 min"), (7500, "2 h 05 min")])
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
