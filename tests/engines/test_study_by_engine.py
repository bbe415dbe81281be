"""A study gives the same table to the digit, whichever engine makes its runs."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from grace_geom.engines import EngineOptions
from grace_geom.engines.site import SiteOptions
from grace_geom.engines.slurm import Slurm
from grace_geom.evaluation import Measures
from grace_geom.records.schema import read_json
from grace_geom.study import Study, StudyOptions, run
from tests.engines.made import NAMES, options, patient_ray, want
from tests.stub_study import Stub, study
from tests.study.test_search import Climber

CLOCKS = ("training_seconds", "step_in_forwards", "runs")
"""What depends on the clock, and the digests of checkpoints, which hold it."""
SMALL = {"methods": ("zero-shot", "ft"), "baseline": "ft", "seeds": (0, 1)}


def test_a_study_by_jobs_of_submitit_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want("slurm")
    here, _ = study(tmp_path / "here", Stub(), **SMALL)
    here.run()
    site, stub = SiteOptions({"time": 30}, "debug", tmp_path), Stub()
    there, _ = study(tmp_path / "there", stub, **SMALL)
    there.where = options("slurm", tmp_path)
    monkeypatch.setattr(run, "make_engine", lambda *_: Slurm(site, tmp_path / "slurm"))
    there.run()
    assert sorted(stub.trained) == ["ft-s0", "ft-s1", "zero-shot-s0"]
    for file in ("table.csv", "table.md"):
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize("name", NAMES)
def test_a_study_that_trains_nothing(name: str, tmp_path: Path) -> None:
    here, _ = study(tmp_path / "here", Stub(), **SMALL)
    here.run()
    there, said = study(tmp_path / "there", Stub(), workers=2, **SMALL)
    there.where = options(name, tmp_path)
    with patient_ray() if name == "ray" else nullcontext():
        there.run()
    for file in ("table.csv", "table.md"):
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()
    again, said = study(tmp_path / "there", Stub(fails="-s"), workers=2, **SMALL)
    again.where = there.where
    again.run()
    assert any("nothing is trained or measured again" in line for line in said)


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_tiny_study_that_trains(name: str, tmp_path: Path) -> None:
    small = {"data": "shapes", "max_steps": 2, "batch_size": 8, "train_images": 64}
    measures = Measures(suites=("id", "adv"), n=30, n_attack=10)
    rows = {}
    for place in ("here", "there"):
        chosen = StudyOptions(out=tmp_path / place, device="cpu", **SMALL, **small)
        made = Study(chosen, measures)
        if place == "there":
            made.where = options(name, tmp_path)
        with patient_ray() if name == "ray" else nullcontext():
            made.run()
        found = read_json(tmp_path / place / "table.json")["rows"]
        rows[place] = [{k: v for k, v in row.items() if k not in CLOCKS} for row in found]
    assert rows["here"] == rows["there"] and len(rows["here"]) == 2


def searched(where: EngineOptions, out: Path) -> tuple[object, bytes]:
    """What a search for rates by an engine finds, one trial at a time, and the table."""
    pytest.importorskip("optuna", reason="--lr-search asha needs optuna: the extra search")
    small = {"methods": ("ft",), "baseline": "ft", "seeds": (0,), "trial_share": 0.9}
    made, _ = study(out, Climber(), lr_search="asha", lr_trials=3, workers=1, **small)
    made.where = where
    made.run()
    found = read_json(out / "table.json")["search"]["ft"]
    assert sorted(len(trial["scores"]) for trial in found["trials"]) == [1, 1, 2]
    assert found["steps"] == found["budget"] and not any(t["error"] for t in found["trials"])
    return found, (out / "table.csv").read_bytes()


def test_a_search_for_rates_by_jobs_of_submitit_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want("slurm")
    here = searched(EngineOptions(), tmp_path / "here")
    site = SiteOptions({"time": 30}, "debug", tmp_path)
    monkeypatch.setattr(run, "make_engine", lambda *_: Slurm(site, tmp_path / "slurm", 1))
    assert searched(options("slurm", tmp_path), tmp_path / "there") == here


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize("name", NAMES)
def test_a_search_for_rates_tries_the_same_with_each_engine(name: str, tmp_path: Path) -> None:
    here = searched(EngineOptions(), tmp_path / "here")
    with patient_ray() if name == "ray" else nullcontext():
        assert searched(options(name, tmp_path), tmp_path / "there") == here
