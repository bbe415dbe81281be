"""Records survive a round trip, refuse what is not theirs, and sum up to hand-counted columns."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest

from grace_geom.records import (
    Accuracy,
    Estimate,
    EvalRecord,
    Measure,
    Part,
    RecordError,
    Result,
    by_level,
    harmonic_of,
    headline_attack,
    list_runs,
    mean_corruption,
    mean_of,
    over_levels,
    pack,
    summarise,
)

APGD = {
    "name": "apgd-ce",
    "eps": 4 / 255,
    "norm": "linf",
    "seed": 0,
    "parts": [{"name": "apgd-ce", "steps": 100}],
}


def wilson(k: int, n: int) -> tuple[float, float]:
    """The roots of ``(p - k/n)^2 = z^2 p (1 - p) / n``, by the quadratic formula."""
    z2 = 1.959963984540054**2
    a, b, c = 1 + z2 / n, -(2 * k / n + z2 / n), (k / n) ** 2
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def accuracy(suite: str, correct: int, n: int = 100, data: str = "set", **more) -> Accuracy:
    low, high = wilson(correct, n)
    return Accuracy(suite, data, f"npz:{data}", n, correct, correct / n, low, high, 1.5, **more)


def record(*accuracies: Accuracy, **more) -> EvalRecord:
    fields = {
        "checkpoint": "ab" * 32,
        "run": "grace-0",
        "method": "grace",
        "seed": 0,
        "settings": {"data": "shapes"},
    }
    return EvalRecord(**(fields | more), accuracies=accuracies).summed()


def full() -> list[Accuracy]:
    return [
        accuracy("id", 80), accuracy("ood", 50, data="a"), accuracy("ood", 30, data="b"),
        accuracy("adv", 20, attack=APGD), accuracy("natural_adv", 10), accuracy("zeroshot", 60),
    ]  # fmt: skip


def test_the_columns_are_those_of_a_hand_counted_table():
    found = {name: e.value for name, e in summarise(full()).items()}
    hand = {"ID": 0.8, "OOD": 0.4, "Adv": 0.2, "NatAdv": 0.1, "ZS": 0.6, "OOD'": 0.5, "Adv'": 0.15}
    hand["HM"] = 3 / (1 / 0.8 + 1 / 0.4 + 1 / 0.2)
    hand["HM'"] = 3 / (1 / 0.8 + 1 / 0.5 + 1 / 0.15)
    assert found == pytest.approx(hand)


def test_a_missing_suite_is_none_and_never_zero():
    found = summarise([a for a in full() if a.suite not in ("zeroshot", "adv")])
    assert {name for name, e in found.items() if e is None} == {
        "ZS",
        "Adv",
        "HM",
        "OOD'",
        "Adv'",
        "HM'",
    }


def test_the_harmonic_mean_is_zero_if_any_part_is():
    parts = [Estimate.of(accuracy("id", k)) for k in (80, 40, 0)]
    assert harmonic_of(parts).value == 0
    assert harmonic_of(parts).high > 0  # 0 of 100 is not the same as impossible


def test_errors_of_means_are_those_of_simulated_counts():
    rng = np.random.default_rng(0)
    shares, n = np.array([0.8, 0.4, 0.2]), 2000
    draws = rng.binomial(n, shares, (4000, 3)) / n
    parts = [Estimate.of(accuracy("id", round(p * n), n)) for p in shares]
    assert mean_of(parts).error == pytest.approx(draws.mean(1).std(), rel=0.06)
    assert harmonic_of(parts).error == pytest.approx((3 / (1 / draws).sum(1)).std(), rel=0.06)


def test_one_data_set_keeps_its_wilson_interval():
    estimate = summarise([accuracy("id", 3)])["ID"]
    assert (estimate.low, estimate.high) == pytest.approx(wilson(3, 100))


def test_adv_is_apgd_ce_at_the_papers_eps_where_it_was_run():
    pgd = accuracy("adv", 30, attack=APGD | {"name": "pgd"})
    small = accuracy("adv", 60, attack=APGD | {"eps": 1 / 255})
    main = accuracy("adv", 20, attack=APGD)
    assert [a.correct for a in headline_attack([pgd, small, main])] == [20]
    assert [a.correct for a in headline_attack([pgd])] == [30]
    other = accuracy("adv", 10, attack=APGD | {"eps": 0.5, "norm": "l2"})
    assert [a.correct for a in headline_attack([other, pgd])] == [30], "norms are not compared"
    assert [a.correct for a in headline_attack([other])] == [10]


@pytest.mark.parametrize(("norm", "usual"), [("l2", 0.5), ("l1", 12.0)])
def test_adv_in_another_norm_is_at_the_usual_radius_else_at_the_largest(norm, usual):
    weak, main, strong = (
        accuracy("adv", 50 - i, attack=APGD | {"eps": usual * scale, "norm": norm})
        for i, scale in enumerate((0.25, 1, 4))
    )
    assert headline_attack([weak, strong, main]) == [main]
    assert headline_attack([weak, strong]) == [strong]


def test_adv_is_the_strongest_of_equals_whatever_their_order():
    def run(steps: int, correct: int, **more) -> Accuracy:
        return accuracy(
            "adv", correct, attack=APGD | {"parts": [{"name": "apgd-ce", "steps": steps}]} | more
        )

    weak, strong, lower = run(10, 15), run(100, 20), run(100, 18, seed=1)
    for order in ([weak, strong, lower], [lower, strong, weak], [strong, lower, weak]):
        assert [a.correct for a in headline_attack(order)] == [18]
    assert [a.correct for a in headline_attack([strong, weak])] == [
        20
    ]  # though ten steps happen to be lower


def test_an_attack_that_began_with_apgd_ce_gives_its_first_part():
    low, high = wilson(22, 100)
    parts = (
        {"name": "apgd-ce", "robust": 22, "ci_low": low, "ci_high": high},
        {"name": "apgd-t", "robust": 19},
    )
    both = accuracy("adv", 19, attack=APGD | {"name": "apgd"}, parts=parts)
    assert [(a.correct, a.attack_name) for a in headline_attack([both])] == [(22, "apgd-ce")]


def shared_images(n: int = 900, attacked: int = 300, seed: int = 3) -> dict[str, Accuracy]:
    """ID on all images and Adv on some of them (robust implies right), OOD on others."""
    rng = np.random.default_rng(0)
    right = rng.random(n) < 0.7
    places = np.sort(np.random.default_rng(seed).choice(n, attacked, replace=False))
    robust = right[places] & (rng.random(attacked) < 0.5)
    drawn = {"of": n, "seed": seed}
    subset = {"data": "set", "subset": {"of": n, "seed": None}, "outcomes": pack(right)}
    ood = rng.random(400) < 0.5
    return {
        "id": accuracy("id", int(right.sum()), n, **subset),
        "adv": accuracy(
            "adv", int(robust.sum()), attacked, attack=APGD, subset=drawn, outcomes=pack(robust)
        ),
        "ood": accuracy("ood", int(ood.sum()), 400, data="other", outcomes=pack(ood)),
    }


def test_the_interval_of_hm_draws_images_for_clean_and_attacked_answers_at_once():
    some = shared_images()
    estimate = summarise(list(some.values()))["HM"]
    right, robust, ood = (some[k].right() for k in ("id", "adv", "ood"))
    places = np.sort(np.random.default_rng(3).choice(900, 300, replace=False))
    others = np.setdiff1d(np.arange(900), places)
    rng = np.random.default_rng(7)
    found = []
    for _ in range(3000):  # image by image, as the definition has it
        both = rng.integers(300, size=300)
        clean = (right[places][both].sum() + right[rng.choice(others, 600)].sum()) / 900
        values = clean, robust[both].mean(), ood[rng.integers(400, size=400)].mean()
        found.append(3 / sum(1 / v for v in values))
    low, high = np.quantile(found, [0.025, 0.975])
    assert estimate.how == "by images" and estimate.error == pytest.approx(np.std(found), rel=0.06)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_images_that_id_and_adv_share_widen_the_interval():
    some = shared_images(300, 300)
    together = summarise(list(some.values()))["HM"].error
    apart = dataclasses.replace(some["adv"], spec="npz:elsewhere")
    independent = summarise([some["id"], some["ood"], apart])["HM"].error
    counts_only = summarise([dataclasses.replace(a, outcomes="") for a in some.values()])["HM"]
    assert together > 1.05 * independent, "clean and robust answers to an image go together"
    assert (
        independent == pytest.approx(counts_only.error, rel=0.05) and counts_only.how == "by totals"
    )


def test_an_interval_of_nothing_right_has_a_width():
    some = shared_images()
    none = dataclasses.replace(
        some["adv"], correct=0, accuracy=0.0, outcomes=pack(np.zeros(300, bool))
    )
    hm = summarise([some["id"], some["ood"], none])["HM"]
    assert hm.value == hm.low == 0 and 0.005 < hm.high < 0.05


def test_an_evaluation_comes_back_as_it_was(tmp_path):
    right = np.random.default_rng(0).random(1003) < 0.5
    one = accuracy(
        "adv",
        int(right.sum()),
        1003,
        attack=APGD,
        parts=({"name": "apgd-ce"},),
        outcomes=pack(right),
    )
    saved = record(*full(), one)
    loaded = EvalRecord.load(saved.save(tmp_path / "eval.json"))
    assert loaded == saved
    np.testing.assert_array_equal(loaded.accuracies[-1].right(), right)


def test_outcomes_that_are_not_there_are_said_to_be_missing():
    with pytest.raises(RecordError, match="evaluate again"):
        accuracy("id", 3).right()


def test_merging_keeps_other_questions_and_replaces_the_same(tmp_path):
    pgd = accuracy("adv", 30, attack=APGD | {"name": "pgd"})
    old = record(accuracy("id", 70), accuracy("adv", 10, attack=APGD), pgd)
    merged = old.merged(record(accuracy("adv", 20, attack=APGD), accuracy("ood", 40)))
    assert [(a.suite, a.correct) for a in merged] == [
        ("id", 70),
        ("ood", 40),
        ("adv", 30),
        ("adv", 20),
    ]


@pytest.mark.parametrize(
    "change", [{"checkpoint": "cd" * 32}, {"settings": {"data": "shapes", "eval_seed": 1}}]
)
def test_merging_keeps_nothing_of_another_checkpoint_or_setting(change):
    new = record(accuracy("ood", 40), **change)
    assert record(accuracy("id", 70)).merged(new) == new.accuracies


def test_a_newer_version_is_named_and_what_it_adds_is_ignored(tmp_path):
    path = record(*full()).save(tmp_path / "eval.json")
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"new_field": 1}))
    assert EvalRecord.load(path) == record(*full())
    path.write_text(json.dumps(plain | {"format": "grace_geom.eval/2"}))
    with pytest.raises(
        RecordError, match=r"eval\.json: written by a newer version \(grace_geom\.eval/2"
    ):
        EvalRecord.load(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "other/1"}', '{"format": "grace_geom.eval/1"}', "\x00"]
)
def test_what_is_not_an_evaluation_is_refused_by_name(tmp_path, text):
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(RecordError, match=r"eval\.json"):
        EvalRecord.load(tmp_path / "eval.json")


def result(**more) -> Result:
    values = {
        "lambda_max": Measure(3.25, 0.1, 3.05, 3.45, estimator="Lanczos"),
        "nan": Measure(math.nan),
    }
    arrays = {"density": np.linspace(0, 1, 7), "names": np.array(["a", "b"]), "rank": np.arange(3)}
    fields = {
        "name": "spectrum",
        "checkpoints": ({"label": "grace-0"},),
        "settings": {"n": 512},
        "parts": {"grace-0": Part(values, arrays, {"id": 512})},
    }
    return Result(**(fields | more))


def test_a_result_comes_back_with_float32_arrays(tmp_path):
    whole = result()
    found = Result.load(whole.save(tmp_path))
    saved, loaded = (r.parts["grace-0"] for r in (whole, found))
    assert loaded.values["lambda_max"] == saved.values["lambda_max"] and math.isnan(
        loaded.values["nan"].value
    )
    assert {name: a.dtype for name, a in loaded.arrays.items()} == {
        "density": np.float32, "names": np.dtype("<U1"), "rank": np.int64,
    }  # fmt: skip
    np.testing.assert_allclose(loaded.arrays["density"], saved.arrays["density"], rtol=1e-7)
    assert loaded.n == {"id": 512}
    assert dataclasses.replace(found, parts={}) == dataclasses.replace(whole, parts={})
    assert "NaN" not in (tmp_path / "spectrum.json").read_text()  # strict JSON, for every reader


def test_objects_are_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match="only numbers"):
        result(parts={"a": Part({}, {"a": np.array([{}], dtype=object)})}).save(tmp_path)
    path = result().save(tmp_path)
    np.savez(tmp_path / "spectrum.npz", a=np.array([{}], dtype=object))
    digest = hashlib.sha256((tmp_path / "spectrum.npz").read_bytes()).hexdigest()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"npz_sha256": digest}))
    with pytest.raises(RecordError, match=r"spectrum\.npz"):
        Result.load(path)


def test_arrays_of_another_run_are_refused(tmp_path):
    path = result().save(tmp_path)
    np.savez(tmp_path / "spectrum.npz", density=np.zeros(7))
    with pytest.raises(RecordError, match="does not belong"):
        Result.load(path)
    assert Result.load(path, arrays=False).parts["grace-0"].arrays == {}


def test_runs_are_listed_and_broken_files_are_named_not_raised(tmp_path):
    record(*full()).save(tmp_path / "a" / "eval.json")
    result().save(tmp_path / "a" / "analyses")
    (tmp_path / "a" / "analyses" / "broken.json").write_text('{"format": "grace_geom.res')
    (tmp_path / "study" / "b").mkdir(parents=True)
    (tmp_path / "study" / "b" / "eval.json").write_text(json.dumps({"format": "grace_geom.eval/9"}))
    (tmp_path / "study" / "c").mkdir()
    (tmp_path / "study" / "c" / "config.yaml").write_text("method: ft\n")
    (tmp_path / ".hidden" / "d").mkdir(parents=True)
    (tmp_path / ".hidden" / "d" / "eval.json").write_text("{}")
    a, b, c = list_runs(tmp_path)
    assert (a.name, b.name, c.name) == ("a", "study/b", "study/c")
    assert a.evaluation == record(*full()) and set(a.analyses) == {"spectrum"}
    assert len(a.problems) == 1 and "broken.json" in a.problems[0]
    assert b.evaluation is None and "newer version" in b.problems[0]
    assert c.evaluation is None and c.problems == ()


def test_a_folder_without_runs_lists_none(tmp_path):
    assert list_runs(tmp_path) == [] == list_runs(tmp_path / "absent")


def test_every_corruption_counts_the_same_and_every_severity_within_it(tmp_path):
    """However many images or severities each has."""

    def groups(*shares: float) -> tuple[dict[str, object], ...]:
        names = ("fog/1", "fog/2", "frost/1")
        return tuple(
            {"name": name, "accuracy": share} for name, share in zip(names, shares, strict=True)
        )

    one, two = (
        accuracy("ood", 5, groups=groups(0.2, 0.4, 0.9)),
        accuracy("ood", 5, groups=groups(0.4, 0.8, 0.7)),
    )
    levels = by_level([one, two])
    assert levels == {
        "fog": pytest.approx({"1": 0.3, "2": 0.6}),
        "frost": pytest.approx({"1": 0.8}),
    }
    assert over_levels(levels) == pytest.approx({"fog": 0.45, "frost": 0.8})
    assert mean_corruption(levels) == pytest.approx(0.625) and math.isnan(
        mean_corruption(by_level([]))
    )
    record = EvalRecord("0" * 64, "run", "ft", 0, {}, (one,))
    assert EvalRecord.load(record.save(tmp_path / "eval.json")).accuracies == (one,)
