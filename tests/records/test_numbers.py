"""Every number of a run has a name, a unit, its interval and its source."""

import math

import pytest
from scipy import stats

from grace_geom.records import Finding, Measure, Part, Result, summarise
from grace_geom.records.numbers import (
    Datum,
    is_of_matrix,
    of_columns,
    of_costs,
    of_finding,
    of_log,
    of_sets,
    of_settings,
    over_runs,
)
from tests.app.conftest import APGD, SETS, accuracy


def by_key(numbers):
    return {quantity.key: (quantity, number) for quantity, number in numbers.items()}


def test_accuracies_are_shares_with_their_intervals():
    rows = [accuracy(suite, data, 80) for suite, data in SETS]
    rows.append(accuracy("adv", "shapes", 40, attack=APGD))
    columns = by_key(of_columns(summarise(rows), seeds=3))
    quantity, number = columns["Adv"]
    assert quantity.share and quantity.label == "Adv (%)"
    assert (number.value, number.low, number.high) == pytest.approx((0.4, 0.36, 0.44))
    assert "mean over 3 seeds" in number.source
    assert of_columns({"ID": None}) == {}
    sets = by_key(of_sets(rows))  # only OOD has several
    assert list(sets) == ["set/ood/sketch", "set/ood/v2"]
    assert sets["set/ood/v2"][0].title == "OOD v2"
    assert sets["set/ood/v2"][1].source == "evaluation on 100 images"
    attacked = [accuracy("adv", data, 40, attack=APGD) for data in ("shapes", "other")]
    source = by_key(of_sets(attacked))["set/adv/other"][1].source
    assert source == "evaluation on 100 images, APGD-CE, ε = 4/255, 20 steps"


def test_numbers_of_analyses_say_how_they_were_estimated():
    values = {
        "lambda_1": Measure(5.0, low=4.0, high=7.0, estimator="Lanczos"),
        "trace": Measure(8.0, 0.5, estimator="Hutchinson"),
        "dim": Measure(1000),
        "odd": Measure(math.nan),
        "kappa/visual.proj": Measure(1.0),
    }
    result = Result("hessian_spectrum", (), {}, {"a": Part(values, n={"id": 64})})
    found = by_key(of_finding(Finding("demo/a", result, "a")))
    assert list(found) == [f"hessian_spectrum/{name}" for name in ("lambda_1", "trace", "dim")]
    assert found["hessian_spectrum/lambda_1"][0].title == "largest Hessian eigenvalue λ₁"
    first, second = (found[f"hessian_spectrum/{name}"][1] for name in ("lambda_1", "trace"))
    assert first == Datum(5.0, 4.0, 7.0, "Hessian spectrum, Lanczos, images: 64 ID")
    half = stats.norm.ppf(0.975) * 0.5
    assert (second.low, second.high) == pytest.approx((8 - half, 8 + half))
    assert found["hessian_spectrum/dim"][1].low is None
    every = by_key(of_finding(Finding("demo/a", result, "a"), matrices=True))
    assert "hessian_spectrum/kappa/visual.proj" in every
    assert not is_of_matrix("ce/relative/0.005") and is_of_matrix("relative/visual.proj")


def test_a_drift_of_weights_names_no_images():
    values = {"drift": Measure(0.2, estimator="exact"), "zero_shot_loss": Measure(0.1)}
    result = Result("parameter_drift", (), {}, {"a": Part(values, n={"shapes:colour": 64})})
    found = by_key(of_finding(Finding("demo/a", result, "a")))
    assert found["parameter_drift/drift"][1].source == "parameter drift, exact"
    assert "64 shapes:colour" in found["parameter_drift/zero_shot_loss"][1].source


def test_settings_costs_and_the_log():
    plain = {"lr": 1e-3, "method": "ft", "resume": False, "seed": 3, "out": 4, "eps": None}
    assert {key: x.value for key, (_, x) in by_key(of_settings(plain)).items()} == {
        "setting/lr": 1e-3, "setting/seed": 3.0
    }  # fmt: skip
    rows = [
        {"step": 10, "seconds": 2.0, "loss": 1.5, "train_acc": 0.5},
        {"step": 20, "seconds": 4.0, "loss": math.nan, "train_acc": 0.7},
    ]
    log = by_key(of_log(rows))
    assert log["log/loss"][1] == Datum(1.5, source="the training log, step 10")
    assert log["log/train_acc"][0].title == "last training accuracy"
    assert log["log/train_acc"][0].share and log["log/train_acc"][1].value == 0.7
    assert log["cost/training"][1].value == 4.0
    assert list(by_key(of_costs(None, 0.2))) == ["cost/step"]


def test_a_mean_over_trainings_has_their_spread():
    values = [0.2, 0.5, 0.3]
    mean = over_runs([Datum(v, v - 1, v + 1, "drift") for v in values])
    ends = stats.t.interval(0.95, 2, 1 / 3, stats.sem(values))
    assert (mean.value, mean.low, mean.high) == pytest.approx((1 / 3, *ends))
    assert mean.source == "drift; mean over 3 seeds, Student's t"
    alone = Datum(0.2, 0.1, 0.3, "drift")
    assert over_runs([alone]) is alone
