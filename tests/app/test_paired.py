"""Differences on the same images and over the same seeds: the numbers of the study's tables, and
none where nothing is the same.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from app import compare, paired, seeds, store
from app.store import Entry
from grace_geom.records import EvalRecord, pack, summarise
from grace_geom.study import Row
from grace_geom.study.rows import difference
from tests.app.conftest import accuracy, evaluation, write_run

COLUMNS = ("ID", "OOD", "Adv", "NatAdv", "ZS", "HM")


def record(name: str, clean: float, attacked: float, draw: int, n: int = 300) -> EvalRecord:
    """Answers that go with the hardness of each image, which all runs share."""
    hardness, own = np.random.default_rng(0).random(n), np.random.default_rng(draw)
    rows = []
    for a in evaluation(name, 1, 1, n=n).accuracies:
        right = 0.9 * hardness + 0.1 * own.random(n) < (attacked if a.attack else clean)
        share = float(right.mean())
        half = 1.96 * np.sqrt(share * (1 - share) / n)
        rows.append(
            replace(
                a,
                correct=int(right.sum()),
                accuracy=share,
                ci_low=share - half,
                ci_high=share + half,
                outcomes=pack(right),
            )
        )
    return EvalRecord("f" * 64, name, name.rpartition("-")[0], 0, {}, tuple(rows))


def entry(run: str, *numbers: float, draw: int) -> Entry:
    found = record(run.rpartition("/")[2], *numbers, draw=draw)
    return Entry(run, None, evaluation=found, estimates=summarise(found.accuracies))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def two():
    return entry("demo/at-s0", 0.7, 0.56, draw=1), entry("demo/grace-s0", 0.71, 0.5, draw=2)


def test_what_overlapping_intervals_hide_the_same_images_show(two):
    at, grace = two
    assert grace.estimates["Adv"].high > at.estimates["Adv"].low
    found = compare.lead("Adv", [grace, at], None)
    assert (found.best, found.rivals) == (at, ())
    a, b = (next(x for x in e.accuracies if x.attack).right() for e in two)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    gap = found.verdicts[0].gap
    assert gap.p == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)
    spread = np.std(a.astype(float) - b.astype(float)) / np.sqrt(len(a))  # of a mean of differences
    assert gap.value == pytest.approx((only_a - only_b) / len(a))
    assert (gap.low, gap.high) == pytest.approx(
        (gap.value - 1.96 * spread, gap.value + 1.96 * spread), abs=0.004
    )


@pytest.mark.parametrize("column", COLUMNS)
def test_differences_are_those_of_the_study(two, column):
    a, b = two
    ours, back = paired.gap(a, b, column), paired.gap(b, a, column)
    theirs = difference(Row("a", {0: a.evaluation}), Row("b", {0: b.evaluation}), column)
    assert (ours.value, ours.low, ours.high, ours.p) == (
        theirs.value,
        theirs.low,
        theirs.high,
        theirs.p,
    )
    assert (back.value, back.low, back.high, back.p) == (-ours.value, -ours.high, -ours.low, ours.p)


def test_without_the_same_images_only_intervals_are_left_and_it_is_said(two):
    at, grace = two
    totals = replace(
        grace.evaluation, accuracies=tuple(replace(a, outcomes="") for a in grace.accuracies)
    )
    other = replace(grace, evaluation=totals)
    assert paired.gap(at, other, "Adv") is None
    (verdict,) = compare.lead("Adv", [other, at], None).verdicts
    assert (verdict.clear, verdict.gap, verdict.reason) == (False, None, "")
    torn = replace(
        grace.evaluation, accuracies=tuple(replace(a, outcomes="A") for a in grace.accuracies)
    )
    assert paired.gap(at, replace(grace, evaluation=torn), "Adv") is None
    far = [accuracy(a.suite, a.data, 3, n=10, attack=a.attack) for a in grace.accuracies]
    elsewhere = replace(grace, evaluation=replace(grace.evaluation, accuracies=tuple(far)))
    assert "other images" in compare.lead("Adv", [elsewhere, at], None).verdicts[0].reason


def test_fewer_attacked_images_widen_the_interval_of_the_harmonic_mean(two):
    few = []
    for e in two:
        rows = [
            replace(
                a, n=100, outcomes=pack(a.right()[:100]), subset=a.subset | {"of": 300, "seed": 0}
            )
            if a.attack
            else a
            for a in e.accuracies
        ]
        few.append(replace(e, evaluation=replace(e.evaluation, accuracies=tuple(rows))))
    wide, narrow = paired.gap(*few, "HM"), paired.gap(*two, "HM")
    assert wide.high - wide.low > narrow.high - narrow.low


def study(root, **methods):
    """Runs with one clean accuracy for each seed."""
    for method, rates in methods.items():
        for seed, clean in enumerate(rates):
            folder = write_run(root, f"study/{method.replace('_', '-')}-s{seed}", None)
            record = evaluation(folder.name, clean, clean // 2)
            replace(record, seed=seed, checkpoint=f"{seed:064}").save(folder / "eval.json")
    found, _ = seeds.grouped(list(store.entries(root).values()))
    return {e.id.removeprefix("study/"): e for e in found}


def test_means_over_seeds_are_paired_by_their_seeds(tmp_path):
    known = study(tmp_path, at=(80, 84, 91), grace=(82, 85, 94), zero_shot=(60,), lora=(70,))
    rows = {
        name: Row(name, {m.seed: m.evaluation for m in e.members})
        for name, e in known.items()
        if e.members
    }
    ours, theirs = (
        paired.gap(known["grace"], known["at"], "ID"),
        difference(rows["grace"], rows["at"], "ID"),
    )
    assert (ours.value, ours.low, ours.high, ours.p) == pytest.approx(
        (theirs.value, theirs.low, theirs.high, theirs.p)
    )
    assert ours.on == "the same 3 seeds"
    zero = Row("zero-shot", {0: known["zero-shot-s0"].evaluation}, trains=False)
    against = (
        paired.gap(known["grace"], known["zero-shot-s0"], "ID"),
        difference(rows["grace"], zero, "ID"),
    )
    assert against[0].low == pytest.approx(against[1].low)


def test_there_is_no_verdict_between_a_mean_over_seeds_and_a_single_run(tmp_path):
    known = study(tmp_path, at=(80, 84, 91), lora=(30,))
    (verdict,) = compare.lead("ID", list(known.values()), None).verdicts
    assert not verdict.clear
    assert verdict.reason == "a mean over seeds and a single run"


def test_means_over_other_seeds_are_compared_by_their_intervals(tmp_path):
    known = study(tmp_path, at=(80, 81, 82), grace=(60, 61))
    (verdict,) = compare.lead("ID", list(known.values()), None).verdicts
    assert verdict.gap is None and not verdict.reason
    assert verdict.clear == (known["grace"].estimates["ID"].high < known["at"].estimates["ID"].low)


def test_points_are_written_with_true_signs():
    assert compare.points(paired.Gap(0.057, -0.0001, -0.09, 0.1, "")) == "+5.7 [0.0, −9.0]"


def test_grace_is_set_against_the_best_other_run(two):
    at, grace = two
    worse = entry("demo/ft-s0", 0.8, 0.1, draw=3)
    names = {e.id: e.id.rpartition("/")[2] for e in (*two, worse)}
    (said,) = compare.head_to_head([worse, grace, at], names)
    gap = compare.points(paired.gap(at, grace, "HM")).lstrip("+")
    assert f"{gap} behind **at-s0**" in said.replace("\\", "")
    assert said.startswith(f"**grace-s0**: HM {100 * grace.estimates['HM'].value:.1f} %, ")
    assert "ID +" in said and "Adv −" in said
    assert compare.head_to_head([worse, at], names)[0].startswith("**at-s0**: HM")
    assert compare.head_to_head([grace], names) == []
