"""The rows of a study: their numbers are those of the runs, and so are their differences."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from grace_geom.data import resolve
from grace_geom.records import Accuracy, Estimate, EvalRecord, image_difference, list_runs
from grace_geom.records.statistics import wilson
from grace_geom.study import Row, data_files, report
from grace_geom.study.rows import difference
from tests.records import crossed_by_hand as by_hand
from tests.records.flowers import BY_CLASS, TOP_1, flowers, without_classes
from tests.stub_study import Stub, accuracy, one_seed, outcomes, rows_by_label, study


@pytest.mark.drawn
def test_the_table_is_what_the_run_directories_say(tmp_path):
    stub = Stub()
    rows = rows_by_label(study(tmp_path, stub)[0].run())
    assert stub.trained == ["zero-shot-s0", "ft-s0", "ft-s1", "grace-s0", "grace-s1"]
    runs = {
        run.name: {(a.suite, a.data): a.accuracy for a in run.evaluation.accuracies}
        for run in list_runs(tmp_path)
    }
    each = []
    for name in ("ft-s0", "ft-s1"):
        values = runs[name]
        ood = np.mean([v for (suite, _), v in values.items() if suite == "ood"])
        each.append(3 / (1 / values["id", "shapes"] + 1 / ood + 1 / values["adv", "shapes"]))
    mean = np.mean(each)
    records = {label: rows[label].records for label in ("ft", "grace")}
    low, high = harmonic_interval(list(records["ft"].values()))
    estimate = rows["ft"].estimate("HM")
    assert estimate.value == pytest.approx(mean)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)
    gap = difference(rows["ft"], rows["grace"], "HM")
    half, p = harmonic_gap(*(list(sides.values()) for sides in records.values()))
    assert ((gap.high - gap.low) / 2, gap.p) == pytest.approx((half, p), abs=1e-9)
    written = {row["method"]: row for row in csv.DictReader((tmp_path / "table.csv").open())}
    assert float(written["ft"]["HM"]) == pytest.approx(mean, rel=1e-5)
    assert (
        written["zero-shot"]["seeds"] == "0"
        and written["ft"]["seeds"] == "0 1"
        and written["ft"]["ZS"] == ""
    )
    plain = {
        row["method"]: row for row in json.loads((tmp_path / "table.json").read_text())["rows"]
    }
    assert plain["ft"]["columns"]["HM"]["seeds"] == pytest.approx(
        dict(zip("01", each, strict=True))
    )
    assert (
        f"| ft | {100 * rows['ft'].estimate('ID').value:.1f} ["
        in (tmp_path / "table.md").read_text()
    )
    assert Image.open(tmp_path / "tradeoff.png").width > 1000


def harmonic_interval(records: list[EvalRecord]) -> tuple[float, float]:
    """The 95 % interval of HM over seeds, by hand."""
    each, of = [seen(record) for record in records], sizes(records[0])
    centres, tables = zip(*(by_hand.effects(s, of, (1, 0), 0.5) for s in each), strict=True)
    values = [by_hand.harmonic(s) for s in each]
    half = by_hand.half_width(*by_hand.variances(values, tables, 0.5), len(each))
    return by_hand.wilson(np.mean(values), np.mean(centres), half)


def harmonic_gap(ours: list[EvalRecord], theirs: list[EvalRecord]) -> tuple[float, float]:
    """Half-width and p of a difference of HM over seeds, by hand."""
    of, gaps, centres, tables = sizes(ours[0]), [], [], []
    for a, b in zip(map(seen, ours), map(seen, theirs), strict=True):
        (mine, my), (other, its) = (
            by_hand.effects(side, of, ends, 1) for side, ends in ((a, (1, 0)), (b, (0, 1)))
        )
        gaps.append(by_hand.harmonic(a) - by_hand.harmonic(b))
        centres.append(mine - other)
        tables.append({source: my[source] - its[source] for source in of})
    found = (*by_hand.variances(gaps, tables, 1), len(gaps))
    return by_hand.half_width(*found), by_hand.p_value(np.mean(centres), *found)


def seen(record: EvalRecord) -> by_hand.Seen:
    """Its answers, where they stand in their sets."""
    return {
        (a.suite, a.data): (
            a.spec,
            np.sort(np.random.default_rng(0).choice(a.subset["of"], a.n, replace=False))
            if a.n < a.subset["of"]
            else np.arange(a.n),
            a.right(),
        )
        for a in record.accuracies
    }


def sizes(record: EvalRecord) -> dict[str, int]:
    return {a.spec: a.subset["of"] for a in record.accuracies}


def test_a_method_that_does_not_train_has_one_run_and_the_interval_of_its_images(tmp_path):
    row = rows_by_label(study(tmp_path, Stub())[0].run())["zero-shot"]
    n = len(resolve("shapes", "test"))
    right = outcomes("zero-shot", 0, "id", "shapes", n)
    assert set(row.records) == {0} and row.lr is None and row.cost is None
    assert (row.estimate("ID").low, row.estimate("ID").high) == pytest.approx(
        wilson(int(right.sum()), n)
    )


def test_one_seed_is_compared_image_by_image():
    rng = np.random.default_rng(0)
    keys = [("id", "a"), ("ood", "b"), ("ood", "c"), ("adv", "a")]
    base = {key: rng.random(500) < p for key, p in zip(keys, (0.7, 0.5, 0.4, 0.2), strict=True)}
    better = {key: right | (rng.random(500) < 0.1) for key, right in base.items()}
    found = difference(one_seed("x", better), one_seed("y", base), "ID")
    x, y = better["id", "a"], base["id", "a"]
    only_x, only_y = int((x & ~y).sum()), int((y & ~x).sum())
    assert found.value == pytest.approx((only_x - only_y) / 500)
    assert found.p == pytest.approx(stats.binomtest(only_x, only_x + only_y).pvalue)
    error = (
        math.sqrt(only_x + only_y - (only_x - only_y) ** 2 / 500) / 500
    )  # of a paired difference of shares
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    hm = difference(one_seed("x", better), one_seed("y", base), "HM")
    assert hm.low < hm.value < hm.high and hm.p < 0.01


def test_few_images_that_differ_are_not_significant_together():
    right = np.ones(32, dtype=bool)
    worse = {("id", "a"): right.copy(), ("ood", "b"): right.copy(), ("adv", "a"): right.copy()}
    for key, count in zip(worse, (2, 1, 1), strict=True):
        worse[key][:count] = False
    rows = [one_seed("x", worse), one_seed("y", dict.fromkeys(worse, right))]
    hm = difference(*rows, "HM")
    half, p = harmonic_gap(*([row.records[0]] for row in rows))
    assert hm.value < 0 and p > 2 * 2**-4  # four one-sided images: both sides of 2^4 exchanges
    assert ((hm.high - hm.low) / 2, hm.p) == pytest.approx((half, p), abs=1e-9)


def test_the_same_checkpoint_differs_by_nothing():
    rng = np.random.default_rng(0)
    same = {
        ("id", "a"): rng.random(50) < 0.7,
        ("ood", "b"): rng.random(50) < 0.5,
        ("adv", "a"): rng.random(50) < 0.2,
    }
    for column in ("ID", "OOD", "HM"):
        found = difference(one_seed("x", same), one_seed("y", same), column)
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_other_images_are_not_paired():
    rng = np.random.default_rng(0)
    a, b = (
        one_seed("x", {("id", "a"): rng.random(50) < 0.7}),
        one_seed("y", {("id", "a"): rng.random(40) < 0.7}),
    )
    found = image_difference(a.records[0].accuracies, b.records[0].accuracies, "ID")
    assert math.isnan(found.p) and "not the same" in found.how
    assert difference(a, b, "Adv") is None


def test_several_seeds_that_differ_more_than_images_do_are_compared_by_a_paired_t_test():
    rng = np.random.default_rng(0)

    def seeds(label: str, shares: tuple[float, ...]) -> Row:
        cells = [{("id", "a"): rng.random(40_000) < p} for p in shares]
        each = [one_seed(label, some).records[0] for some in cells]
        return Row(
            label,
            {
                s: dataclasses.replace(r, seed=s, checkpoint=f"{label}{s}")
                for s, r in enumerate(each)
            },
        )

    a, b = seeds("a", (0.6, 0.7, 0.8)), seeds("b", (0.5, 0.7, 0.55))
    found = difference(a, b, "ID")
    peer = stats.ttest_rel(*(list(row.values("ID").values()) for row in (a, b)))
    assert found.p == pytest.approx(peer.pvalue, rel=0.03)
    interval = peer.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.01)
    zero = dataclasses.replace(seeds("z", (0.65,)), trains=False)
    share = zero.values("ID")[0]
    peer = stats.ttest_1samp(list(a.values("ID").values()), share)
    assert difference(a, zero, "ID").p == pytest.approx(peer.pvalue, rel=0.05)


def test_copies_of_one_seed_count_once_and_the_table_says_so():
    rng = np.random.default_rng(0)
    row = one_seed("x", {("id", "a"): rng.random(500) < 0.7})
    first = row.records[0]
    others = (
        first,
        dataclasses.replace(first, checkpoint="cd", seed=0),
        dataclasses.replace(first, checkpoint="cd", seed=3),
    )
    for other in others:
        copied = Row("x", {0: first, 1: other, 2: other})
        assert list(copied.seeds) == [0] and copied.estimate("ID") == row.estimate("ID")
        assert "counted once" in report.markdown([copied], None, "t")
        assert "one seed" in report.intervals_note([copied])
        assert data_files.plain_rows([copied], None)[0]["copies"] == copied.copies


def test_a_mean_without_spread_is_not_an_interval_of_zero():
    estimate = Estimate.of(accuracy("id", "a", "a", np.zeros(100, bool), 100))
    assert estimate.high > 0.03


def test_a_set_that_papers_report_by_class_counts_so_in_every_table():
    def row(label: str, a: Accuracy) -> Row:
        return Row(label, {0: EvalRecord("c" + label, label, "ft", 0, {}, (a,))})

    rows = [row("new", flowers()), row("old", without_classes())]
    assert rows[0].estimate("ZS").value == BY_CLASS and rows[1].estimate("ZS").value == TOP_1
    text = report.markdown(rows, rows[0], "study")
    assert text.count("flowers: mean per-class accuracy, as papers report it") == 2
    assert text.count("flowers: top-1 accuracy, where papers report mean per-class accuracy") == 2
    assert f"| new | {100 * BY_CLASS:.1f} [" in text and f"| old | {100 * TOP_1:.1f} [" in text
    assert (
        "ZS without a test: flowers is mean per-class accuracy of one, top-1 of the other" in text
    )
    plain = data_files.plain_rows(rows, None)
    assert plain[0]["columns"]["ZS"]["value"] == BY_CLASS
