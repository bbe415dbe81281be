"""What is promised of every engine."""

from pathlib import Path

import pytest

from grace_geom.engines import Resources, Task, TaskOutcome
from tests.engines import work
from tests.engines.made import NAMES, engine


@pytest.mark.parametrize("name", NAMES)
def test_each_task_has_one_outcome_and_says_what_it_has_to_say(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "begun").mkdir()
    dies = Task("dies", work.dies_at_first, (str(tmp_path / "begun"), 1), Resources(retries=1))
    tasks = [Task("says", work.speaks, ("a line",)), Task("refuses", work.refuses), dies]
    tasks.append(Task("breaks", work.breaks))
    outcomes = list(engine(name, tmp_path).run(tasks))
    assert len(outcomes) == 4
    assert {outcome.name: outcome for outcome in outcomes} == {
        "says": TaskOutcome("says", "a line"),
        "refuses": TaskOutcome("refuses", error="no such file", failure="user"),
        "breaks": TaskOutcome("breaks", error="ZeroDivisionError: by nought", failure="fault"),
        "dies": TaskOutcome("dies", "begun 2 times", attempts=2),
    }
    out, err = capfd.readouterr()
    said = err.splitlines()
    assert not out and "a line" in said and "warning: careful" in said
    (lost,) = [text for text in said if text.startswith("warning: dies: ")]
    assert lost.endswith("; attempt 2 of 2 begins")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_lost_too_often_is_the_outcome(name: str, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    task = Task("dies", work.dies_at_first, (str(tmp_path / "begun"), 9), Resources(retries=1))
    tasks = [task, Task("b", work.twice, (2,))]
    outcomes = {outcome.name: outcome for outcome in engine(name, tmp_path).run(tasks)}
    assert outcomes["b"] == TaskOutcome("b", 4)
    dies = outcomes["dies"]
    assert (dies.failure, dies.attempts, dies.value) == ("lost", 2, None) and dies.error
    assert len(list((tmp_path / "begun").iterdir())) == 2


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize("name", NAMES)
def test_a_task_in_several_processes_has_one_outcome(name: str, tmp_path: Path) -> None:
    two = Resources(processes=2, retries=1)
    tasks = [
        Task("sums", work.ranks, (3.0,), two),
        Task("refuses", work.one_refuses, (), two),
        Task("dies", work.one_dies, (str(tmp_path),), two),
    ]
    outcomes = {outcome.name: outcome for outcome in engine(name, tmp_path).run(tasks)}
    assert outcomes == {
        "sums": TaskOutcome("sums", (2, 3.0)),
        "refuses": TaskOutcome("refuses", error="the second has no file", failure="user"),
        "dies": TaskOutcome("dies", 2, attempts=2),
    }
