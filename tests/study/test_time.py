"""What a study will take: timed before it begins, and followed while it runs."""

import re

import pytest

from grace_geom.config import make_config
from grace_geom.data import resolve
from grace_geom.engines import EngineOptions
from grace_geom.evaluation import Measures
from grace_geom.methods.adversary import Adversary
from grace_geom.records.schema import read_json
from grace_geom.study import StudyOptions
from grace_geom.study.estimate import Timing, conditions, passes_of, probe
from grace_geom.study.execute import devices_of, last_record
from grace_geom.study.options import jobs_of
from grace_geom.study.state import StudyState
from grace_geom.study.watch import Expected, Watch
from tests.screen import Terminal
from tests.stub_study import Stub, study
from tests.toys import register_toy


def test_time_left_follows_what_the_runs_write(tmp_path):
    a, b = jobs_of(StudyOptions(methods=("ft", "grace"), out=tmp_path), {})
    watch = Watch(
        [a, b], {a.name: Expected(20, 10, 2, 3), b.name: Expected(20, 30, 2, 3)}, workers=1
    )
    assert watch.left() == pytest.approx(44, abs=0.5)
    a.folder.mkdir()
    (a.folder / "config.yaml").write_text("method: ft")
    (a.folder / "metrics.jsonl").write_text('{"step": 5, "seconds": 1}\n{"step": 10, "sec')
    assert last_record(a.folder) == {"step": 5, "seconds": 1} and "ft-s0: step 5/20" in watch.line()
    watch.finish(a)
    assert watch.line().startswith("[1/2] starting")


def test_a_terminal_shows_the_study_in_a_row_and_each_running_job_in_one(tmp_path, monkeypatch):
    terminal = Terminal.instead_of_stderr(monkeypatch, 100)
    a, b = jobs_of(StudyOptions(methods=("ft", "grace"), out=tmp_path), {})
    expected = {a.name: Expected(20, 10, 2, 3), b.name: Expected(20, 30, 2, 3)}
    with Watch([a, b], expected, workers=2) as watch:
        assert terminal.rows()[1] == "  starting"
        a.folder.mkdir()
        (a.folder / "config.yaml").write_text("method: ft")
        (a.folder / "metrics.jsonl").write_text('{"step": 5, "seconds": 1}\n')
        watch._look()
        terminal.redraw()
        whole, job = terminal.rows()
        assert re.fullmatch(r"\[0/2\] runs ━+─+  .* left  .* device hours left", whole)
        assert re.fullmatch(r"  ft-s0: training ━+─+ 5/20", job)
        watch.finish(a)
        terminal.redraw()
        assert [row[:10] for row in terminal.rows()] == ["[1/2] runs", "  starting"]
        watch.finish(b)
        assert terminal.rows() == []


def test_time_left_moves_from_the_plan_to_the_pace_of_the_runs(tmp_path):
    jobs = jobs_of(StudyOptions(methods=("ft", "grace"), seeds=tuple(range(10)), out=tmp_path), {})
    watch = Watch(jobs, {job.name: Expected(20, 8, 2, 3) for job in jobs}, workers=2)
    watch._began -= 40  # the first of 20 jobs of 10 s took 40 s, where the plan says 5 s
    watch.finish(jobs[0])
    assert watch.left() == pytest.approx(
        190 * (20 / 2 + 40) / (20 + 10), abs=0.5
    )  # 5:17 min, not 12:40
    watch._began -= 360  # ... and so did nine more: now the pace counts
    for job in jobs[1:10]:
        watch.finish(job)
    assert watch.left() == pytest.approx(100 * (10 + 400) / (20 + 100), abs=0.5)


@pytest.mark.parametrize(("workers", "devices"), [(1, 1), (2, 8), (8, 1)])
def test_the_cost_left_is_that_of_every_run_whoever_makes_it(tmp_path, workers, devices):
    jobs = jobs_of(StudyOptions(methods=("ft", "grace"), out=tmp_path), {})
    expected = {job.name: Expected(20, 7000, 200, 3) for job in jobs}
    watch = Watch(jobs, expected, workers, devices)
    assert watch.cost() == f"{device_words(4 * devices)}"  # two runs of two hours
    assert watch.line().endswith(f" left  {device_words(4 * devices)} left")
    watch.finish(jobs[0])
    watch._began -= 7200 * 2 / min(2, workers)  # it took as long as both should
    assert watch.cost() == device_words(2 * devices * (0.1 * 4 + 4) / (0.1 * 4 + 2))


def device_words(hours: float) -> str:
    return f"{hours:.{0 if hours >= 9.95 else 1}f} device hours"


@pytest.mark.parametrize(
    ("flags", "gpus", "devices"),
    [
        ({}, 0, 1.0),
        ({}, 8, 1.0),
        ({"gpus_per_run": 4.0}, 8, 4.0),
        ({"engine": "ray", "gpus_per_run": 0.5}, 0, 0.5),
        ({"engine": "ray"}, 2, 1.0),
    ],
)
def test_a_run_costs_the_devices_that_it_holds(monkeypatch, flags, gpus, devices):
    monkeypatch.setattr("grace_geom.study.execute.spread_over", lambda device: ("0",) * gpus)
    assert devices_of(StudyOptions(workers=4), EngineOptions(**flags)) == devices


def test_runs_that_share_gpus_cost_their_part(monkeypatch):
    monkeypatch.setattr("grace_geom.study.execute.spread_over", lambda device: ("0", "1"))
    assert devices_of(StudyOptions(workers=8), EngineOptions()) == 0.25


def test_an_attack_is_counted_in_forwards():
    spec = Measures(attack="apgd", steps=10).attack_spec()
    assert passes_of(spec, classes=5) == pytest.approx(2.2 * 10 * (1 + 4))
    rand = Measures(attack="autoattack-rand", steps=10).attack_spec()
    assert passes_of(rand, classes=5) == pytest.approx(2 * 20 * 2.2 * 10)
    cw = Measures(attack="cw", norm="l2", eps=0.5, steps=10).attack_spec()
    assert passes_of(cw, classes=5) == pytest.approx(9 * 2.2 * 10)
    assert passes_of(Measures(attack="square", queries=70).attack_spec(), classes=5) == 70
    often = Measures(attack="pgd", steps=10, restarts=3).attack_spec()
    assert passes_of(often, classes=5) == pytest.approx(3 * 2.2 * 10)
    fab = Measures(attack="fab", steps=10).attack_spec()
    assert passes_of(fab, classes=5) == pytest.approx(10 * (2 + 1.2 * 5))
    fab_t = Measures(attack="fab-t", steps=10).attack_spec()  # a gradient a target
    assert passes_of(fab_t, classes=5) == pytest.approx(4 * 10 * (2 + 1.2))


def test_timing_a_method_trains_nothing_and_knows_the_length_of_its_run(
    tmp_path, toy_data, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    values = {
        "data": toy_data,
        "model": register_toy(),
        "pretrained": "random",
        "batch_size": 16,
        "epochs": 2,
    }
    found = probe(make_config({"method": "ft"} | values))
    assert found.steps == 2 * (len(resolve(toy_data, "train")) // 16)
    assert (
        found.step > 0
        and found.forward > 0
        and found.seconds == found.setup + found.steps * found.step
    )
    assert probe(make_config({"method": "zero-shot"} | values)).steps == 0
    fitted = probe(make_config({"method": "tpgm", "radius_steps": 10**6} | values))
    passes = (
        3 * 10**6 * min(16, len(resolve(toy_data, "val"))) / 16
    )  # of a batch, a forward and a backward each
    assert fitted.setup == pytest.approx(passes * fitted.forward, rel=1e-3)
    assert not (tmp_path / "runs").exists()


def test_a_method_whose_attack_grows_is_timed_where_it_costs_its_mean(toy_data, monkeypatch):
    seen, reach = [], Adversary.reach
    monkeypatch.setattr(
        Adversary,
        "reach",
        lambda self, run: seen.append(reach(self, run).steps) or reach(self, run),
    )
    values = {
        "data": toy_data,
        "model": register_toy(),
        "pretrained": "random",
        "batch_size": 4,
        "max_steps": 100,
    }
    probe(
        make_config(
            {"method": "at", "attack_steps": 20, "steps_warmup": 1.0, "epochs": None} | values
        )
    )
    assert {6, 16} <= set(seen) and 1 in seen  # steps 25 and 75 of 100; step 0 is not counted


def test_an_attack_that_images_leave_early_is_timed_as_if_none_did(toy_data, monkeypatch):
    monkeypatch.setattr(
        "grace_geom.methods.adversary.pgd_until", None
    )  # whether they do depends on what is trained
    values = {
        "data": toy_data,
        "model": register_toy(),
        "pretrained": "random",
        "batch_size": 4,
        "max_steps": 8,
    }
    config = make_config(
        {"method": "at", "attack_stop": 0.7, "attack_steps": 1, "epochs": None} | values
    )
    assert probe(config).step > 0 and config.build_method().attack_stop == 0.7


def test_a_method_is_timed_again_where_its_cost_may_be_another(tmp_path):
    asked: list[int] = []

    def told(config):
        asked.append(config.max_steps)
        return Timing(config.max_steps, 0.1, 0.05, 0.01, 1e-4)

    def steps_of(**more):
        one, _ = study(tmp_path, Stub(), **{"methods": ("ft",), "max_steps": 9} | more)
        one.state, one.timed = StudyState.load(tmp_path / "study.json"), told
        one._time(jobs_of(one.options, {}, {"ft": 1e-3} if more else None))
        return one._rates().steps

    assert steps_of() == {"ft": 9} and asked == [9]
    assert steps_of(seeds=(3,)) == {"ft": 9} and asked == [9], "neither seeds nor rates cost more"
    assert steps_of(max_steps=30) == {"ft": 30} and asked == [9, 30]
    steps_of(max_steps=30, batch_size=8)
    steps_of(max_steps=30, batch_size=8, workers=2)
    assert asked == [9, 30, 30, 30]
    (job,) = jobs_of(StudyOptions(methods=("ft",), seeds=(0,), out=tmp_path), {})
    places = [EngineOptions(), EngineOptions("ray"), EngineOptions("ray", gpus_per_run=0.5)]
    assert len({conditions(job.config, where, 1) for where in places}) == 3
    assert len({conditions(job.config, places[1], n) for n in (1, 8)}) == 1, "on other machines"
    assert len({conditions(job.config, places[0], n) for n in (1, 8)}) == 2
    assert steps_of(methods=("lora",), max_steps=5) == {"lora": 5}, "a row that left does not count"
    assert read_json(tmp_path / "study.json")["probes"].keys() == {"ft", "lora"}


def test_a_time_is_of_the_device_that_auto_picks_and_of_the_sites_options(tmp_path, monkeypatch):
    (job,) = jobs_of(StudyOptions(methods=("ft",), seeds=(0,), out=tmp_path), {})
    site = tmp_path / "site.yaml"
    slurm = EngineOptions("slurm", slurm_options=site)

    def now(where=EngineOptions()):  # noqa: B008
        return conditions(job.config, where, 1)

    site.write_text("time: 240\npartition: a100\n")
    here, there = now(), now(slurm)
    assert (here, there) == (now(), now(slurm)) and job.config.device == "auto"
    monkeypatch.setattr("grace_geom.study.estimate.device_name", lambda device: "NVIDIA H200")
    assert now() != here and now(slurm) == there, "which machine gives the command does not count"
    site.write_text("time: 240\npartition: h200\n")
    assert now(slurm) != there


def test_a_method_that_cannot_be_timed_now_keeps_no_old_time(tmp_path):
    one, said = study(tmp_path, Stub(), methods=("ft",), max_steps=9)
    one.state.probes["ft"] = Timing(4000, 0.1, 0.05, 0.01, 1e-4)  # of an earlier version: as what?

    def fails(config):
        raise RuntimeError("no such luck")

    one.timed = fails
    one._time(jobs_of(one.options, {}))
    assert one.state.probes == {} and "ft cannot be timed: RuntimeError: no such luck" in said
