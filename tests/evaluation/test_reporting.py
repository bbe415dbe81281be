"""What an evaluation tells experiment trackers."""

import sys
from dataclasses import replace

import pytest

from grace_geom.evaluate import main
from grace_geom.evaluation.reporting import numbers
from grace_geom.records import EvalRecord
from tests.evaluation.test_evaluate import make_run, save_npz
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
    groups = replace(groups, groups=({"name": "blur/3", "accuracy": 0.75},))
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
