"""Columns of single attacks and sets: one for each question, and a name that tells it."""

import dataclasses

import numpy as np
import pytest

from grace_geom.records import EvalRecord
from grace_geom.study import Row, data_files, report
from grace_geom.study.figure import attack_label
from grace_geom.study.sets import column_names, whole_attack
from tests.stub_study import accuracy


def attacked(right: int, data: str = "a", **more: int):
    """``right`` of 100 under APGD of two parts; ``more`` is of the second."""
    parts = [{"name": "apgd-ce", "steps": 20}, {"name": "apgd-t", "steps": 20} | more]
    attack = {"name": "apgd", "eps": 4 / 255, "precision": "float32", "seed": 0, "parts": parts}
    done = tuple(
        {"name": part["name"], "robust": right, "ci_low": 0.0, "ci_high": 1.0} for part in parts
    )
    found = accuracy("adv", data, data, np.arange(100) < right, 100, attack)
    return dataclasses.replace(found, parts=done)


def corrupted(suite: str, right: int):
    """A set of one corruption at one severity."""
    group = {"name": "fog/1", "n": 100, "correct": right, "accuracy": right / 100}
    found = accuracy(suite, "c", "c", np.arange(100) < right, 100)
    return dataclasses.replace(found, groups=(group,))


def row_of(label: str, *seeds) -> Row:
    def record(k: int, accuracies) -> EvalRecord:
        return EvalRecord(f"{label}{k}" * 9, f"{label}-s{k}", label, k, {}, tuple(accuracies))

    return Row(label, {k: record(k, found) for k, found in enumerate(seeds)})


@pytest.mark.parametrize("more", [{"targets": 9}, {"queries": 500}, {"data": "b"}, {"hidden": 1}])
def test_attacks_that_differ_in_anything_have_columns_of_their_own(more: dict):
    rows = [row_of("x", [attacked(40), attacked(20, **more)]), row_of("y", [attacked(30)])]
    both, one = report.suite_estimates(rows)
    assert sorted(e.value for e in both.values()) == [0.2, 0.4], "no mean of two attacks"
    assert [e.value for e in one.values()] == [0.3] and one.keys() < both.keys()
    (shared,) = one
    assert both[shared].value == 0.4
    assert data_files.plain_rows(rows, None)[0]["whole_attacks"].keys() == both.keys()
    table = report.suite_table(rows)
    assert table is not None and set(both) <= set(table.columns)
    words = {"targets": "9 targets", "queries": "500 queries", "data": "b: ", "hidden": "(2)"}
    assert any(words[next(iter(more))] in name for name in both)


def test_an_attack_alone_keeps_its_short_name():
    rows = [row_of("x", [attacked(40, targets=9)], [attacked(50, targets=9)])]
    (name,) = column_names(rows, whole_attack).values()
    assert name == "apgd 4/255, 20 steps, float32"
    assert report.suite_estimates(rows)[0][name].value == pytest.approx(0.45)


def test_one_set_in_two_suites_is_two_sets_of_corruptions():
    rows = [row_of("x", [corrupted("ood", 80), corrupted("zeroshot", 40)])]
    (levels,) = report.corruption_levels(rows)
    assert levels == {"ood: c": {"fog": {"1": 0.8}}, "zeroshot: c": {"fog": {"1": 0.4}}}


def test_seeds_under_other_attacks_make_no_mean():
    rows = [row_of("x", [attacked(40)], [attacked(20, targets=9)])]
    assert report.suite_estimates(rows) == [{}]
    table = report.lacking(rows, whole_attack)
    assert len(table) == 2 and all("1 of 2 seeds" in note for note in table)
    assert "9 targets" in table[1]


def test_images_of_another_checkpoint_are_no_whole_attack():
    own, source = attacked(40), {"run": "other", "sha256": "ab" * 32}
    moved = dataclasses.replace(own, attack=own.attack | {"source": source})
    assert whole_attack(own) and not whole_attack(moved)
    assert report.suite_table([row_of("x", [moved])]) is None


def test_the_axis_of_the_figure_names_the_attack_that_is_drawn():
    assert attack_label([row_of("x", [attacked(40)])]) == "Accuracy under APGD-CE, ε = 4/255 (%)"
    wide = dataclasses.replace(
        attacked(40), attack=attacked(40).attack | {"norm": "l2", "eps": 0.5}
    )
    assert attack_label([row_of("x", [wide])]) == "Accuracy under APGD-CE, ε = 0.5 (l2) (%)"
    assert attack_label([row_of("x", [])]) == "Adversarial accuracy (%)"
