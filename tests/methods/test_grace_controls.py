"""Controls that leave out a part of GRACE: what is left is what other methods make of it."""

import pytest
import torch
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.methods.grace import Grace
from grace_geom.methods.mix_at import LoraMixAt
from tests.methods.test_grace import FEW, warmed_up
from tests.toys import toy_batch, toy_run, train


def stepped(method, seeds=(0, 1, 2)):
    """A run after a few steps."""
    run = toy_run(method)
    train(method, run, [toy_batch(seed=s) for s in seeds])
    return run


def test_at_the_weights_of_the_step_and_without_features_it_is_twice_lora_mix_at():
    options = {"lr": 1e-2, "eps": 16 / 255, "alpha": 8 / 255, **FEW}
    ours, theirs = Grace(adv_at="current", gv=False, **options), LoraMixAt(**options)
    found = []
    for method in (ours, theirs):
        run = stepped(theirs)
        run.state = {} if method is ours else run.state
        run.generator.manual_seed(5)
        for leaf in run.params.values():
            leaf.grad = None
        losses = method.gradients(run, [toy_batch(seed=7)])
        found.append((losses.terms, {name: leaf.grad.clone() for name, leaf in run.params.items()}))
    (terms, gradient), (half, other) = found
    assert_close(terms["task"], 2 * half["task"])
    assert_close(terms["lar"], 2 * half["adv"])
    for name, g in other.items():
        assert_close(gradient[name], 2 * g)
    assert gradient.keys() == other.keys()


def test_at_both_weights_it_is_the_mean_of_the_two():
    options = {"lr": 1e-2, "rho": 0.5, "eps": 16 / 255, "alpha": 8 / 255, "gv": False, **FEW}
    run = warmed_up(Grace(**options))
    found = {}
    for at in ("perturbed", "current", "both"):
        method = Grace(adv_at=at, **options)
        run.generator.manual_seed(3)
        found[at] = method.gradients(run, [toy_batch()]).terms["lar"]
    assert_close(found["both"], (found["perturbed"] + found["current"]) / 2)
    assert not torch.isclose(found["perturbed"], found["current"])


def test_without_the_clean_term_the_others_are_what_they_were():
    options = {"lr": 1e-2, "rho": 0.05, "eps": 16 / 255, "alpha": 8 / 255, **FEW}
    run = warmed_up(Grace(**options))
    found = {}
    for task in (True, False):
        run.generator.manual_seed(3)
        found[task] = Grace(task=task, **options).gradients(run, [toy_batch()]).terms
    assert found[False].keys() == found[True].keys() - {"task"}
    assert all(torch.equal(found[True][name], value) for name, value in found[False].items())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task": False, "lar": False}, "--task off"),
        ({"task": False, "lambda_lar": 0}, "--task off"),
        ({"adv_at": "current", "gv": False, "awp_reuse": True}, "--awp-reuse"),
        ({"adv_at": "current", "gv": False, "awp_m": 4}, "--awp-m"),
        ({"adv_at": "both", "lar": False}, "--adv-at both"),
    ],
)
def test_controls_that_leave_nothing_are_refused(options, named):
    with pytest.raises(UserError, match=named):
        Grace(**options).check()
