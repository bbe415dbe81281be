"""Class by class, from the model to tables and files."""

import csv
import dataclasses

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score

from grace_geom.attacks import AttackSpec
from grace_geom.data.conventions import has_mean_per_class
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.evaluation.class_tables import per_class_table
from grace_geom.evaluation.table import accuracy_table, paired_table
from grace_geom.records import Accuracy, EvalRecord, confusion, pack
from grace_geom.records.accuracy import pack_numbers
from tests.evaluation.test_accuracy import Linear, images, pixels_of
from tests.evaluation.test_evaluate import PGD, evaluate, run  # noqa: F401
from tests.toys import toy_batch, toy_clip


def test_predictions_are_the_models_own():
    model, noise = Linear(4), images(90, 4)
    x, y = pixels_of(noise)
    found = evaluate_set(model, noise, "id", "noise", batch_size=16)
    expected = model(x).argmax(1).numpy()
    np.testing.assert_array_equal(found.prediction_of_each(), expected)
    np.testing.assert_array_equal(found.label_of_each(), y.numpy())
    np.testing.assert_array_equal(confusion(found), confusion_matrix(y, expected))


@pytest.mark.parametrize("attack", ["pgd", "autoattack"])
def test_predictions_under_attack_agree_with_its_outcomes(attack):
    spec = AttackSpec(attack, 4 / 255, steps=3, queries=20)
    found = evaluate_set(Linear(4), images(60, 4), "adv", "noise", attack=spec, batch_size=16)
    wrong = found.prediction_of_each() != found.label_of_each()
    np.testing.assert_array_equal(wrong, ~found.right())
    assert 0 < wrong.sum() < 60


def test_published_data_sets_show_the_number_that_papers_report():
    names = tuple(f"class {k}" for k in range(102))
    flowers = dataclasses.replace(
        images(300, 102), spec="torchvision:Flowers102", class_names=names
    )
    pets = dataclasses.replace(images(300, 3), spec="folder:/data/OxfordIIITPet")
    assert has_mean_per_class(flowers) and not has_mean_per_class(pets)  # three classes are no pets
    found = evaluate_set(Linear(102), flowers, "id", "flowers", batch_size=300)
    record = EvalRecord("c", "r", "", 0, {}, (found,)).summed()
    text = accuracy_table([record]).text(100)
    x, y = pixels_of(flowers)
    told = Linear(102)(x).argmax(1)
    mean = recall_score(y, told, labels=np.unique(y), average="macro")
    assert f"{100 * mean:.1f} [" in text and "§ flowers: mean per-class accuracy" in text
    assert round(100 * mean, 1) != round(100 * found.accuracy, 1)
    assert record.summary["ID"] == pytest.approx(mean)
    own = per_class_table([record])
    assert own is not None and "mean over classes, each counting the same" in own.text(100)


def test_paired_differences_of_published_data_sets_are_of_the_number_that_papers_report():
    def of(right: np.ndarray, name: str) -> EvalRecord:
        a = Accuracy(
            "zeroshot", "pets", "tv:pets", 6, int(right.sum()), right.mean(), 0.0, 1.0, 0.0,
            subset={"of": 6, "ids_sha256": "i"}, outcomes=pack(right), class_names=("cat", "dog"),
            labels=pack_numbers(np.array([0, 0, 0, 0, 1, 1])), metric="mean-per-class",
        )  # fmt: skip
        return EvalRecord(name, name, "", 0, {}, (a,)).summed()

    records = [of(np.arange(6) < 4, "a"), of(np.arange(6) > 1, "b")]
    table = paired_table(records)
    (_, data, cell), *_ = table.rows
    assert data == "pets" and cell.value == pytest.approx((1 / 2 + 1) / 2 - 1 / 2)  # top-1: 0
    assert cell.full.startswith("+25.0 (p ") and cell.full.endswith("§")
    assert "class by class" in table.notes[0]


def test_the_command_prints_and_writes_them(run, capsys, tmp_path):  # noqa: F811
    text = evaluate(capsys, str(run), "--suites", "id,adv", *PGD, "--per-class",
                    "--class-tables", str(tmp_path / "csv"))  # fmt: skip
    record = EvalRecord.load(run / "eval.json")
    pixels, y = (toy_batch(30, 1).images * 255).round() / 255, toy_batch(30, 1).labels
    told = toy_clip()(pixels).argmax(1)
    assert "worst class" in text and f"{100 * recall_score(y, told, average='macro'):.1f}" in text
    names = record.accuracies[0].class_names
    with (tmp_path / "csv" / "toy-id-test.confusion.csv").open() as file:
        head, *rows = csv.reader(file)
    assert head[1:] == list(names) and [row[0] for row in rows] == list(names)
    cells = np.array([[int(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_array_equal(cells, confusion_matrix(y, told, labels=range(3)))
    assert len(list((tmp_path / "csv").glob("toy-adv-test-pgd-*.csv"))) == 2


def test_labels_are_added_to_kept_numbers_without_measuring_again(run, capsys, monkeypatch):  # noqa: F811
    evaluate(capsys, str(run), "--suites", "id")
    record = EvalRecord.load(run / "eval.json")
    (a,) = record.accuracies
    old = dataclasses.replace(a, class_names=(), labels="", predictions="")
    dataclasses.replace(record, accuracies=(old,)).save(run / "eval.json")
    monkeypatch.setattr("grace_geom.evaluation.one_checkpoint.evaluate_set", None)
    text = evaluate(capsys, str(run), "--suites", "id", "--per-class")
    assert "1 number was measured before" in text and "worst class" in text
    assert EvalRecord.load(run / "eval.json").accuracies == (
        dataclasses.replace(a, predictions=""),
    )
