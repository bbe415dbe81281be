"""The tables of corruption error and effective robustness."""

import dataclasses

import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import linregress

from grace_geom.evaluate import main
from grace_geom.evaluation.shift_tables import (
    corruption_error_table,
    effective_table,
    without_attack,
)
from grace_geom.records import EvalRecord, RecordError
from grace_geom.records.effective import share_of
from tests.evaluation.test_evaluate import outcome, run  # noqa: F401
from tests.records.test_corruption import ALEXNET as ERRORS
from tests.records.test_corruption import RESNET50, accuracy, corrupted


def record(method: str, seed: int, *accuracies) -> EvalRecord:
    return EvalRecord(f"{seed:064d}", f"{method}-{seed}", method, seed, {}, accuracies)


def ood(share: float, n: int = 10_000):
    return dataclasses.replace(accuracy(share, n), suite="ood", data="sketch")


def test_corruption_errors_are_printed_with_their_convention():
    c = corrupted({name: RESNET50[name] / 100 * e for name, e in ERRORS.items()})
    c = dataclasses.replace(c, suite="ood", data="c")
    table = corruption_error_table([record("ft", 0, accuracy(0.761), c)])
    (row,) = table.rows
    assert [round(100 * cell.value, 1) for cell in row[3:5]] == pytest.approx([76.9, 105], abs=1)
    assert "AlexNet" in table.text(100)
    cifar = dataclasses.replace(c, spec="folder:cifar10-c")
    table = corruption_error_table([record("ft", 0, accuracy(0.761), cifar)])
    assert [cell.value for cell in table.rows[0][3:5]] == [None, None]
    assert "AlexNet" not in table.text(100) and "CIFAR-10-C" in table.text(100)
    assert corruption_error_table([record("ft", 0, accuracy(0.5))]) is None


def test_the_line_goes_through_models_trained_without_attack():
    clean = [(0.6, 0.41), (0.7, 0.52), (0.8, 0.6), (0.75, 0.57)]
    records = [record("ft", i, accuracy(a), ood(b)) for i, (a, b) in enumerate(clean)]
    robust = record("grace", 9, accuracy(0.7), ood(0.6))
    table = effective_table([*records, robust])
    x, y = ([ndtri(share_of(r.accuracies[i])) for r in records] for i in (0, 1))
    line = linregress(x, y)
    foretold = float(ndtr(line.intercept + line.slope * ndtri(0.7)))
    row = table.rows[-1]
    assert row[1] == "grace-9" and table.rows[0][1] == "ft-0 *"
    assert row[4].value == pytest.approx(foretold, abs=1e-4)
    assert row[5].value == pytest.approx(0.6 - foretold, abs=1e-4)
    assert "4 models" in table.text(120)


def test_all_right_has_a_line_and_what_is_subtracted_is_what_is_printed():
    clean = [(0.6, 0.41), (0.8, 0.52), (1.0, 0.6)]
    table = effective_table(
        [record("ft", i, accuracy(a, 50), ood(b, 50)) for i, (a, b) in enumerate(clean)]
    )
    for *_, shifted, foretold, above in table.rows:
        assert above.value == pytest.approx(shifted.value - foretold.value, abs=1e-12)
    assert "nan" not in table.text(200)


def test_only_checkpoints_on_the_same_images_share_a_line():
    shares = ((0.6, 0.41), (0.7, 0.52), (0.8, 0.6))
    records = [record("ft", i, accuracy(a), ood(b)) for i, (a, b) in enumerate(shares)]
    alone = effective_table(records)
    other = [
        record("ft", 7, accuracy(0.9), dataclasses.replace(ood(0.2), spec="folder:other")),
        record("ft", 8, dataclasses.replace(accuracy(0.9), spec="digits"), ood(0.2)),
        record("ft", 9, accuracy(0.9), ood(0.2, 500)),
    ]
    table = effective_table([*records, *other])
    assert table.rows == alone.rows
    assert "sketch: left out" in table.text(300) and "ft-7, ft-8, ft-9." in table.text(300)
    with pytest.raises(RecordError, match=r"here are 2.*left out.*ft-7"):
        effective_table([*records[:2], other[0]])


def test_a_set_without_a_line_leaves_the_others_theirs():
    shares = ((0.6, 0.41), (0.7, 0.52), (0.8, 0.6))
    records = [record("ft", i, accuracy(a), ood(b)) for i, (a, b) in enumerate(shares)]
    rare = dataclasses.replace(ood(0.3), data="rare")
    more = [dataclasses.replace(records[0], accuracies=(*records[0].accuracies, rare))]
    table = effective_table(more + records[1:])
    assert [row[0] for row in table.rows] == ["sketch"] * 3
    assert "rare: a line needs at least 3 models" in table.text(300)


def test_methods_with_an_attack_and_foreign_checkpoints_are_not_on_the_line():
    for method, expected in (("ft", True), ("zero-shot", True), ("grace", False), ("at", False)):
        assert without_attack(record(method, 0)) is expected
    assert not without_attack(record("", 0))
    with pytest.raises(RecordError, match=r"sketch: a line needs at least 3 .* here are 2"):
        effective_table([record(m, i, accuracy(0.5 + i / 10), ood(0.4))
                         for i, m in enumerate(("ft", "ft", "grace"))])  # fmt: skip


def test_too_few_models_are_refused_before_anything_is_measured(run, capsys):  # noqa: F811
    code, text = outcome(capsys, str(run), "--suites", "id,ood", "--effective-robustness")
    assert code == 2 and "name more checkpoints" in text and len(text.splitlines()) <= 4
    assert not (run / "eval.json").exists()


def test_without_a_line_the_main_table_is_printed_all_the_same(run, capsys):  # noqa: F811
    with pytest.raises(SystemExit) as stop:
        main([str(run)] * 3 + ["--suites", "id", "--effective-robustness"])
    said = capsys.readouterr()
    assert stop.value.code == 2 and "add --suites id,ood" in said.err
    assert "Top-1 accuracy" in said.out and "written: " in said.out
