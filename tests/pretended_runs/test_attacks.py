"""The evaluation's attacks find on a pretended GPU what they find on the CPU."""

import pytest

from grace_geom.attacks import AttackSpec
from grace_geom.attacks.balls import BALLS
from grace_geom.attacks.spec import LOSSES, SUITES
from grace_geom.evaluation import evaluate_set
from grace_geom.models import vit
from tests.pretended_runs.there import gpu
from tests.test_distributed import noisy_set
from tests.toys import toy_clip

RADII = {"linf": 4 / 255, "l2": 0.5, "l1": 8.0}


def same_outcomes(name: str, norm: str, monkeypatch, precision: str = "float32") -> None:
    monkeypatch.setattr(vit, "SHORT", 0)  # else the CPU computes attention in another order
    attack = AttackSpec(
        name, RADII[norm], norm, steps={"fgsm": 1, "cw": 2}.get(name, 4), queries=6, targets=2,
        restarts=None if name in ("fgsm", "autoattack-plus", "robustvlm") else 1,
        precision=precision,
    )  # fmt: skip

    def outcomes(device: str):
        model = toy_clip().to(device)
        return evaluate_set(model, noisy_set(), "adv", "x", attack=attack, batch_size=16)

    with gpu():
        there = outcomes("cuda")
    here = outcomes("cpu")
    assert there.outcomes == here.outcomes
    for ours, theirs in zip(there.parts, here.parts, strict=True):
        for key in ("name", "attacked", "robust", "outcomes"):  # a GPU drops images less often
            assert ours[key] == theirs[key]


PLAIN = [(name, "l2" if name == "cw" else "linf") for name in LOSSES]
ALL = [
    (name, norm)
    for name in SUITES
    for norm in BALLS
    if (name, norm) not in PLAIN and (name != "cw" or norm == "l2")
]


@pytest.mark.parametrize("name, norm", PLAIN)
def test_an_attack_has_the_outcomes_of_the_cpu(name: str, norm: str, monkeypatch):
    same_outcomes(name, norm, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("name, norm", ALL)
def test_every_attack_in_every_norm_has_the_outcomes_of_the_cpu(name: str, norm: str, monkeypatch):
    same_outcomes(name, norm, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-dlr", "fab-t", "square"])
def test_an_attack_in_low_precision_runs(name: str, precision: str):
    attack = AttackSpec(name, 4 / 255, steps=4, queries=6, precision=precision)
    with gpu():
        evaluate_set(toy_clip().to("cuda"), noisy_set(), "adv", "x", attack=attack, batch_size=16)
