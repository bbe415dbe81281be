"""What an analysis tells experiment trackers."""

import sys

import pytest

from grace_geom.analysis.reporting import numbers
from grace_geom.records import Measure, Part, Result
from tests.analysis.scripts import script
from tests.tracking.fake import FakeTracker, install


def test_numbers_have_their_label_and_no_name_is_a_folder_of_another():
    part = Part({"trace": Measure(2.0), "trace/visual.proj": Measure(0.5)}, n={"id": 512})
    parts = {"ft-s0": part, "at-s0": Part(not_measured="unreadable")}
    result = Result("hessian_spectrum", (), {}, parts, {"correlation": Measure(0.25)})
    assert numbers(result) == {
        "correlation": 0.25,
        "ft-s0/trace/value": 2.0,
        "ft-s0/trace/visual.proj": 0.5,
        "ft-s0/n/id": 512.0,
    }


def test_an_analysis_reports_numbers_and_figures(runs, tmp_path, monkeypatch, capsys):
    fake = install(monkeypatch, mlflow=FakeTracker())["mlflow"]
    flags = ["--n", "8", "--params", "ln_", "--out", str(tmp_path), "--data", "shapes"]
    script("parameter_drift")([str(runs / "near"), *flags, "--report-to", "mlflow"])
    result = Result.load(tmp_path / "parameter_drift.json")
    ((step, found),) = fake.named("log")
    assert (step, found) == (0, numbers(result))
    assert any(name.startswith("near/") for name in found)
    figures = [path for _, path in fake.named("figure")]
    assert tmp_path / "parameter_drift.png" in figures
    assert {path.name for path in figures} >= {"parameter_drift.png", "parameter_drift.html"}
    assert set(fake.sizes) == set(figures)
    assert all(n > 1_000_000 for path, n in fake.sizes.items() if path.suffix == ".html")
    assert (tmp_path / "parameter_drift.html").stat().st_size < 1_000_000
    assert "report_to" not in result.settings
    assert fake.named("finish") == [["finished"]]


def test_a_missing_library_is_refused_before_anything_is_measured(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SystemExit) as stop:
        flags = ["--out", str(tmp_path / "out"), "--report-to", "wandb"]
        script("parameter_drift")([str(runs / "near"), *flags])
    assert stop.value.code == 2
    assert "pip install 'grace_geom[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
