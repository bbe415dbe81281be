"""From the options of an evaluation to the attacks that are run."""

import pytest

from grace_geom.attacks import AttackSpec
from grace_geom.errors import UserError
from grace_geom.evaluation import Measures, targets


def test_every_option_of_an_attack_reaches_it():
    given = Measures(attack="pgd", eps=0.5, norm="l2", alpha=0.1, steps=7, restarts=3)
    assert given.attack_specs() == (AttackSpec("pgd", 0.5, "l2", steps=7, restarts=3, alpha=0.1),)
    assert Measures(attack="square", queries=50).attack_spec().queries == 50


def test_the_default_is_the_same_attack_as_ever():
    assert Measures().attack_spec().settings(0, 10) == {
        "name": "apgd-ce",
        "eps": 4 / 255,
        "norm": "linf",
        "precision": "float32",
        "matmul": "highest",
        "seed": 0,
        "parts": [{"name": "apgd-ce", "loss": "ce", "steps": 100, "restarts": 1}],
    }


def test_robustvlm_is_measured_at_both_of_its_radii():
    asked = targets(Measures(attack="robustvlm", suites=("adv",)), "shapes")
    assert [t.attack.eps for t in asked if t.attack] == [2 / 255, 4 / 255]
    for eps in (2 / 255, 4 / 255):
        one = targets(Measures(attack="robustvlm", eps=eps, suites=("adv",)), "shapes")
        assert [t.attack.eps for t in one if t.attack] == [eps], "what is asked for, alone"


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"norm": "l2"}, "--norm l2 needs a radius of its own.*--eps 0.5"),
        ({"norm": "l1"}, "--eps 12"),
        ({"alpha": 0.1}, "--alpha has no effect on --attack apgd-ce"),
        ({"queries": 10}, "--queries has no effect on --attack apgd-ce"),
        ({"attack": "fgsm", "steps": 3}, "--steps has no effect on --attack fgsm"),
        ({"attack": "cw", "norm": "l2", "eps": 1.0, "restarts": 2}, "--restarts has no effect"),
        ({"attack": "cw"}, "take pgd-cw"),
        ({"norm": "l3", "eps": 1.0}, "unknown norm 'l3'"),
    ],
)
def test_options_that_mean_another_attack_are_refused(options: dict, answer: str):
    with pytest.raises(UserError, match=answer):
        Measures(**options)
