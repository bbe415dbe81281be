"""What a task on another machine takes along and brings back."""

import os
import sys
from pathlib import Path

import pytest

from grace_geom.engines import Resources, Task, TaskOutcome
from grace_geom.engines.elsewhere import MOST, Origin, report
from grace_geom.engines.parts import MachinePart, joined
from grace_geom.terminal import voice
from tests.engines import work


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quiet", "relayed"):
        monkeypatch.setattr(voice(), name, False)
    monkeypatch.setenv("GRACE_GEOM_TEST", "of the command")


def where() -> tuple[str, str]:
    for number in range(MOST):
        print(number, file=sys.stderr)
    return os.getcwd(), os.environ["GRACE_GEOM_TEST"]


def test_a_task_works_in_the_commands_folder_with_our_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Origin.here()
    monkeypatch.chdir("/")
    monkeypatch.setenv("GRACE_GEOM_TEST", "of the machine")
    found = report(home, Task("a", where))
    assert found.outcome == TaskOutcome("a", (str(tmp_path), "of the command"))
    assert found.said == tuple(map(str, range(MOST)))


def test_a_machine_that_does_not_see_the_folder_is_a_mistake_that_can_be_mended() -> None:
    outcome = report(Origin("/nowhere/at/all", {}, False), Task("a", where)).outcome
    assert outcome.failure == "user"
    assert "does not see /nowhere/at/all" in outcome.error and "all machines see" in outcome.error


def test_a_task_that_is_told_to_stop_is_lost_and_a_quiet_one_only_warns() -> None:
    outcome = report(Origin.here(), Task("a", work.stops)).outcome
    assert (outcome.failure, outcome.value) == ("lost", None)
    assert outcome.error == "it was stopped there (stopped after step 3)"
    quiet = Origin(os.getcwd(), {}, True)
    assert report(quiet, Task("a", work.speaks, ("a line",))).said == ("warning: careful",)


def test_the_outcome_of_several_processes_is_a_failure_of_any_else_what_the_first_returned() -> (
    None
):
    task = Task("a", where, (), Resources(processes=2, nodes=2))
    good = {rank: TaskOutcome("a", rank) for rank in range(4)}
    halves = [MachinePart({r: good[r] for r in ranks}, False) for ranks in ((2, 3), (0, 1))]
    assert joined(task, halves) == TaskOutcome("a", 0)
    refused = TaskOutcome("a", error="no file", failure="user")
    assert joined(task, [halves[1], MachinePart({3: refused}, died=True)]) == refused
    for parts in ([halves[0]], [halves[0], MachinePart({0: good[0]}, died=True)]):
        lost = joined(task, parts)
        assert (lost.failure, lost.error[:28]) == ("lost", "one of its 4 processes died ")
