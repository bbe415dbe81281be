"""Finished runs of a study are evaluated on more, each on what it lacks."""

import dataclasses
from pathlib import Path

import pytest

from grace_geom.engines import Resources
from grace_geom.engines.local import Local
from grace_geom.errors import Interrupted, UserError
from grace_geom.study.evaluate import EvaluationsDone, EvaluationsOptions, StudyEvaluations
from tests.stub_study import MEASURES, Stub, study

MORE = dataclasses.replace(MEASURES, n_attack=50)


@pytest.fixture
def stub(monkeypatch) -> Stub:
    """Evaluates in the place of ``assess``."""
    stub = Stub()

    def assess(folder: Path, measures, source, *, fresh: bool = False):
        if stub.stops and stub.stops in folder.name:
            raise Interrupted("stopped")
        if stub.fails and stub.fails in folder.name:
            raise RuntimeError("no such luck")
        return stub.evaluate(folder, measures, source)

    monkeypatch.setattr("grace_geom.study.evaluate.assess", assess)
    return stub


def evaluated(out: Path, measures=MORE, **more) -> tuple[EvaluationsDone, list[str]]:
    said: list[str] = []
    options = EvaluationsOptions(out, **more)
    work = StudyEvaluations(options, measures, Local(), Resources(), said.append, said.append)
    return work.run(), said


def test_runs_are_evaluated_on_what_they_lack_and_a_failure_costs_itself_alone(tmp_path, stub):
    one = {"methods": ("ft",), "seeds": (0, 1)}
    study(tmp_path, Stub(), **one)[0].run()
    done, _ = evaluated(tmp_path, MEASURES)
    assert stub.evaluated == [] and set(done.states.values()) == {"current"}
    stub.fails = "ft-s1"
    done, said = evaluated(tmp_path)
    assert stub.evaluated == ["ft-s0"] and done.states["ft-s1"] == "failed"
    assert any("[2/2] ft-s1 failed: RuntimeError: no such luck" in line for line in said)
    (attacked,) = (a for a in done.records["ft-s0"].accuracies if a.suite == "adv")
    assert attacked.n == 50
    stub.fails, stub.stops = "", "ft-s1"
    with pytest.raises(Interrupted, match="0 of 1 runs are evaluated; every number is kept"):
        evaluated(tmp_path)
    stub.stops = ""
    done, _ = evaluated(tmp_path)
    assert stub.evaluated == ["ft-s0", "ft-s1"] and done.states["ft-s0"] == "current"
    assert not (tmp_path / ".evaluations").exists()


def test_a_folder_without_finished_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no finished run; `python -m grace_geom.compare"):
        evaluated(tmp_path)
    with pytest.raises(UserError, match="--workers must be at least 1"):
        evaluated(tmp_path, workers=0)
