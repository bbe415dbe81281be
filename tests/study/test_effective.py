"""Effective robustness in a study's reports, against scipy's regression by hand."""

import csv
import io
import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import linregress

from grace_geom.compare import summary
from grace_geom.methods import METHODS
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.shift import ShiftPanel, above_the_line
from grace_geom.records import EvalRecord
from grace_geom.records.effective import smoothed
from grace_geom.study import Row, data_files, report
from grace_geom.study.effective import CLEAN as OFFERED
from grace_geom.study.effective import MEAN, effective
from tests.stub_study import Stub, accuracy, study

N = 1000


def row(label: str, id_: float, ood: dict[str, float], seeds: int = 1, n: int = N) -> Row:
    method, records = label.partition(":")[0], {}
    for seed in range(seeds):
        shift = 0.02 * (seed - (seeds - 1) / 2)
        rows = [accuracy("id", "d", "d", np.arange(n) < round(n * (id_ + shift)), n)]
        rows += [
            accuracy("ood", name, name, np.arange(n) < round(n * (share + shift)), n)
            for name, share in ood.items()
        ]
        records[seed] = EvalRecord(f"{label}-{seed}", label, method, seed, {}, tuple(rows))
    return Row(label, records)


def sets(a: float, b: float) -> dict[str, float]:
    return {"sketch": a, "photo": b}


CLEAN = [
    row("zero-shot", 0.5, sets(0.42, 0.36)),
    row("ft", 0.7, sets(0.52, 0.46), seeds=2),
    row("lora", 0.65, sets(0.5, 0.44)),
    row("ft:lr=2", 0.8, sets(0.6, 0.5)),
]
ROBUST = row("grace", 0.6, sets(0.55, 0.5))


def test_the_line_goes_through_the_methods_trained_without_attack_a_point_each():
    found = effective([*CLEAN, ROBUST])
    assert [s.data for s in found.shifts] == [MEAN, "sketch", "photo"] and not found.lacking
    x = [ndtri(smoothed(i, N)) for i in (0.5, 0.7, 0.65, 0.8)]
    y = [ndtri(smoothed(o, N)) for o in (0.42, 0.52, 0.5, 0.6)]
    line = linregress(x, y)
    shift = found.shifts[1]
    assert (shift.line.slope, shift.line.intercept) == pytest.approx((line.slope, line.intercept))
    assert shift.line.n == 4
    robust = shift.placed[-1]
    foretold = float(ndtr(line.intercept + line.slope * ndtri(smoothed(0.6, N))))
    assert robust.label == "grace" and not robust.on_line
    assert robust.above.value == pytest.approx(0.55 - foretold)
    assert robust.above.low < robust.above.value < robust.above.high
    mean = found.column["grace"]
    x, y = x, [ndtri(smoothed(o, 2 * N)) for o in (0.39, 0.49, 0.47, 0.55)]
    line = linregress(x, y)
    foretold = float(ndtr(line.intercept + line.slope * ndtri(smoothed(0.6, N))))
    assert mean.value == pytest.approx(0.525 - foretold)


def test_every_report_has_it(tmp_path):
    rows = [*CLEAN, ROBUST]
    mean = effective(rows).column["grace"]
    text = report.markdown(rows, None, "study")
    number = f"{100 * mean.value:+.1f} ["
    assert "| HM | ER |" in text or "| OOD | ER |" in text
    assert text.count(number) == 2 and "| sketch | zero-shot * |" in text
    assert report.ER in text and "4 methods, R² = " in text
    (line,) = [r for r in csv.DictReader(io.StringIO(data_files.csv_text(rows)))
               if r["method"] == "grace"]  # fmt: skip
    assert float(line["effective_robustness"]) == pytest.approx(mean.value, rel=1e-5)
    plain = data_files.plain_rows(rows, None)[-1]["effective_robustness"]
    assert plain[MEAN]["value"] == mean.value and not plain["sketch"]["on_line"]
    said = summary(rows, None, 200)
    assert number in said and " ER" in said


def test_too_few_methods_without_attack_are_told_what_is_needed():
    rows = [*CLEAN[:2], ROBUST]
    text, said = report.markdown(rows, None, "study"), summary(rows, None, 100)
    assert "ER" not in report.main_table(rows).columns
    assert "effective_robustness" not in data_files.csv_text(rows).splitlines()[0]
    for shown in (text, " ".join(said.split())):
        assert "a line needs at least 3 models trained without attack, here are 2" in shown
        offered = re.findall(r"[\w-]+", shown.partition("to --methods, such as ")[2])[:3]
        assert len(offered) == 3
        assert set(offered) <= set(OFFERED) - {row.label for row in rows}


def test_what_is_offered_are_methods_without_attack():
    for name in OFFERED:
        assert "eps" not in {field.name for field in fields(METHODS[name])}


def test_a_reason_that_all_sets_share_is_told_once():
    (told,) = effective([*CLEAN[:2], ROBUST]).lacking
    assert told.startswith(f"{MEAN}, sketch, photo: a line needs at least 3 models")


def test_a_study_without_id_accuracies_is_told_to_add_them():
    rows = [
        Row(r.label, {s: replace(e, accuracies=e.accuracies[1:]) for s, e in r.seeds.items()})
        for r in [*CLEAN, ROBUST]
    ]
    assert all(a.suite == "ood" for r in rows for e in r.seeds.values() for a in e.accuracies)
    (told,) = effective(rows).lacking
    assert "add id to --suites" in told and "models" not in told
    assert told in " ".join(summary(rows, None, 100).split())


def test_methods_on_other_images_are_left_out_and_named():
    other = row("l2-sp", 0.9, sets(0.2, 0.2), n=500)
    found = effective([*CLEAN, other])
    assert found.shifts[0].line == effective(CLEAN).shifts[0].line
    assert "l2-sp" not in found.column
    assert found.shifts[0].notes[0].endswith("not those of the others: l2-sp")


def test_a_study_writes_the_figure_and_the_lines(tmp_path):
    methods = ("zero-shot", "ft", "lora", "grace")
    study(tmp_path, Stub(), methods=methods)[0].run()
    assert (tmp_path / "effective_robustness.png").read_bytes().startswith(b"\x89PNG")
    plain = json.loads((tmp_path / "table.json").read_text())
    assert plain["effective_robustness"]["lines"][MEAN]["n"] == 3
    assert plain["rows"][-1]["effective_robustness"][MEAN]["on_line"] is False


def test_the_figure_has_points_line_and_band_on_probit_axes():
    (shift,) = [s for s in effective([*CLEAN, ROBUST]).shifts if s.data == "sketch"]
    points = {p.label: (p.clean, p.shifted) for p in shift.placed}
    legend = Legend.of({p: Identity.of_label(p) for p in points}, {p: p for p in points})
    panel = ShiftPanel("sketch", shift.line, points, {p.label for p in shift.placed if p.on_line})
    figure = above_the_line([panel], legend)
    traces = {trace.name: trace for trace in figure.data}
    assert traces["grace"].x[0] == pytest.approx(ndtri(0.6))
    assert traces["grace"].y[0] == pytest.approx(ndtri(0.55))
    assert traces["ft"].marker.symbol.endswith("-open")
    assert not traces["grace"].marker.symbol.endswith("-open")
    line, band = traces["line"], traces["95 % band"]
    slope = (line.y[-1] - line.y[0]) / (line.x[-1] - line.x[0])
    assert slope == pytest.approx(shift.line.slope)
    at = float(ndtr(line.x[30]))
    assert (band.y[30], band.y[-31]) == pytest.approx([ndtri(v) for v in shift.line.at(at)[1:]])
    assert above_the_line([], legend) is None
