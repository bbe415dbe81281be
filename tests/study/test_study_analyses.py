"""Analyses of a finished study as tasks: each part once, failures alone, one result of all."""

import json
from pathlib import Path

import pytest

from grace_geom.analysis import named
from grace_geom.checkpoint import checkpoint_of, save_checkpoint
from grace_geom.data import resolve
from grace_geom.engines import Resources
from grace_geom.engines.local import Local
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import record_file
from grace_geom.files import sha256
from grace_geom.models import ModelSpec, build
from grace_geom.records import EvalRecord, Result
from grace_geom.study.__main__ import main
from grace_geom.study.analyse import AnalysesOptions, StudyAnalyses
from tests.analysis.conftest import blank
from tests.toys import register_toy

FAST = {
    "analyses": ("parameter_drift",),
    "n": 10,
    "set": {"parameter_drift.params": "ln_|proj$"},
    "device": "cpu",
}
RUNS = ["ft-s0", "ft-s1"]
LUCK = "no such luck"


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Pictures of one pixel: drawing takes longer than measuring a toy."""
    monkeypatch.setattr("grace_geom.plots.export.save", blank)


@pytest.fixture
def finished(tmp_path) -> Path:
    """Two finished runs, and one that was never evaluated."""
    shapes = resolve("shapes", "test")
    for i, name in enumerate((*RUNS, "broken-s0")):
        model = build(
            ModelSpec(register_toy(), "random", 0), shapes.class_names, shapes.templates[:1]
        )
        weights = {n: w + 0.01 * i for n, w in model.weights().items()}
        file = tmp_path / name / "ckpt.pt"
        file.parent.mkdir()
        config = {"data": "shapes", "method": name[:-3], "seed": 0}
        save_checkpoint(file, checkpoint_of(model, weights, config=config))
        if name != "broken-s0":
            EvalRecord(sha256(file), name, name, 0, {}, ()).save(record_file(file))
    return tmp_path


def analysed(study: Path, **more) -> tuple[StudyAnalyses, list[str]]:
    said: list[str] = []
    options = AnalysesOptions(study, **FAST | more)
    work = StudyAnalyses(options, Local(), Resources(), said.append, said.append)
    work.run()
    return work, said


@pytest.fixture
def measured(monkeypatch) -> list[tuple[str, str]]:
    """Which analysis measured which run."""
    calls: list[tuple[str, str]] = []
    usual = named._measure

    def counting(name):
        def measure(subject, options, state):
            calls.append((name, subject.label))
            return usual(name)(subject, options, state)

        return measure

    monkeypatch.setattr(named, "_measure", counting)
    return calls


def test_every_run_is_measured_once_and_stands_in_one_result(finished, measured):
    quick = {"representation_drift.ood": "near=shapes", "representation_drift.attack_steps": "1"}
    two = {"analyses": ("parameter_drift", "representation_drift"), "set": FAST["set"] | quick}
    work, said = analysed(finished, **two)
    assert sorted(measured) == sorted((name, run) for name in two["analyses"] for run in RUNS)
    assert "broken-s0 is not finished: left out" in said
    for name in two["analyses"]:
        result = Result.load(finished / "analyses" / f"{name}.json")
        assert list(result.parts) == RUNS and result.settings["n"] == 10
        assert not any(part.not_measured for part in result.parts.values())
        assert "ft-s1" in work.done.texts[name]
    measured.clear()
    work, said = analysed(finished, **two)
    assert measured == [] and set(work.done.states.values()) == {"current"}
    assert any("every analysis is current" in line for line in said)
    assert work.done.texts == {} and len(work.done.results) == 2
    assert work.table().text(200).count("current") >= 4


@pytest.mark.parametrize("change", ["settings", "checkpoint", "result", "run removed"])
def test_what_is_not_current_is_measured_again_and_nothing_else(finished, measured, change):
    analysed(finished)
    measured.clear()
    more = {}
    path = finished / "analyses" / "parameter_drift.json"
    if change == "settings":
        more["set"] = {"parameter_drift.params": "ln_"}
    elif change == "checkpoint":
        file = finished / "ft-s1" / "ckpt.pt"
        file.write_bytes((finished / "broken-s0" / "ckpt.pt").read_bytes())
        EvalRecord(sha256(file), "ft-s1", "ft", 1, {}, ()).save(record_file(file))
    elif change == "result":
        path.unlink()
    else:
        (finished / "ft-s1" / "eval.json").unlink()
    work, _ = analysed(finished, **more)
    runs = {"settings": RUNS, "checkpoint": ["ft-s1"]}
    assert [run for _, run in measured] == runs.get(change, [])
    kept = Result.load(path)
    assert list(kept.parts) == RUNS[: 1 if "removed" in change else 2]
    assert "parameter_drift" in work.done.texts


@pytest.fixture
def failing(monkeypatch) -> dict[str, str]:
    """Runs that cannot be measured, and why."""
    runs: dict[str, str] = {}
    usual = named._measure

    def measuring(name):
        def measure(subject, options, state):
            if subject.label in runs:
                raise RuntimeError(runs[subject.label])
            return usual(name)(subject, options, state)

        return measure

    monkeypatch.setattr(named, "_measure", measuring)
    return runs


def test_a_part_that_fails_costs_itself_alone(finished, failing, monkeypatch):
    failing["ft-s1"] = LUCK
    work, said = analysed(finished)
    failed = {key for key, state in work.done.states.items() if state == "failed"}
    assert failed == {("parameter_drift", "ft-s1")}
    assert any("parameter_drift of ft-s1 failed: RuntimeError: no such luck" in x for x in said)
    result = Result.load(finished / "analyses" / "parameter_drift.json")
    assert measured_in(result) == ["ft-s0"]
    assert result.parts["ft-s1"].not_measured == "RuntimeError: no such luck"
    joined = []
    monkeypatch.setattr("grace_geom.study.analyse.join", lambda *args: joined.append(args))
    work, _ = analysed(finished)
    assert joined == [], "a part that fails again changes no result"
    assert list(work.done.results) == ["parameter_drift"]


def test_a_part_that_fails_again_for_another_reason_tells_the_new_one(finished, failing):
    path = finished / "analyses" / "parameter_drift.json"
    for why in (LUCK, "out of memory"):
        failing["ft-s1"] = why
        work, said = analysed(finished)
        result = Result.load(path)
        assert measured_in(result) == ["ft-s0"]
        assert result.parts["ft-s1"].not_measured == f"RuntimeError: {why}"
        assert why in work.done.texts["parameter_drift"]
        assert not any("an earlier command's result" in line for line in said)


def measured_in(result: Result) -> list[str]:
    return [label for label, part in result.parts.items() if not part.not_measured]


@pytest.mark.parametrize("change", ["checkpoint", "settings", "fresh"])
def test_a_part_that_fails_leaves_no_old_number_in_its_place(finished, failing, change):
    analysed(finished)
    path = finished / "analyses" / "parameter_drift.json"
    before, more = Result.load(path), {}
    if change == "checkpoint":  # the other run is current: nothing new is measured
        file = finished / "ft-s1" / "ckpt.pt"
        file.write_bytes((finished / "broken-s0" / "ckpt.pt").read_bytes())
        EvalRecord(sha256(file), "ft-s1", "ft", 1, {}, ()).save(record_file(file))
    elif change == "settings":
        more["set"] = {"parameter_drift.params": "ln_"}
    else:
        more["fresh"] = True
    failing["ft-s1"] = LUCK
    work, _ = analysed(finished, **more)
    result = Result.load(path)
    assert list(result.parts) == RUNS and measured_in(result) == ["ft-s0"]
    assert result.parts["ft-s1"].values == {} != before.parts["ft-s1"].values
    assert [record["label"] for record in result.checkpoints] == ["ft-s0"]
    assert "no such luck" in work.done.texts["parameter_drift"]
    failing.clear()
    analysed(finished, **more)
    assert measured_in(Result.load(path)) == RUNS


@pytest.mark.parametrize("what", ["every part", "the joining"])
def test_an_old_result_is_left_and_not_told_as_the_answer(finished, failing, monkeypatch, what):
    analysed(finished)
    path = finished / "analyses" / "parameter_drift.json"
    before = path.read_bytes()

    def torn(*args):
        raise RuntimeError("torn")

    if what == "every part":
        failing.update(dict.fromkeys(RUNS, LUCK))
    else:
        monkeypatch.setattr("grace_geom.study.analyse.join", torn)
    work, said = analysed(finished, set={"parameter_drift.params": "ln_"})
    assert path.read_bytes() == before and work.done.results == {}
    assert f"warning: {path} is as it was before: an earlier command's result" in said


def test_what_was_measured_before_a_stop_is_kept(finished, measured, monkeypatch):
    usual, calls = named.found_part, []

    def stopped(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        return usual(*args)

    monkeypatch.setattr(named, "found_part", stopped)
    with pytest.raises(Interrupted, match="1 of 2 parts are over, and what was measured is kept"):
        analysed(finished)
    monkeypatch.setattr(named, "found_part", usual)
    analysed(finished)
    assert len(measured) == len(set(measured)) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"analyses": ("sharpnes",)}, "--analyses: 'sharpnes' is not known; did you mean"),
        ({"set": {"sharpnes.n": "3"}}, "--set 'sharpnes' is not known"),
        ({"set": {"parameter_drift.out": "x"}}, "--set takes ANALYSIS.FLAG=VALUE"),
        ({"set": {"parameter_drift.nn": "3"}}, "parameter_drift: unknown flag --nn"),
        ({"set": {"parameter_drift.n": "x"}}, "parameter_drift: --n must be"),
        ({"study": Path("nowhere")}, "no such study: nowhere"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_measured(finished, more, said):
    options = AnalysesOptions(**{"study": finished} | FAST | more)
    with pytest.raises(UserError, match=said):
        StudyAnalyses(options, Local(), Resources(), print, print).run()
    assert not (finished / "analyses").exists()


def test_the_command_prints_the_tables_and_a_summary(finished, capsys):
    argv = ["analyse", str(finished), "--analyses", "parameter_drift", "--n", "10"]
    main([*argv, "--set", "parameter_drift.params=ln_", "--device", "cpu"])
    printed = capsys.readouterr()
    assert "ft-s1" in printed.out and "results: " in printed.out
    assert "[2/2] parameter_drift of ft-s1" in printed.err
    main([*argv, "--set", "parameter_drift.params=ln_", "--device", "cpu", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["result"]["analyses"]["parameter_drift"]["runs"]["ft-s0"]["state"] == "current"
    assert document["files"] == [str(finished / "analyses" / "parameter_drift.json")]
    with pytest.raises(SystemExit) as refused:
        main(["analyze", str(finished)])
    assert refused.value.code == 2 and "did you mean 'analyse'" in capsys.readouterr().err
