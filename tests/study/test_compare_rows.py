"""What ``compare`` says of its runs: the rows' numbers, their differences, tables and figure."""

import csv
import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from grace_geom.compare import summary
from grace_geom.data import resolve
from grace_geom.evaluation.table import accuracy_table
from grace_geom.plots import static
from grace_geom.plots.palette import look
from grace_geom.records import (
    Accuracy,
    Estimate,
    EvalRecord,
    how_intervals,
    image_difference,
    list_runs,
    summarise,
)
from grace_geom.records.statistics import wilson
from grace_geom.study import Row, data_files, figure, report
from grace_geom.study.rows import difference
from tests.records import crossed_by_hand as by_hand
from tests.records.flowers import BY_CLASS, TOP_1, flowers, without_classes
from tests.stub_study import Stub, accuracy, outcomes, rows_by_label, study


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
    assert (tmp_path / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


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


def test_a_cost_that_is_a_bound_says_so_everywhere():
    bound, known = (
        dataclasses.replace(one_seed(m, {("id", "a"): np.ones(9, bool)}), cost=22.14)
        for m in ("a", "b")
    )
    bound = dataclasses.replace(bound, at_most=True)
    text = report.cost_table([bound, known]).markdown()
    assert "≤ 22.1" in text and text.count("22.1") == 2 and "attack_looks" in text
    assert "attack_looks" not in report.cost_table([known]).markdown()
    written = csv.DictReader(data_files.csv_text([bound, known]).splitlines())
    assert {row["method"]: row["step_at_most"] for row in written} == {"a": "yes", "b": ""}
    assert [row["step_at_most"] for row in data_files.plain_rows([bound, known], None)] == [
        True,
        False,
    ]


def test_a_method_without_any_run_is_a_row_of_dashes(tmp_path):
    one, _ = study(tmp_path, Stub(fails="ft"), seeds=(0,))
    rows = one.run()
    text = summary(rows, one.baseline(rows), 100)
    line = next(line for line in text.splitlines() if line.startswith("ft (failed)"))
    assert line.split()[2:] == ["-"] * 4
    assert "failed: ft: seed 0: RuntimeError: no such luck" in text


def test_the_papers_tables_stand_apart_where_the_study_has_their_rows():
    def titles(*labels: str) -> dict[str, list[str]]:
        found = report.grouped(
            [one_seed(label, {("id", "a"): np.ones(9, bool)}) for label in labels]
        )
        return {
            title.split("(")[1][:-1]: [row.label for row in some] for title, some in found.items()
        }

    assert titles("ft", "lora", "grace", "mine") == {"Table 6": ["ft", "lora", "grace", "mine"]}
    rows = ("ft", "lora", "lora-at", "grace:gv=off", "grace:lar=off", "grace")
    assert titles(*rows) == {
        "Table 6": ["ft", "grace"],
        "Table 7": ["lora", "lora-at", "grace"],
        "Table 8": ["lora", "grace:lar=off", "grace:gv=off", "grace"],
    }
    table = data_files.csv_text(
        [one_seed(label, {("id", "a"): np.ones(9, bool)}) for label in rows]
    )
    by_label = {row["method"]: row["tables"] for row in csv.DictReader(table.splitlines())}
    assert by_label["grace"].count("Table") == 3 and "Table 6" not in by_label["lora-at"]


def one_seed(label: str, cells: dict[tuple[str, str], np.ndarray]) -> Row:
    attack = {"name": "apgd-ce", "eps": 4 / 255, "parts": []}
    found = [
        accuracy(s, d, d, right, len(right), attack if s == "adv" else None)
        for (s, d), right in cells.items()
    ]
    return Row(label, {0: EvalRecord("ab", label, label, 0, {}, tuple(found)).summed()})


def test_tables_of_studies_and_evaluations_say_the_same_of_their_intervals():
    rng = np.random.default_rng(1)
    keys = [("id", "a"), ("ood", "b"), ("ood", "c")]
    row = one_seed("x", {key: rng.random(500) < 0.6 for key in keys})
    said = how_intervals(summarise(row.records[0].accuracies).values())
    assert "of means and HM: Wilson's at their variance over images" in said
    assert f"one seed, {said}:" in report.intervals_note([row])
    assert accuracy_table([row.records[0]]).notes[0] == f"Top-1 accuracy in %, {said}."
    alone = one_seed("x", {("id", "a"): rng.random(500) < 0.6})
    assert "one seed, Wilson 95 % intervals:" in report.intervals_note([alone])
    bare = [dataclasses.replace(a, outcomes="") for a in row.records[0].accuracies]
    totals = how_intervals(summarise(bare).values())
    assert "sets taken as independent" in totals and "variance over images" not in totals


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


def suite_row(label: str, share: float, steps: int = 100) -> Row:
    rng = np.random.default_rng(0)
    row = one_seed(
        label, {("id", "a"): rng.random(200) < share, ("ood", "b"): rng.random(200) < share - 0.2}
    )
    parts = [
        {"name": name, "loss": "ce", "steps": steps, "restarts": 1}
        for name in ("apgd-ce", "apgd-t")
    ]
    attack = {"name": "apgd", "eps": 4 / 255, "precision": "float32", "seed": 0, "parts": parts}
    low, high = wilson(50, 200)
    done = (
        {"name": "apgd-ce", "robust": 50, "ci_low": low, "ci_high": high},
        {"name": "apgd-t", "robust": 30},
    )
    adv = dataclasses.replace(
        accuracy("adv", "a", "a", np.arange(200) < 30, 200, attack), parts=done
    )
    record = row.records[0]
    return Row(
        label, {0: dataclasses.replace(record, accuracies=(*record.accuracies, adv)).summed()}
    )


def test_an_attack_of_several_parts_leaves_the_other_columns_paired_and_is_shown_whole():
    rows = [suite_row("x", 0.8), suite_row("y", 0.6)]
    assert difference(*rows, "ID").p < 1 and difference(*rows, "OOD").low > 0
    found = difference(*rows, "Adv")
    assert (
        math.isnan(found.p)
        and found.how == "Adv without a test: apgd-ce has a total, no outcome for each image"
    )
    (name,) = report.suite_estimates(rows)[0]
    assert name.startswith("apgd 4/255") and report.suite_estimates(rows)[0][name].value == 0.15
    assert "25.0 [" in report.markdown(rows, None, "t") and "15.0 [" in report.markdown(
        rows, None, "t"
    )
    assert float(next(csv.DictReader(data_files.csv_text(rows).splitlines()))[name]) == 0.15
    assert data_files.plain_rows(rows, None)[0]["whole_attacks"][name]["value"] == 0.15
    assert "15.0" in summary(rows, rows[1], 100)


def test_the_note_lists_every_attack_behind_the_rows():
    note = report.attack_note(
        [suite_row("x", 0.8), suite_row("y", 0.6, steps=7), suite_row("z", 0.6)]
    )
    assert note.count("100 steps") == 1 and note.count("7 steps") == 1


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


def test_a_set_that_one_seed_lacks_has_no_mean_beside_others_over_all():
    rng = np.random.default_rng(0)
    cells = [{("id", "a"): rng.random(300) < 0.7, ("ood", "b"): rng.random(300) < p}
             for p in (0.2, 0.8)]  # fmt: skip
    cells[1]["ood", "c"] = rng.random(300) < 0.5
    first, second = (one_seed("x", some).records[0] for some in cells)
    row = Row("x", {0: first, 1: dataclasses.replace(second, seed=1, checkpoint="other")})
    assert report.set_estimate(row, "ood", "c") is None
    both = report.set_estimate(row, "ood", "b")
    assert both.value == pytest.approx(np.mean([c["ood", "b"].mean() for c in cells]))
    table = report.sets_table([row], "ood", "OOD sets")
    assert table.notes[-1] == "x: c was measured on 1 of 2 seeds, which make no mean."
    assert not report.sets_table([Row("x", {0: first})], "ood", "OOD sets").notes


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


def test_the_figure_has_a_look_for_each_method_and_a_name_at_each_point(tmp_path):
    rng = np.random.default_rng(3)
    rows = []
    for label, p in {
        "zero-shot": 0.6,
        "ft": 0.75,
        "lora": 0.74,
        "wise-ft": 0.745,
        "at": 0.5,
        "grace": 0.7,
    }.items():
        cells = {("id", "a"): rng.random(800) < p, ("ood", "b"): rng.random(800) < p - 0.2}
        rows.append(one_seed(label, cells | {("adv", "a"): rng.random(300) < abs(0.7 - p)}))
    found = figure.drawn(rows)
    note = "95 % intervals over images; n = 800 (ID), 300 (Adv), 800 (each OOD set) images; seed 0"
    assert note in found.layout.annotations[-1].text.replace("<br>", " ")
    for column, axis in (("Adv", "x"), ("OOD", "x2")):
        named = {t.name: t for t in found.data if t.text and t.xaxis == axis}
        assert list(named) == [row.label for row in rows]
        for row in rows:
            trace, x, y = named[row.label], row.estimate("ID"), row.estimate(column)
            assert (trace.x[0], trace.y[0]) == (100 * x.value, 100 * y.value)
            assert trace.error_y.array[0] == pytest.approx(100 * (y.high - y.value))
            assert (trace.marker.color, trace.marker.symbol) == (
                look(row.label).color,
                look(row.label).marker,
            )
    with static.style():
        page = static.draw(found, figure.PAGE, static.inches_high(found))
        page.canvas.draw()
        for ax in page.axes:
            texts = [t for t in ax.texts if t.get_text().strip() in {row.label for row in rows}]
            boxes = [t.get_window_extent() for t in texts]
            assert len(boxes) == len(rows)
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
            inside = page.bbox
            assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 for b in boxes)
    written = figure.tradeoff(rows, tmp_path / "t.png")
    assert written.read_bytes().startswith(b"\x89PNG")
    assert figure.tradeoff(rows[:1], tmp_path / "none.png") is None


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
