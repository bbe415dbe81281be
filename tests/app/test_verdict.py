"""How trainings go: each kind of end is told apart, by intervals that keep their level."""

import numpy as np
import pytest
from scipy import stats

from app import verdict
from app.progress import progress
from app.verdict import Trend, held, sentence, trend


def rows(values, **more):
    return [{"step": i, "loss": float(v)} | more for i, v in enumerate(values, 1)]


NOISE = np.random.default_rng(0).normal(0, 0.1, 100)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (2 - 0.02 * np.arange(100) + NOISE, "falls"),
        (1 + 0.02 * np.arange(100) + NOISE, "rises"),
        (1 + NOISE, "level"),
        ([1.0] * 100, "level"),
        ([*(1 + NOISE), np.nan], "broken"),
        ([1.0] * 7, "short"),
        (4 - np.arange(8.0), "falls"),
        ([], "short"),
    ],
)
def test_each_end_of_a_loss_is_told_apart(values, kind):
    assert trend(rows(values)).kind == kind


def test_the_change_of_the_loss_has_welchs_interval():
    values = 2 - 0.01 * np.arange(100) + NOISE
    found = trend(rows(values))
    test = stats.ttest_ind(values[80:], values[60:80], equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.change == pytest.approx(values[80:].mean() - values[60:80].mean())


def checked(*accuracies, n=1000):
    return [{"step": 10 * i, "val_acc_pgd": a, "val_pgd_n": n} for i, a in enumerate(accuracies, 1)]


def test_best_and_last_check_are_compared_by_newcombes_interval_for_all_checks():
    found = held(checked(0.2, 0.42, 0.4, 0.31))
    assert (found.best_step, found.last_step, found.checks, found.n) == (20, 40, 4, 1000)
    level = 1 - 0.05 / 3
    last, best = (
        stats.binomtest(k, 1000).proportion_ci(level, method="wilson") for k in (310, 420)
    )
    low = -0.11 - np.hypot(0.31 - last.low, best.high - 0.42)
    high = -0.11 + np.hypot(last.high - 0.31, 0.42 - best.low)
    assert (found.change, found.low, found.high) == pytest.approx((-0.11, low, high))
    assert found.fell


def test_a_best_check_by_chance_is_no_fall():
    rng, falls = np.random.default_rng(0), 0
    for _ in range(400):
        found = held(checked(*(rng.binomial(300, 0.4, 20) / 300), n=300))
        falls += found.fell
    assert falls <= 0.05 * 400, "20 checks of one accuracy: the best is high by chance"
    assert not held(checked(0.3, 0.4)).fell
    assert held(checked(0.4)) is None
    assert held([{"step": 1, "val_acc_pgd": None}, {"step": 2, "val_acc_pgd": 2.0}]) is None


NAMES = {run: run for run in "abcde"}


def test_one_sentence_says_state_loss_and_overfitting():
    trends = {"a": Trend("falls", 1.0, -0.25, -0.3, -0.2, 20), "b": Trend("level", n=20)}
    checks = {"a": held(checked(0.4, 0.41)), "b": held(checked(0.42, 0.31))}
    said = sentence(NAMES, {"a": "finished", "b": "running"}, trends, checks, True)
    assert said.startswith(
        "No: 1 of 2 fell below its best check, 1 of 2 still improves. **b** is being written, **a** "
        "is finished; "
    )
    assert "still falls in **a** (1 over its last 20 records, \u22120.25" in said
    assert "shows no clear change in **b**" in said
    assert "under PGD ends below its best in **b** (31.0 % at step 20 against 42.0 %" in said
    assert said.endswith(", robust overfitting).")


def test_what_was_not_checked_is_not_claimed():
    trends = dict.fromkeys("abcd", Trend("short"))
    said = sentence(NAMES, dict.fromkeys("abcd", "finished"), trends, {}, False)
    assert said == (
        "Not yet: all 4 have too few records to tell. All 4 runs are finished; at the end of the "
        "log, the training loss has too few records for a verdict in all 4; held-out accuracy was "
        "checked less than twice, so it says nothing."
    )
    one = {"a": verdict.held(checked(0.4, 0.41))}
    said = sentence(NAMES, dict.fromkeys("abcd", "finished"), trends, one, False)
    assert "accuracy, without attack, ends not clearly below its best in any run of 1" in said
    assert sentence(NAMES, {"a": "untrained"}, {}, {}, False) == "**a** was not trained."


def test_runs_that_write_no_more_do_not_contradict_their_falling_loss():
    trends = dict.fromkeys("abcd", Trend("falls", 0.78, -0.22, -0.3, -0.2, 20))
    said = sentence(NAMES, dict.fromkeys("abcd", "stalled"), trends, {}, False)
    assert said.startswith(
        "No: all 4 ended before their last step. All 4 runs stopped writing before their last step; "
        "at the end of the log, the training loss still falls in all 4 (by 22 % over its last "
        "fifth);"
    )
    assert "stalled" not in said and "`" not in said
    rows = [{"step": i, "seconds": float(i)} for i in range(1, 9)]
    known, unknown = (progress(rows, s, 1000.0).ends for s in ({"max_steps": 100}, {}))
    assert (known, unknown) == ("stalled", "silent")
    said = sentence(NAMES, {"a": unknown}, {}, {}, False)
    assert said == "No: it ended before its last step. **a** writes no more."


LEVEL, FALLS, RISES = (Trend(kind, 1.0, 0.1, 0.0, 0.2, 20) for kind in ("level", "falls", "rises"))


@pytest.mark.parametrize(
    ("states", "trends", "head"),
    [
        ("finished finished", (LEVEL, LEVEL), "Yes: both runs are finished; "),
        ("finished running", (LEVEL, FALLS), "Yes, so far: **b** is being written, "),
        ("finished finished", (LEVEL, FALLS), "Not all: 1 of 2 still improves. Both runs are "),
        (
            "finished " * 3,
            (LEVEL, LEVEL, FALLS),
            "Mostly: 1 of 3 still improves, 2 show no clear change. All 3 runs are finished",
        ),
        ("finished " * 2 + "running", (LEVEL, FALLS, LEVEL), "Not all: 1 of 3 still improves. "),
        ("finished finished", (FALLS, FALLS), "Not yet: both still improve. Both "),
        ("finished finished", (RISES, FALLS), "No: 1 of 2 gets worse, 1 of 2 still improves. "),
        ("finished stalled", (LEVEL, LEVEL), "Not all: 1 of 2 ended before its last step. "),
        ("finished untrained", (LEVEL,), "Yes: **a** is finished, **b** was not trained; "),
        ("running", (Trend("short"),), "Not yet: it has too few records to tell. **a** is being"),
        ("running", (Trend("broken"),), "No: it has a loss that is NaN or infinite. **a** is "),
        ("finished no_record", (LEVEL,), "Not all: 1 of 2 has too few records to tell. **a** "),
    ],
)
def test_the_sentence_begins_with_yes_or_no(states, trends, head):
    where = {run: s.replace("_", " ") for run, s in zip("abc", states.split(), strict=False)}
    said = sentence(NAMES, where, dict(zip("abc", trends, strict=False)), {}, False)
    assert said.startswith(head)
