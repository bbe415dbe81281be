"""Per-class numbers against scikit-learn, their intervals against simulated coverage."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

from grace_geom.records import (
    Accuracy,
    EvalRecord,
    RecordError,
    class_counts,
    confusion,
    mean_per_class,
    pack,
    shown,
    wilson,
    worst_class,
)
from grace_geom.records.accuracy import numbers_of, pack_numbers

RNG = np.random.default_rng(0)
LABELS = np.concatenate([np.repeat([0, 1, 3], [40, 9, 1]), RNG.integers(0, 4, 50) // 3 * 3])
PREDICTIONS = np.where(RNG.random(100) < 0.6, LABELS, RNG.integers(0, 4, 100))
NAMES = ("ant", "bee", "cat", "dog")  # no image is a cat


def of(labels: np.ndarray, predictions: np.ndarray, **more) -> Accuracy:
    right = labels == predictions
    n, k = len(right), int(right.sum())
    return Accuracy(
        "id", "d", "npz:d", n, k, k / n, *wilson(k, n), 0.0, outcomes=pack(right),
        class_names=NAMES, labels=pack_numbers(labels), predictions=pack_numbers(predictions),
        **more,
    )  # fmt: skip


def test_the_numbers_are_scikit_learns():
    a = of(LABELS, PREDICTIONS)
    counts = class_counts(a)
    assert (counts.names, counts.of) == (("ant", "bee", "dog"), 4)
    np.testing.assert_array_equal(
        confusion(a), confusion_matrix(LABELS, PREDICTIONS, labels=range(4))
    )
    recall = recall_score(LABELS, PREDICTIONS, labels=[0, 1, 3], average=None)
    np.testing.assert_allclose(counts.shares, recall, rtol=1e-15)
    mean = mean_per_class(counts)
    assert mean.value == pytest.approx(recall.mean(), abs=1e-15)
    some = LABELS != 3  # scikit-learn has the same name for it
    few = mean_per_class(class_counts(of(LABELS[some], PREDICTIONS[some]))).value
    with pytest.warns(UserWarning, match="not in y_true"):
        assert few == pytest.approx(balanced_accuracy_score(LABELS[some], PREDICTIONS[some]))
    assert worst_class(counts)[0] == counts.names[int(recall.argmin())]
    assert worst_class(counts)[1].value == recall.min()
    assert mean.low < mean.value < mean.high


def test_the_usual_number_of_a_data_set_is_shown():
    a = of(LABELS, PREDICTIONS)
    assert shown(a).value == a.accuracy
    b = dataclasses.replace(a, metric="mean-per-class")
    assert shown(b) == mean_per_class(class_counts(a)) and shown(b).value != a.accuracy
    totals = dataclasses.replace(b, outcomes="")
    assert shown(totals).value == a.accuracy


@pytest.mark.parametrize("n", [(30, 30, 30), (200, 5, 2), (3,) * 40], ids=str)
def test_intervals_cover_the_truth(n):
    rng, draws = np.random.default_rng(1), 800
    truth = np.linspace(0.35, 0.95, len(n))
    labels = np.repeat(np.arange(len(n)), n)
    inside = np.zeros(2)
    for _ in range(draws):
        correct = rng.binomial(n, truth)
        counts = dataclasses.replace(
            class_counts(of(LABELS, PREDICTIONS)),
            names=tuple(map(str, range(len(n)))), n=np.bincount(labels), correct=correct,
        )  # fmt: skip
        mean, (_, worst) = mean_per_class(counts), worst_class(counts)
        inside += [mean.low <= truth.mean() <= mean.high, worst.low <= truth.min() <= worst.high]
        assert mean.low <= mean.value <= mean.high and worst.low <= worst.value <= worst.high
    slack = 4 * np.sqrt(0.05 * 0.95 / draws)
    assert (inside / draws > 0.95 - slack).all()
    assert inside[0] / draws < 0.995  # and not by being of any width


def test_one_class_has_wilsons_interval_of_its_accuracy():
    counts = dataclasses.replace(
        class_counts(of(LABELS, PREDICTIONS)),
        names=("a",),
        n=np.array([40]),
        correct=np.array([31]),
    )
    mean, (_, worst) = mean_per_class(counts), worst_class(counts)
    assert (mean.low, mean.high) == pytest.approx(wilson(31, 40), abs=1e-12)
    assert (worst.low, worst.high) == pytest.approx(wilson(31, 40), abs=1e-12)


def test_all_right_and_all_wrong_have_intervals_with_a_width():
    for answers in (LABELS, (LABELS + 1) % 4):
        mean = mean_per_class(class_counts(of(LABELS, answers)))
        assert mean.value in (0, 1) and 0 <= mean.low < mean.high <= 1


def test_numbers_come_back_as_they_were_packed():
    for n in (1, 7, 5000):
        numbers = RNG.integers(0, 1000, n)
        packed = pack_numbers(numbers)
        np.testing.assert_array_equal(numbers_of(packed, n), numbers)
        assert not len(numbers_of(packed, n + 1)) and not len(numbers_of(packed, n - 1))
    assert not len(numbers_of("no base64!", 3)) and not len(numbers_of("", 3))


def test_a_record_of_an_earlier_version_reads_and_says_what_it_lacks(tmp_path):
    a = dataclasses.asdict(of(LABELS, PREDICTIONS))
    old = {
        k: v for k, v in a.items() if k not in ("class_names", "labels", "predictions", "metric")
    }
    record = {"format": "grace_geom.eval/1", "checkpoint": "c", "run": "r", "method": "", "seed": 0,
              "settings": {}, "accuracies": [old]}  # fmt: skip
    (tmp_path / "eval.json").write_text(json.dumps(record))
    (found,) = EvalRecord.load(tmp_path / "eval.json").accuracies
    assert shown(found).value == found.accuracy
    with pytest.raises(RecordError, match="holds no label for each image"):
        class_counts(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": pack_numbers(LABELS[:-1])}, "labels: not one for each of n = 100"),
        ({"labels": pack_numbers(LABELS + 1)}, "labels: not all among the 4 class_names"),
        ({"predictions": pack_numbers((PREDICTIONS + 1) % 4)}, "not right where outcomes say so"),
        ({"metric": "top-5"}, "metric"),
    ],
)
def test_entries_that_contradict_each_other_are_named(tmp_path, change, says):
    a = dataclasses.replace(of(LABELS, PREDICTIONS), **change)
    EvalRecord("c", "r", "", 0, {}, (a,)).save(tmp_path / "eval.json")
    with pytest.raises(RecordError, match=says):
        EvalRecord.load(tmp_path / "eval.json")
