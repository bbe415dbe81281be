"""Means over seeds: the same numbers as the study's tables, and only of runs that differ in nothing
but their seed.
"""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from app import seeds, store
from grace_geom.records import questions
from grace_geom.study import Row, report
from tests.app.conftest import evaluation, write_run

CLEAN = (80, 84, 91)


@pytest.fixture
def three(tmp_path):
    """Three seeds of one method beside a run of another."""
    for seed, clean in enumerate(CLEAN):
        folder = write_run(tmp_path, f"study/at-s{seed}", None)
        plain = yaml.safe_load((folder / "config.yaml").read_text()) | {
            "seed": seed,
            "out": str(folder),
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(plain))
        record = evaluation(folder.name, clean, clean - 50)
        replace(record, seed=seed, checkpoint=f"{seed:064}").save(folder / "eval.json")
    write_run(tmp_path, "study/ft-s0", 90, 10)
    return tmp_path


def means(root):
    found, remarks = seeds.grouped(list(store.entries(root).values()))
    return {e.id: e for e in found}, remarks


def test_three_seeds_are_one_entry_with_the_interval_of_the_study(three):
    found, remarks = means(three)
    assert (list(found), remarks) == (["study/at", "study/ft-s0"], [])
    records = {e.seed: e.evaluation for e in found["study/at"].members}
    for column in ("ID", "Adv", "HM"):
        ours, theirs = found["study/at"].estimates[column], Row("at", records).estimate(column)
        assert (ours.value, ours.low, ours.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high)
        )
    assert found["study/at"].estimates["ID"].value == pytest.approx(np.mean(CLEAN) / 100)


def test_each_data_set_has_a_mean_and_its_interval(three):
    found = means(three)[0]["study/at"]
    row = Row("at", {e.seed: e.evaluation for e in found.members})
    theirs = report.set_estimate(row, "ood", "v2")
    a = questions(found.accuracies)[("ood", "v2")]
    assert a.accuracy == pytest.approx(np.mean(CLEAN) / 100)
    assert (a.ci_low, a.ci_high) == pytest.approx((theirs.low, theirs.high))
    # Student's t over seeds alone is [71.1, 98.8]
    assert 0.65 < a.ci_low < 0.711 and 0.93 < a.ci_high < 0.988


def test_runs_with_another_setting_stay_apart_and_it_is_said(three):
    path = three / "study/at-s1/config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"lr": 0.5}))
    found, remarks = means(three)
    assert "study/at" not in found and len(found) == 4
    assert remarks == ["study/at: other lr"]


def test_runs_on_other_images_stay_apart_and_it_is_said(three):
    other = replace(evaluation("at-s1", 80, 30, n=200), seed=1, checkpoint="1" * 64)
    other.save(three / "study/at-s1/eval.json")
    found, remarks = means(three)
    assert "study/at" not in found
    assert "other images" in remarks[0]


def test_a_seed_that_is_not_evaluated_yet_stays_a_run(three):
    write_run(three, "study/at-s3", None)
    assert list(means(three)[0]) == ["study/at", "study/at-s3", "study/ft-s0"]


def test_copies_of_one_training_count_once_and_it_is_said(three):
    first = three / "study/at-s0/eval.json"
    (three / "study/at-s1/eval.json").write_text(first.read_text())
    found, remarks = means(three)
    assert [e.seed for e in found["study/at"].members] == [0, 2] and "study/at-s1" in found
    assert remarks == ["study/at: at-s0 and at-s1 have the same checkpoint: counted once"]
