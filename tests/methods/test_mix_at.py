"""Clean and attacked cross-entropy together: its ends are ``at`` and ``ft``, digit for digit."""

import pytest
import torch
from torch.testing import assert_close

from grace_geom.methods.adversary import Attack
from grace_geom.methods.at import At, LoraAt
from grace_geom.methods.ft import Ft
from grace_geom.methods.lora import Lora
from grace_geom.methods.mix_at import LoraMixAt, MixAt
from tests.methods.ends import left_by, same_bits
from tests.methods.moving import in_double, moved, terms_of
from tests.toys import toy_batch, toy_run

ATTACKED = {"attack_steps": 2, "eps_warmup": 0.5, "lr": 1e-3}


@pytest.mark.parametrize(
    ("mixed", "plain"),
    [
        (MixAt(adv_weight=1.0, **ATTACKED), At(**ATTACKED)),
        (MixAt(adv_weight=1.0, train_head=True, **ATTACKED), At(train_head=True, **ATTACKED)),
        (MixAt(adv_weight=0.0, train_head=True, lr=1e-3), Ft(lr=1e-3)),
        (MixAt(adv_weight=0.0, lr=1e-3), Ft(train_head=False, lr=1e-3)),
        (LoraMixAt(adv_weight=1.0, r=4, **ATTACKED), LoraAt(r=4, **ATTACKED)),
        (LoraMixAt(adv_weight=0.0, r=4, lr=1e-3), Lora(r=4, lr=1e-3)),
    ],
)
def test_its_ends_are_at_and_ft_digit_for_digit(mixed, plain):
    assert same_bits(left_by(mixed), left_by(plain))


@pytest.mark.parametrize("method", [MixAt(adv_weight=0.3), LoraMixAt(adv_weight=0.3, r=4)])
def test_the_loss_is_the_weighted_sum_and_so_is_its_gradient(method, monkeypatch):
    batch, model = in_double()
    x_adv = (batch.images - 0.05).clamp(0, 1)
    monkeypatch.setattr(type(method), "attack", lambda *args: Attack(x_adv, {}))
    run = moved(method, model)
    weights = method.weights(run.model, run.params)
    row = torch.arange(len(batch))
    clean, adv = (
        -model(x, weights).log_softmax(1)[row, batch.labels].mean() for x in (batch.images, x_adv)
    )
    found = terms_of(method, run, batch)
    assert_close(found["task"], 0.7 * clean, rtol=1e-9, atol=0)
    assert_close(found["adv"], 0.3 * adv, rtol=1e-9, atol=0)
    leaves = list(run.params.values())
    slopes = (
        torch.autograd.grad(v, leaves) for v in (sum(found.values()), 0.7 * clean + 0.3 * adv)
    )
    for a, b in zip(*slopes, strict=True):
        assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("cls", [MixAt, LoraMixAt])
def test_without_weight_nothing_is_attacked(cls, monkeypatch):
    def attack(*args):
        raise AssertionError("attacked")

    monkeypatch.setattr(cls, "attack", attack)
    method = cls(adv_weight=0.0)
    assert terms_of(method, toy_run(method), toy_batch()).keys() == {"task"}
    with pytest.raises(AssertionError, match="attacked"):
        terms_of(cls(adv_weight=0.1), toy_run(method), toy_batch())


def test_between_its_ends_it_is_neither():
    left = left_by(MixAt(train_head=True, **ATTACKED))
    for other in (At(train_head=True, **ATTACKED), Ft(lr=1e-3)):
        assert not same_bits(left, left_by(other))
