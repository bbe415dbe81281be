"""What ``compare`` shows of its rows: tables, notes, files and figure."""

import csv
import dataclasses
import itertools
import math

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from grace_geom.compare import summary
from grace_geom.evaluation.table import accuracy_table
from grace_geom.plots import static
from grace_geom.plots.palette import look
from grace_geom.records import how_intervals, summarise
from grace_geom.records.statistics import wilson
from grace_geom.study import Row, data_files, figure, report
from grace_geom.study.rows import difference
from tests.stub_study import Stub, accuracy, one_seed, study


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


@pytest.mark.drawn
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
            boxes = [Text.get_window_extent(t) for t in texts]  # without the lines to points
            assert len(boxes) == len(rows)
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
            inside = page.bbox
            assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 for b in boxes)
    written = figure.tradeoff(rows, tmp_path / "t.png")
    assert Image.open(written).width > 1000
    assert figure.tradeoff(rows[:1], tmp_path / "none.png") is None
