"""What a training tells experiment trackers."""

import sys

import pytest

from grace_geom.errors import Interrupted, UserError
from grace_geom.tracking import asked
from grace_geom.training import train_run
from tests.small_run import lines, small_config, small_run
from tests.tracking.fake import FakeTracker, install


@pytest.mark.parametrize(
    ("flag", "values"),
    [("--tensorboard", {"tensorboard": True}), ("--report-to wandb", {"report_to": ("wandb",)})],
)
def test_a_missing_library_is_refused_before_anything_is_built(tmp_path, monkeypatch, flag, values):
    name = (*values.get("report_to", ()), "tensorboard")[0]
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("grace_geom.training.data.resolve", lambda *a, **k: pytest.fail("built"))
    with pytest.raises(UserError, match=rf"{flag}: .* pip install 'grace_geom\[{name}\]'"):
        small_run(tmp_path, **values)
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"wanb.*wandb"):
        small_config(tmp_path, report_to=("wanb",))


def test_the_old_flag_is_one_more_tracker():
    assert asked((), False) == ()
    assert asked((), True) == asked(("tensorboard",), True) == ("tensorboard",)
    assert asked(("wandb",), True) == ("wandb", "tensorboard")


def test_a_run_reports_its_metrics_and_a_resumed_one_goes_on(tmp_path, monkeypatch):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    with pytest.raises(Interrupted):
        small_run(tmp_path, report_to=("wandb",), stop_after=7)
    assert fake.named("finish") == [["stopped"]]
    small_run(tmp_path, report_to=("wandb",), resume=True)
    assert fake.named("finish") == [["stopped"], ["finished"]]
    assert [(home.done, dict(home.known)) for home in fake.homes] == [
        (None, {}),
        (7, {"id": "run-1"}),
    ]
    settings, name = fake.named("start")[0]
    assert (settings["method"], settings["batch_size"], name) == ("lora", 8, "run")
    written = [
        [row["step"], {key: float(x) for key, x in row.items() if key != "step"}]
        for row in lines(tmp_path / "run" / "metrics.jsonl")
    ]
    assert fake.named("log") == written
    assert {"loss", "val_acc"} <= {key for _, numbers in written for key in numbers}


@pytest.mark.parametrize("call", ["start", "log"])
def test_a_failing_tracker_costs_a_line_and_not_the_training(tmp_path, monkeypatch, capsys, call):
    install(monkeypatch, mlflow=FakeTracker(fails=call))
    out = train_run(small_config(tmp_path, report_to=("mlflow",), epochs=1))
    assert (out / "ckpt.pt").is_file()
    assert capsys.readouterr().err.count("warning: mlflow: no route to") == 1


def test_a_run_that_fails_before_its_first_checkpoint_leaves_nothing(tmp_path, monkeypatch):
    def breaks(*_) -> None:
        raise MemoryError

    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    monkeypatch.setattr("grace_geom.training.run.fit", breaks)
    with pytest.raises(MemoryError):
        small_run(tmp_path, report_to=("wandb",))
    assert fake.named("finish") == [["failed"]]
    assert not [path for path in tmp_path.glob("run/*") if path.name != ".lock"]


def test_no_process_of_a_stopped_job_leaves_before_the_trackers_are_done(tmp_path, monkeypatch):
    """Once one has left, torchrun ends the others: the first one in the middle of its report."""
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    monkeypatch.setattr("grace_geom.distributed.wait_for_all", lambda: fake.calls.append(("wait",)))
    with pytest.raises(Interrupted):
        small_run(tmp_path, report_to=("wandb",), stop_after=2)
    assert fake.calls[-2:] == [("finish", "stopped"), ("wait",)]
