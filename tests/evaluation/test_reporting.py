"""What an evaluation tells experiment trackers."""

import sys
from dataclasses import replace

import pytest

from grace_geom.evaluate import main
from grace_geom.evaluation.reporting import name_of, numbers, report_line
from grace_geom.interpolate import main as interpolate
from grace_geom.records import (
    DialPoint,
    DialRecord,
    EvalRecord,
    class_counts,
    mean_per_class,
    summarise,
)
from grace_geom.records.corruption import corruption_error
from tests.evaluation.test_evaluate import make_run, save_npz
from tests.records.test_corruption import RESNET50, accuracy, corrupted
from tests.small_run import small_run
from tests.tracking.fake import FakeTracker, install


@pytest.fixture
def run(tmp_path):
    """A run directory of a toy CLIP with an ID and an OOD set."""
    data = save_npz(tmp_path / "train.npz", 40, 0)
    data += "+" + save_npz(tmp_path / "test.npz", 30, 1).removeprefix("npz:")
    ood = {"shift": save_npz(tmp_path / "shift.npz", 20, 2)}
    return make_run(tmp_path / "runs" / "toy", data, ood)


FLAGS = ["--suites", "id,ood,adv", "--attack", "pgd", "--steps", "2", "--n-attack", "10"]


def test_every_accuracy_is_reported_with_its_images(run, monkeypatch, capsys):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    main([str(run), *FLAGS, "--report-to", "wandb"])
    record = EvalRecord.load(run / "eval.json")
    found = {(a.suite, a.attack_name): a for a in record.accuracies}
    names = {
        ("id", ""): f"id/{found['id', ''].data}/clean",
        ("ood", ""): "ood/shift/clean",
        ("adv", "pgd"): f"adv/{found['adv', 'pgd'].data}/pgd/linf-4_255",
    }
    expected = {name: found[key].accuracy for key, name in names.items()}
    expected |= {f"n/{name}": found[key].n for key, name in names.items()}
    ((step, reported),) = fake.named("log")
    assert step == 0
    for a in record.accuracies:
        counts, name = class_counts(a), names[a.suite, a.attack_name]
        expected[f"mean-per-class/{name}"] = mean_per_class(counts).value
        expected[f"worst-class/{name}"] = counts.shares.min()
    assert {k: v for k, v in reported.items() if not k.startswith("summary/")} == expected
    assert expected["n/ood/shift/clean"] == 20
    assert reported["summary/ID"] == record.summary["ID"]
    assert fake.named("start")[0][1] == "toy/eval"

    main([str(run), *FLAGS, "--report-to", "wandb"])  # the same record is the same tracker run
    assert fake.homes[1].known["id"] == "run-1"
    assert fake.named("finish") == [["finished"]] * 2
    assert not [path for path in run.rglob("*") if "wandb" in path.name]


def test_numbers_with_one_name_are_told_apart_and_groups_are_there(run, capsys):
    main([str(run), *FLAGS])
    record = EvalRecord.load(run / "eval.json")
    (attacked,) = (a for a in record.accuracies if a.attack)
    longer = replace(attacked, accuracy=0.125, attack=attacked.attack | {"parts": []})
    wider = replace(longer, accuracy=0.5, attack=attacked.attack | {"eps": 0.5, "norm": "l2"})
    groups = replace(longer, attack=None, suite="ood", data="c")
    groups = replace(groups, groups=({"name": "blur/3", "n": 4, "accuracy": 0.75},))
    found = numbers(replace(record, accuracies=(attacked, longer, wider, groups)))
    assert found[f"adv/{attacked.data}/pgd/linf-4_255"] == attacked.accuracy
    assert found[f"adv/{attacked.data}/pgd/linf-4_255-2"] == 0.125
    assert found[f"adv/{attacked.data}/pgd/l2-0.5"] == 0.5
    assert found["groups/ood/c/clean/blur/3"] == 0.75


def test_a_missing_library_is_refused_before_anything_is_measured(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SystemExit) as stop:
        main([str(run), *FLAGS, "--report-to", "mlflow"])
    assert stop.value.code == 2
    assert "pip install 'grace_geom[mlflow]'" in capsys.readouterr().err
    assert not (run / "eval.json").exists()


def test_calibration_before_and_after_scaling_is_reported(run, monkeypatch, capsys):
    fake = install(monkeypatch, mlflow=FakeTracker())["mlflow"]
    main([str(run), "--suites", "id", "--calibration", "--report-to", "mlflow"])
    (a,) = EvalRecord.load(run / "eval.json").accuracies
    ((_, reported),) = fake.named("log")
    for score in ("nll", "ece", "brier"):
        for kind, end in (("plain", ""), ("scaled", "-scaled")):
            name = f"calibration/{name_of(a)}/{score}{end}"
            assert reported[name] == a.scores[kind][score]["value"]
    assert reported[f"calibration/{name_of(a)}/temperature"] == a.scores["temperature"]


def test_corruption_errors_are_reported():
    c = replace(corrupted({name: e / 100 for name, e in RESNET50.items()}), suite="ood", data="c")
    found = numbers(EvalRecord("c", "r", "ft", 0, {}, (c,)))
    error = corruption_error(c)
    assert found["corruption/ood/c/clean/mce"] == error.mce
    assert found["corruption/ood/c/clean/mean-error"] == error.mean
    assert "corruption/ood/c/clean/relative-mce" not in found  # needs the clean error


def test_interpolation_has_the_clean_accuracy_that_a_relative_mce_needs(tmp_path, monkeypatch):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    c = replace(corrupted({name: e / 100 for name, e in RESNET50.items()}), suite="ood", data="c")
    clean = replace(accuracy(0.75), suite="id", spec="imagenet")
    record = DialRecord("c", "r", "ft", {}, (DialPoint(0.5, (clean, c)),))
    report_line(record, [0.5], tmp_path / "dial.json", ["wandb"], print)
    ((step, found),) = fake.named("log")
    wanted = corruption_error(c, clean).relative
    assert step == 500 and found["corruption/ood/c/clean/relative-mce"] == wanted is not None


def test_effective_robustness_goes_to_the_tracker_run_of_each_checkpoint(
    tmp_path, monkeypatch, capsys
):
    fake = install(monkeypatch, wandb=FakeTracker())["wandb"]
    above = [{"sketch": 0.25}, {}, {"sketch": -0.125}]
    monkeypatch.setattr(
        "grace_geom.evaluation.shift_tables.effective_numbers", lambda records: above
    )
    data = save_npz(tmp_path / "train.npz", 40, 0)
    data += "+" + save_npz(tmp_path / "test.npz", 30, 1).removeprefix("npz:")
    runs = [make_run(tmp_path / "runs" / name, data, {}) for name in "abc"]
    with pytest.raises(SystemExit):  # the runs have no OOD set, as the table says
        main([*map(str, runs), "--suites", "id", "--effective-robustness", "--report-to", "wandb"])
    logs = [numbers for _, numbers in fake.named("log")]
    assert logs[3:] == [
        {"effective-robustness/sketch": 0.25}, {"effective-robustness/sketch": -0.125},
    ]  # fmt: skip
    assert [home.folder.name for home in fake.homes] == [*"abc", "a", "c"]
    assert [home.known.get("id") for home in fake.homes[3:]] == ["run-1", "run-3"]


def test_interpolation_reports_numbers_over_t(tmp_path, monkeypatch, capsys):
    fake = install(monkeypatch, tensorboard=FakeTracker())["tensorboard"]
    run = small_run(tmp_path, "ft")
    flags = ["--suites", "id", "--t", "0,0.25,1", "--choose", "clean"]
    interpolate([str(run), *flags, "--report-to", "tensorboard"])
    record = DialRecord.load(run / "dial.json")
    *points, chosen = fake.named("log")
    assert [step for step, _ in points] == [0, 250, 1000]
    for (_, found), point in zip(points, record.points, strict=True):
        (a,), (held_out,) = point.accuracies, point.held_out
        assert found["t"] == point.t and found[name_of(a)] == a.accuracy
        assert found[f"held-out/{name_of(held_out)}"] == held_out.accuracy
        assert found["summary/ID"] == summarise(point.accuracies)["ID"].value
    assert chosen == [round(1000 * record.chosen), {"chosen-t": record.chosen}]
    assert fake.named("start")[0][1] == f"{run.name}/dial"
