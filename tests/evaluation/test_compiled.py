"""Attacks of an evaluation through a compiler: the same outcomes, or why not, said once."""

import json
from functools import partial

import pytest
import torch
from torch import Tensor

from grace_geom import evaluate
from grace_geom.attacks import AttackSpec
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.evaluation import evaluate_set, one_checkpoint
from grace_geom.evaluation.compiled import Compiled
from grace_geom.records import Accuracy
from tests.small_run import small_run
from tests.test_distributed import noisy_set
from tests.toys import toy_clip


def attacked(how: Compiled | None, name: str = "pgd", **settings) -> Accuracy:
    """The toy under attack, in two batches of 16 and 7 images."""
    plan = {"steps": 4, "queries": 6, "targets": 2, "restarts": 1} | settings
    attack = AttackSpec(name, 4 / 255, **plan)
    return evaluate_set(
        toy_clip(), noisy_set(), "adv", "x", attack=attack, batch_size=16, compiled=how
    )


def test_the_compiled_logits_are_what_the_attack_asks_and_the_record_says_so():
    """With a compiler that changes them, so that it can be told; the record's clean numbers and
    what the model says of the images are not compiled.
    """
    flipped = Compiled("attack", compiler=lambda f: lambda x: -f(x))
    same = Compiled("attack", compiler=lambda f: f)
    usual, one, other = (attacked(how) for how in (None, same, flipped))
    assert one.outcomes == usual.outcomes != other.outcomes
    assert same.used == flipped.used == 2
    assert [part.get("compiled") for part in one.parts] == [True]
    assert all("compiled" not in part for part in usual.parts)


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        raise RuntimeError("no kernel for this\nand a long trace")


def fails_forward(x: Tensor) -> Tensor:
    raise RuntimeError("no kernel for this")


def one_graph_too_many(x: Tensor) -> Tensor:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    raise FailOnRecompileLimitHit("no kernel for this")


@pytest.mark.parametrize("fault", [fails_forward, FailsBackward.apply, one_graph_too_many])
def test_what_cannot_be_compiled_is_told_once_and_costs_no_outcome(fault):
    told: list[str] = []
    how = Compiled("attack", told.append, lambda f: lambda x: f(fault(x)))
    found = attacked(how)
    assert found.outcomes == attacked(None).outcomes
    assert told == ["torch.compile failed: no kernel for this"]
    assert how.mode == "off" and not any("compiled" in part for part in found.parts)


def test_errors_of_the_attack_itself_are_not_the_compilers():
    told: list[str] = []

    def nan(f):
        return lambda x: f(x) * torch.nan

    with pytest.raises(NotFiniteError, match="NaN"):
        attacked(Compiled("attack", told.append, nan))
    two = Compiled("attack", told.append, lambda f: lambda x: f(x)[:, :2])
    with pytest.raises(UserError, match="--attack apgd-t"):
        attacked(two, "apgd-t")
    assert not told and two.mode == "attack"


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "fab-t", "square"])
def test_a_compiled_attack_has_the_same_outcomes(name: str):
    """By the graphs of ``torch.compile``, whole and of any batch, without code generation."""
    told: list[str] = []
    compiler = partial(torch.compile, backend="aot_eager", fullgraph=True, dynamic=True)
    how = Compiled("attack", told.append, compiler)
    assert attacked(how, name).outcomes == attacked(None, name).outcomes
    how.end()
    assert how.used == 2 and not told


def test_that_nothing_was_attacked_is_told():
    told: list[str] = []
    for mode in ("off", "attack"):
        Compiled(mode, told.append).end()
    assert told == ["nothing was attacked (no suite adv, or measured before)"]


def test_the_flag_reaches_the_attack_and_a_missing_compiler_is_told(tmp_path, capsys, monkeypatch):
    def missing(f):
        raise RuntimeError("Failed to find a C compiler")

    run = small_run(tmp_path, "ft", epochs=1, workers=0)
    monkeypatch.setattr(one_checkpoint, "Compiled", lambda mode: Compiled(mode, compiler=missing))
    flags = ["--suites", "id,adv", "--steps", "2", "--n-attack", "6", "--attack", "pgd"]
    evaluate.main([str(run), "--device", "cpu", "--fresh", "--compile", "attack", *flags])
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "--compile" in x]
    assert line == (
        "warning: --compile attack: going on without: torch.compile failed: Failed to find a C compiler"
    )


def test_numbers_of_a_compiled_attack_are_not_given_to_who_asks_for_others(tmp_path, monkeypatch):
    run = small_run(tmp_path, "ft", epochs=1, workers=0)
    same = partial(Compiled, compiler=lambda f: f)
    monkeypatch.setattr(one_checkpoint, "Compiled", same)
    flags = ["--suites", "adv", "--steps", "2", "--n-attack", "6", "--attack", "pgd"]

    def compiled(*more: str) -> bool:
        evaluate.main([str(run), "--device", "cpu", *flags, *more])
        kept = json.loads((run / "eval.json").read_text())["accuracies"]
        (part,) = next(a["parts"] for a in kept if a["suite"] == "adv")
        return part.get("compiled", False)

    assert compiled("--fresh", "--compile", "attack")
    assert not compiled()
    assert not compiled("--compile", "attack")  # what is exact is good for both
