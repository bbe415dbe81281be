"""Means over seeds: the same numbers as the study's tables, and only of runs that differ in nothing
but their seed.
"""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from app import seeds, store
from app.charts import questions
from grace_geom.records.statistics import mean_interval
from grace_geom.study import Row
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
        replace(evaluation(folder.name, clean, clean - 50), seed=seed).save(folder / "eval.json")
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
    mean, low, high = mean_interval([c / 100 for c in CLEAN])
    a = questions(means(three)[0]["study/at"])[("ood", "v2")]
    assert (a.accuracy, a.ci_low, a.ci_high) == pytest.approx((mean, low, high))


def test_runs_with_another_setting_stay_apart_and_it_is_said(three):
    path = three / "study/at-s1/config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"lr": 0.5}))
    found, remarks = means(three)
    assert "study/at" not in found and len(found) == 4
    assert remarks == ["study/at: other lr"]


def test_runs_on_other_images_stay_apart_and_it_is_said(three):
    evaluation("at-s1", 80, 30, n=200).save(three / "study/at-s1/eval.json")
    found, remarks = means(three)
    assert "study/at" not in found
    assert "other images" in remarks[0]


def test_a_seed_that_is_not_evaluated_yet_stays_a_run(three):
    write_run(three, "study/at-s3", None)
    assert list(means(three)[0]) == ["study/at", "study/at-s3", "study/ft-s0"]
