"""Trackers as one: who is told what, and what a tracker's trouble costs."""

import sys
import time
from pathlib import Path

import pytest

from grace_geom.errors import UserError
from grace_geom.tracking import TRACKERS, Trackers, check_installed, check_names, trackers
from tests.tracking.fake import FakeTracker, install


@pytest.fixture
def said() -> list[str]:
    return []


def test_every_tracker_is_told_everything_in_order(tmp_path, monkeypatch, said):
    fakes = install(monkeypatch, wandb=FakeTracker(), mlflow=FakeTracker())
    some = Trackers(["wandb", "mlflow"], tmp_path, say=said.append)
    some.start({"data": Path("shapes"), "sizes": (1, 2)}, "at-s0", done=3)
    some.log(4, {"step": 4, "loss": 0.5})
    some.figure("curve", tmp_path / "curve.png")
    some.finish("stopped")
    some.finish("finished")  # a second end says nothing
    for fake in fakes.values():
        assert fake.calls == [
            ("import",),
            ("start", {"data": "shapes", "sizes": [1, 2]}, "at-s0"),
            ("log", 4, {"loss": 0.5}),
            ("figure", "curve", tmp_path / "curve.png"),
            ("finish", "stopped"),
        ]
        assert fake.homes[0].done == 3
    assert not said


@pytest.mark.parametrize("call", ["import", "start", "log", "figure", "finish"])
def test_a_failure_is_one_line_and_then_silence(tmp_path, monkeypatch, said, call):
    fakes = install(monkeypatch, wandb=FakeTracker(fails=call), mlflow=FakeTracker())
    some = Trackers(["wandb", "mlflow"], tmp_path, say=said.append)
    some.start({}, "run")
    for step in range(3):
        some.log(step, {"loss": 0.5})
        some.figure("curve", tmp_path / "curve.png")
    some.finish("finished")
    (line,) = said
    assert line.startswith(f"warning: wandb: no route to {call}; ")
    assert len(fakes["wandb"].named(call)) == 1
    # a run that began is closed all the same
    assert len(fakes["wandb"].named("finish")) == (call not in ("import", "start"))
    assert len(fakes["mlflow"].named("log")) == 3


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_a_tracker_that_hangs_holds_nothing_up(tmp_path, monkeypatch, said, call):
    monkeypatch.setattr(trackers, "PATIENCE", 0.05)
    fake = install(monkeypatch, wandb=FakeTracker(hangs=call))["wandb"]
    began = time.perf_counter()
    some = Trackers(["wandb"], tmp_path, say=said.append)
    some.start({}, "run")
    some.log(1, {"loss": 0.5})
    some.finish("finished")
    assert time.perf_counter() - began < 5
    fake.release.set()
    (line,) = said
    assert "wandb: no answer for 0.05 seconds" in line


def test_the_same_folder_and_key_go_on_with_the_same_run(tmp_path, monkeypatch, said):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    for key in ("", "", "eval", ""):
        some = Trackers(["wandb"], tmp_path, key, say=said.append)
        some.start({}, "run")
        some.finish("finished")
    assert [home.known.get("id") for home in fake.homes] == [None, "run-1", None, "run-1"]


@pytest.mark.parametrize("text", ["{", "[1]", '{"wandb": 1}', "\udcff"])
def test_damaged_ids_are_told_of_and_begin_a_new_run(tmp_path, monkeypatch, said, text):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    some = Trackers(["wandb"], tmp_path, say=said.append)
    some.file.parent.mkdir()
    some.file.write_bytes(text.encode("utf-8", "surrogateescape"))
    some.start({}, "run")
    some.finish("finished")
    (line,) = said
    assert str(some.file) in line
    assert not fake.homes[0].known


def test_a_folder_that_cannot_be_written_costs_a_line(tmp_path, monkeypatch, said):
    install(monkeypatch, wandb=FakeTracker())
    (tmp_path / "file").write_text("")
    some = Trackers(["wandb"], tmp_path / "file", say=said.append)
    some.start({}, "run")
    some.finish("finished")
    assert said and all("file" in line for line in said)


def test_without_trackers_nothing_is_written(tmp_path, said):
    some = Trackers([], tmp_path, say=said.append)
    some.start({}, "run")
    some.log(1, {"loss": 0.5})
    some.finish("finished")
    assert not list(tmp_path.iterdir())


def test_names_that_are_none_and_names_twice_are_refused():
    with pytest.raises(UserError, match=r"--report-to: .*wanb.*wandb"):
        check_names(["wanb"])
    with pytest.raises(UserError, match="names mlflow twice"):
        check_names(["mlflow", "wandb", "mlflow"])


@pytest.mark.parametrize("name", TRACKERS)
def test_a_library_that_is_not_installed_is_refused_with_its_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"--report-to {name}: .*'grace_geom\[{name}\]'"):
        check_installed([name])
