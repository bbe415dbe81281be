"""Processes of this machine: outcomes in order of their end, and a death tried again."""

from pathlib import Path

import pytest

from grace_geom.engines import Resources, Task, TaskOutcome
from grace_geom.engines.local import DIED, Local
from grace_geom.errors import Interrupted
from tests.engines.work import (
    breaks,
    dies_at_first,
    ranks,
    refuses,
    stops,
    twice,
    waits_for,
    writes,
)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_task_has_one_outcome_whatever_its_function_raises(workers: int) -> None:
    tasks = [Task("a", twice, (4,)), Task("b", refuses), Task("c", breaks), Task("d", twice, (0,))]
    outcomes = {outcome.name: outcome for outcome in Local(workers).run(tasks)}
    assert outcomes == {
        "a": TaskOutcome("a", 8),
        "b": TaskOutcome("b", error="no such file", failure="user"),
        "c": TaskOutcome("c", error="ZeroDivisionError: by nought", failure="fault"),
        "d": TaskOutcome("d", 0),
    }


@pytest.mark.distributed
def test_a_task_in_two_processes_is_brought_together_here() -> None:
    (outcome,) = Local().run([Task("sums", ranks, (3.0,), Resources(processes=2))])
    assert outcome == TaskOutcome("sums", (2, 3.0))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_stops_them_all(workers: int) -> None:
    with pytest.raises(Interrupted, match="after step 3"):
        list(Local(workers).run([Task("a", stops), Task("b", twice, (1,))]))


def test_outcomes_come_in_the_order_in_which_tasks_end(tmp_path: Path) -> None:
    file = str(tmp_path / "written")
    tasks = [Task("slow", waits_for, (file,)), Task("quick", writes, (file,))]
    assert [outcome.name for outcome in Local(2).run(tasks)] == ["quick", "slow"]


@pytest.mark.parametrize(("times", "retries"), [(2, 2), (2, 1)])
def test_a_death_is_tried_again_as_often_as_was_asked_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: int, retries: int
) -> None:
    resources = Resources(retries=retries)
    tasks = [Task("dies", dies_at_first, (str(tmp_path), times), resources), Task("b", twice, (1,))]
    outcomes = {outcome.name: outcome for outcome in Local(2).run(tasks)}
    survives = TaskOutcome("dies", "begun 3 times", attempts=3)
    lost = TaskOutcome("dies", None, DIED, "lost", 2)
    assert outcomes == {"dies": survives if retries == 2 else lost, "b": TaskOutcome("b", 2)}
    said = [s for s in capsys.readouterr().err.splitlines() if s.startswith("warning: ")]
    begins = [f"attempt {n} of {retries + 1} begins" for n in range(2, retries + 2)]
    assert said == [f"warning: dies: {DIED}; {text}" for text in begins]
