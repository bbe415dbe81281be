"""What a study tells experiment trackers: each run, and its own table."""

import json

import pytest

from grace_geom.compare import main
from grace_geom.config import stored_settings
from grace_geom.errors import UserError
from grace_geom.evaluation import Measures
from grace_geom.study import StudyOptions
from grace_geom.study.effective import MEAN
from grace_geom.study.options import jobs_of
from grace_geom.study.reporting import table_numbers
from grace_geom.study.rows import difference
from grace_geom.study.trials import trials_of
from grace_geom.study.written import settings_of
from tests.stub_study import Stub, rows_by_label, study
from tests.tracking.fake import FakeTracker, install


def test_the_table_and_each_evaluation_are_reported(tmp_path, monkeypatch):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    out = tmp_path / "study"
    methods = ("zero-shot", "ft", "lora", "grace")
    one, _ = study(out, Stub(), methods=methods, seeds=(0,), report_to=("wandb",))
    rows = one.run()
    names = [name for _, name in fake.named("start")]
    assert names == [*(f"{m}-s0/eval" for m in methods), "study/study"]
    (step, found), by_label = fake.named("log")[-1], rows_by_label(rows)
    assert step == 0 and found == table_numbers(rows, one.baseline(rows))
    hm = by_label["ft"].estimate("HM")
    assert [found[f"{what}/ft/HM"] for what in ("mean", "low", "high")] == [
        hm.value,
        hm.low,
        hm.high,
    ]
    gap = difference(by_label["ft"], by_label["grace"], "HM")
    assert (found["difference/ft/HM"], found["p/ft/HM"]) == (gap.value, gap.p)
    assert "difference/grace/HM" not in found
    assert f"effective-robustness/grace/{MEAN}" in found
    assert [figure for figure, _ in fake.named("figure")] == ["tradeoff", "effective_robustness"]
    assert fake.homes[-1].folder == out and fake.named("finish")[-1] == ["finished"]
    study(out, Stub(), methods=methods, seeds=(0,), report_to=("wandb",))[0].run()
    assert [n for _, n in fake.named("start")][5:] == ["study/study"]  # nothing was run again
    assert fake.homes[-1].known["id"] == "run-5"


def test_a_figure_of_an_earlier_study_is_not_this_ones(tmp_path, monkeypatch):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    figures = [tmp_path / "tradeoff.png", tmp_path / "effective_robustness.png"]
    for path in figures:
        path.write_bytes(b"of four methods")
    one = {"methods": ("ft",), "seeds": (0,), "baseline": "ft"}
    study(tmp_path, Stub(), **one, report_to=("wandb",))[0].run()
    assert not fake.named("figure") and not any(path.exists() for path in figures)


def test_the_radii_in_use_are_told(tmp_path, monkeypatch):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    one = {"methods": ("ft",), "seeds": (0,), "baseline": "ft"}
    study(tmp_path, Stub(), **one, report_to=("wandb",))[0].run()
    written = json.loads((tmp_path / "table.json").read_text())
    for told in (written, fake.named("start")[-1][0]):
        assert told["measures"]["radii"] == [4 / 255]
    assert settings_of(StudyOptions(), Measures(attack="robustvlm"))["measures"]["radii"] == [
        2 / 255,
        4 / 255,
    ]


def test_runs_report_their_training_and_trials_do_not():
    options = StudyOptions(methods=("ft",), lr_grid="1e-4", report_to=("mlflow",))
    (job,) = jobs_of(options, {})
    assert job.config.report_to == ("mlflow",)
    (trial,) = trials_of(options, {"ft": 10})["ft"].values()
    assert trial.report_to == ()


def test_a_study_goes_on_with_other_trackers(tmp_path, monkeypatch):
    install(monkeypatch, wandb=FakeTracker())
    study(tmp_path, Stub(), methods=("ft",), seeds=(0,), baseline="ft")[0].run()
    again, stub = Stub(), {"methods": ("ft",), "seeds": (0,), "baseline": "ft"}
    study(tmp_path, again, **stub, report_to=("wandb",))[0].run()
    assert not again.trained and stored_settings(tmp_path / "ft-s0")["report_to"] == []


def test_trackers_are_checked_before_anything_is_trained(tmp_path, capsys):
    with pytest.raises(UserError, match="names wandb twice"):
        StudyOptions(report_to=("wandb", "wandb"))
    with pytest.raises(SystemExit) as stop:
        main(["--methods", "ft", "--out", str(tmp_path / "s"), "--report-to", "wanb"])
    assert stop.value.code == 2 and "wandb" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
