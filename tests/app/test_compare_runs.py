"""Who leads, by how much, and what may not be compared."""

from dataclasses import replace

import pytest
import yaml

from app import compare, seeds, store
from app.store import Entry
from grace_geom.analysis.objective import GROUPS
from grace_geom.known_analyses import ANALYSES
from grace_geom.methods.lora import ATTENTION_AND_MLP
from grace_geom.records import EvalRecord, attack_said, how_intervals, titles
from tests.app.conftest import APGD, evaluation
from tests.records.flowers import BY_CLASS, flowers, without_classes


@pytest.fixture
def known(runs):
    return store.entries(runs)


def test_the_leader_of_each_column_and_its_gain(known):
    chosen, base = list(known.values()), known["demo/zero-shot-s0"]
    accurate = compare.lead("ID", chosen, base)
    robust = compare.lead("Adv", chosen, base)
    assert accurate.best.id == "demo/ft-s0"
    assert accurate.delta == pytest.approx(0.3)
    assert robust.best.id == "demo/grace-s0"
    assert robust.delta == pytest.approx(0.45)
    assert robust.rivals == ()
    assert compare.lead("Adv", chosen, robust.best).delta is None


def test_rivals_are_those_whose_intervals_overlap(known):
    close = replace(known["demo/grace-s0"], id="demo/other-s0")
    assert [e.id for e in compare.lead("HM", [*known.values(), close], None).rivals] == [
        "demo/other-s0"
    ]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"n": 200}, "other images"),
        ({"subset": {"ids_sha256": "other"}}, "other images"),
        ({"spec": "cifar"}, "data cifar"),
    ],
)
def test_other_images_cannot_be_compared(known, more, reason):
    other = replace(known["demo/ft-s0"], evaluation=evaluation("ft-s0", 90, 10, **more))
    assert reason in compare.incomparable(other, known["demo/grace-s0"], ("id",))
    assert compare.delta(other, known["demo/grace-s0"], "ID") is None


def of_content(content):
    """``subset`` of 100 images that have the same numbers in the data set."""
    return {"of": 100, "seed": 0, "ids_sha256": "abc"} | ({"content": content} if content else {})


def test_the_same_numbers_in_a_changed_set_are_other_images(known):
    grace, ft = known["demo/grace-s0"], known["demo/ft-s0"]
    now = {}
    for key, content in (("new", "2" * 64), ("old", "1" * 64), ("unknown", "")):
        record = evaluation("ft-s0", 90, 10, subset=of_content(content))
        now[key] = replace(ft, evaluation=record)
    mine = replace(grace, evaluation=evaluation("grace-s0", 80, 50, subset=of_content("1" * 64)))
    reason = compare.incomparable(now["new"], mine, ("id",))
    assert reason == "other images, labels or class names in shapes:shapes (id/shapes)"
    assert compare.delta(now["new"], mine, "ID") is None
    assert not compare.lead("ID", [now["new"], mine], None).verdicts[0].clear
    for key in ("old", "unknown"):
        assert compare.incomparable(now[key], mine, ("id",)) == ""


def test_another_attack_cannot_be_compared_but_clean_numbers_can(known):
    record = known["demo/ft-s0"].evaluation
    rows = [
        replace(a, attack=APGD | {"eps": 8 / 255}) if a.attack else a for a in record.accuracies
    ]
    other = replace(known["demo/ft-s0"], evaluation=replace(record, accuracies=tuple(rows)))
    assert "attack" in compare.incomparable(other, known["demo/grace-s0"], ("adv",))
    assert compare.delta(other, known["demo/grace-s0"], "ID") == pytest.approx(0.1)


def test_only_settings_that_differ_are_named(known):
    other = compare.differing([known["demo/ft-s0"], known["demo/grace-s0"]])
    assert other == {
        "demo/ft-s0": {"method": "ft"},
        "demo/grace-s0": {"method": "grace", "rho": 0.01},
    }


def test_settings_of_a_training_that_never_was_are_not_listed(runs):
    for run, lr in (("zero-shot", 3e-5), ("ft", 1e-3), ("grace", 2e-3)):
        path = runs / f"demo/{run}-s0/config.yaml"
        plain = yaml.safe_load(path.read_text()) | {
            "lr": lr,
            "weight_decay": 0.0 if run == "zero-shot" else 0.1,
        }
        path.write_text(yaml.safe_dump(plain))
    other = compare.differing(list(store.entries(runs).values()))
    assert other["demo/zero-shot-s0"] == {"method": "zero-shot"}
    assert (other["demo/ft-s0"]["lr"], other["demo/grace-s0"]["lr"]) == (1e-3, 2e-3)
    assert "weight_decay" not in other["demo/ft-s0"]  # the trained ones agree


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("eps", 4 / 255, "4/255"), ("eps", 0.01568627450980392, "4/255"), ("alpha", 0.5 / 255, "0.5/255"),
     ("alpha", 0.5, "0.5"), ("alpha", 0.05, "0.05"), ("lr", 4 / 255, str(4 / 255)), ("eps", 0, "0")],
)  # fmt: skip
def test_pixels_are_written_in_255ths_and_shares_are_not(key, value, said):
    assert compare.written(key, value) == said


def test_a_caption_says_estimator_n_seed_and_interval(known):
    said = compare.how_measured(list(known.values()), ("id", "adv"))
    for part in ("100 images", "APGD-CE, ε = 4/255, 20 steps", "seed 0", "95 %", "Wilson"):
        assert part in said


def test_a_caption_calls_an_attack_as_its_legend_does():
    said = attack_said(APGD | {"precision": "float32"})
    assert said == "APGD-CE, ε = 4/255, 20 steps, float32"
    assert attack_said(APGD, "name") == "APGD-CE, ε = 4/255"
    old = {"name": "autoattack", "eps": 0.5, "norm": "l2", "parts": [{"steps": 3}]}
    assert attack_said(old) == "AutoAttack, ε = 0.5 (l2), 3 steps"  # no precision on record


def test_a_caption_says_of_means_and_hm_what_the_tables_say(known):
    e = known["demo/ft-s0"]
    columns = [found for found in e.estimates.values() if found]
    by_images = compare.how_measured([e], ("id",))
    assert how_intervals(columns) in by_images and "variance over images" in by_images
    totals = {key: found and replace(found, how="by totals") for key, found in e.estimates.items()}
    by_totals = compare.how_measured([replace(e, estimates=totals)], ("id",))
    assert "sets taken as independent" in by_totals
    other = replace(e, evaluation=replace(e.evaluation, seed=1))
    mean = compare.how_measured([replace(e, members=(e, other))], ("id",))
    assert "spread over seeds (Student's t) and over the test images" in mean


def test_mean_per_class_accuracies_are_told_and_not_set_against_top_1(tmp_path):
    known = {
        name: Entry(f"demo/{name}-s0", tmp_path, evaluation=EvalRecord("c", name, "", 0, {}, (a,)))
        for name, a in (("new", flowers()), ("old", without_classes()))
    }
    assert "flowers: mean per-class accuracy" in compare.how_measured([known["new"]], ("zeroshot",))
    assert "flowers: top-1 accuracy, where" in compare.how_measured([known["old"]], ("zeroshot",))
    reason = compare.incomparable(known["new"], known["old"], ("zeroshot",))
    assert reason.startswith("mean per-class accuracy of one, top-1 of the other")
    two = [replace(known["new"], id=f"demo/new-s{s}") for s in (0, 1)]
    two = [
        replace(e, evaluation=replace(e.evaluation, checkpoint=e.id, seed=int(e.id[-1]),
                settings={"model": {"weights": e.id, "head": "h"}}))
        for e in two
    ]  # fmt: skip
    ((mean,), _) = seeds.grouped(two)
    assert mean.estimates["ZS"].value == BY_CLASS
    assert "mean per-class accuracy" in compare.how_measured([mean], ("zeroshot",))
    assert "top-1 accuracy, where" not in compare.how_measured([mean], ("zeroshot",))


@pytest.mark.parametrize(
    ("value", "said"),
    [(100000.0, "100,000"), (1e-6, "10⁻⁶"), (3e-5, "3·10⁻⁵"), (0.0, "0"), (80.0, "80"), (-1.5, "−1.5"),
     (0.0001, "0.0001"), (7, "7"), ({}, "none"), ("{}", "none"), (True, "on"), (None, "none"),
     ("not a {}", "not a {class}")],
)  # fmt: skip
def test_tables_have_no_raw_values(value, said):
    assert compare.told("x", value) == said
    assert compare.told("eps", 4 / 255) == "4/255"
    assert compare.told("curvature_labels", "true") == "of the data"


def test_weights_and_analyses_have_words():
    assert compare.told("targets", GROUPS["visual"]) == "image tower"
    assert compare.told("targets", ATTENTION_AND_MLP) == "attention and MLP matrices"
    assert compare.told("targets", "^visual.conv1") == "^visual.conv1"
    assert titles.ANALYSES.keys() == ANALYSES.keys()
