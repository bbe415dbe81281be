"""One attack is told in the same words everywhere."""

import pytest

from grace_geom.attacks import AttackSpec
from grace_geom.records import attack_text, radius_text

PGD = AttackSpec("pgd", 4 / 255, steps=20).settings(seed=3, classes=10)


def test_an_attack_in_words_by_detail():
    assert attack_text(PGD, "name") == "pgd 4/255"
    assert attack_text(PGD) == "pgd 4/255, 20 steps, 1 restart, float32"
    assert attack_text(PGD, "all") == (
        "pgd 4/255, ce loss, 20 steps, 1 restart, step 1/255, float32, seed 3"
    )
    assert attack_text(None) == attack_text(None, "all") == ""


def test_what_is_many_and_what_is_of_another_norm():
    l2 = AttackSpec("pgd", 0.5, "l2", steps=1, restarts=3, alpha=0.1, precision="float64")
    assert attack_text(l2.settings(0, 10)) == "pgd 0.5 (l2), 1 step, 3 restarts, float64"
    assert "step 0.1 (l2)" in attack_text(l2.settings(0, 10), "all")
    assert radius_text(0.5 / 255) == "0.5/255"


def test_parts_of_a_suite_are_told_apart():
    suite = AttackSpec("autoattack", 4 / 255).settings(seed=0, classes=3)
    said = attack_text(suite, "all")
    assert "apgd-ce (ce loss, 100 steps, 1 restart)" in said
    assert "2 targets)" in said and "square (margin loss, 5000 queries" in said
    assert attack_text(suite) == "autoattack 4/255, 100 steps, 1 restart, float32"
    two = attack_text(AttackSpec("apgd", 4 / 255, steps=5).settings(0, 3), "all")
    assert two.startswith("apgd 4/255, apgd-ce (ce loss, 5 steps, 1 restart), apgd-t (")


def test_a_norm_and_what_only_some_attacks_have_are_told():
    l1 = AttackSpec("autoattack", 12.0, "l1").settings(0, 10)
    assert attack_text(l1) == "autoattack 12 (l1), 100 steps, 5 restarts, float32"  # the first part
    l1 = attack_text(l1, "all")
    assert l1.startswith(
        "autoattack 12 (l1), apgd-ce (ce loss, 100 steps, 5 restarts, radii 3, 2, "
    )
    cw = AttackSpec("cw", 0.5, "l2").settings(0, 10)
    assert attack_text(cw) == "cw 0.5 (l2), 1000 steps, float32"
    assert "margin loss, 1000 steps, 9 values of c" in attack_text(cw, "all")
    assert "20 draws a gradient" in attack_text(AttackSpec("autoattack-rand").settings(0, 3), "all")
    assert attack_text(AttackSpec("fgsm", 2 / 255).settings(0, 3), "all") == (
        "fgsm 2/255, ce loss, 1 step, 1 restart, step 2/255, float32, seed 0"
    )


@pytest.mark.parametrize("known", [{}, {"parts": []}, {"parts": [{"name": "pgd"}]}])
def test_what_an_older_record_does_not_hold_is_said_or_left_out(known):
    attack = {"name": "pgd", "eps": 4 / 255} | known
    assert attack_text(attack) == "pgd 4/255"
    assert attack_text(attack, "all") == "pgd 4/255, precision unknown, seed None"
