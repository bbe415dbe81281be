"""Methods of a study train on equal terms, but for what it names."""

import pytest

from grace_geom.errors import UserError
from grace_geom.study import data_files, report
from grace_geom.study.options import StudyOptions, jobs_of
from grace_geom.study.rows import Row


def test_other_steps_are_refused_with_the_way_out():
    options = StudyOptions(methods=("ft", "at"), set={"at.max_steps": "64"})
    with pytest.raises(UserError, match=r"epochs is null for at.*--unequal epochs$"):
        jobs_of(options, {})


def test_what_the_study_names_may_differ_and_nothing_else():
    options = StudyOptions(methods=("ft", "at"), set={"at.max_steps": "64"}, unequal=("max_steps",))
    assert [job.config.max_steps for job in jobs_of(options, {})] == [None, 64]
    more = {"at.max_steps": "64", "at.batch_size": "32"}
    with pytest.raises(UserError, match="batch_size is 32 for at"):
        jobs_of(StudyOptions(methods=("ft", "at"), set=more, unequal=("max_steps",)), {})


@pytest.mark.parametrize("name", ["max_step", "data", "split_seed", "batch_size"])
def test_only_the_budget_may_differ(name):
    with pytest.raises(UserError, match="--unequal"):
        StudyOptions(methods=("ft",), unequal=(name,))


def test_a_search_of_equal_steps_is_not_one_of_unequal_runs():
    with pytest.raises(UserError, match=r"--lr-search asha.*--unequal"):
        StudyOptions(methods=("ft",), baseline="ft", unequal=("max_steps",), lr_search="asha")


def test_the_cost_of_a_run_is_its_steps_times_that_of_one():
    rows = [
        Row("a", {}, cost=3.0, lr=0.1, steps=200, seconds=[1.0, 3.0]),
        Row("b", {}, cost=6.0, lr=0.1, steps=100, at_most=True),
        Row("c", {}, trains=False),
    ]
    table = report.cost_table(rows)
    assert list(table.columns)[2:] == [
        "steps",
        "training seconds",
        "step in forwards",
        "run in forwards",
    ]
    assert [row[2:] for row in table.rows] == [
        ["200", "2", "3.0", "600"],
        ["100", "-", "≤ 6.0", "≤ 600"],
        ["-", "-", "-", "-"],
    ]
    assert [row["steps"] for row in data_files.plain_rows(rows, None)] == [200, 100, None]
