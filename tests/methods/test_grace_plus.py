"""Clean and attacked loss with an anchor, whose first passes are one."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.errors import NotFiniteError
from grace_geom.methods.at import At
from grace_geom.methods.fast_attack import FastAttack
from grace_geom.methods.ft import Ft
from grace_geom.methods.grace_plus import GracePlus
from tests.methods.ends import left_by, same_bits
from tests.methods.moving import in_double, moved
from tests.toys import toy_run

ATTACKED = {"attack_steps": 2, "alpha": 3 / 255, "eps_warmup": 0.5, "lr": 1e-3}


def slopes(run) -> dict[str, torch.Tensor]:
    return {name: w.grad.clone() for name, w in run.params.items() if w.grad is not None}


@pytest.mark.parametrize("head", [False, True])
def test_with_the_attacked_term_alone_it_is_at_digit_for_digit(head):
    ours = GracePlus(adv_weight=1.0, lambda_anchor=0.0, train_head=head, **ATTACKED)
    assert same_bits(left_by(ours), left_by(At(train_head=head, **ATTACKED)))


def test_with_neither_attack_nor_anchor_nor_radius_it_is_ft():
    ours = GracePlus(adv_weight=0.0, lambda_anchor=0.0, eps=0.0, lr=1e-3)
    assert same_bits(left_by(ours), left_by(Ft(train_head=False, lr=1e-3)))


@pytest.mark.parametrize("weight", [0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_shared_pass_gives_the_gradient_of_the_loss_as_it_is_written(weight, steps):
    """Against the formula in float64: noise, k sign steps up L, the two means."""
    batch, model = in_double(6)
    method = GracePlus(adv_weight=weight, lambda_anchor=0.7, attack_steps=steps, alpha=0.01)
    run = moved(method, model)
    run.generator.manual_seed(5)
    method.gradients(run, [batch])
    found = slopes(run)

    noise = torch.rand(
        batch.images.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    low, high = (batch.images - method.eps).clamp(0, 1), (batch.images + method.eps).clamp(0, 1)
    start = (batch.images + method.eps * (2 * noise - 1)).clamp(low, high)
    with torch.no_grad():
        anchor = F.normalize(model.features(batch.images), dim=-1)

    def L(x, weights):
        f = F.normalize(model.features(x, weights), dim=-1)
        row = torch.arange(len(x))
        answer = -model(x, weights).log_softmax(1)[row, batch.labels]
        return answer + 0.7 * (1 - (f * anchor).sum(1))

    fixed = {name: w.detach() for name, w in run.params.items()}
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(L(x, fixed).sum(), x)
        x = (x + 0.01 * g.sign()).clamp(low, high).detach()
    leaves = {name: w.detach().clone().requires_grad_() for name, w in run.params.items()}
    loss = (1 - weight) * L(start, leaves).mean() + weight * L(x, leaves).mean()
    wanted = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for (name, _), g in zip(leaves.items(), wanted, strict=True):
        if g is not None:
            assert_close(found[name], g, rtol=1e-6, atol=1e-9, msg=name)


def test_a_batch_that_nothing_prepared_has_the_same_terms():
    batch, model = in_double()
    method = GracePlus(adv_weight=0.4, attack_steps=2)
    run = moved(method, model)
    run.generator.manual_seed(1)
    step = method.gradients(run, [batch]).terms
    run.generator.manual_seed(1)
    alone = method.losses(run, method.weights(run.model, run.params), batch).terms
    assert step.keys() == alone.keys() == {"task", "adv"}
    for name, value in step.items():
        assert_close(value, alone[name].detach(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_step_in_pieces_has_the_gradient_of_the_whole(weight):
    batch, model = in_double(6)
    method = GracePlus(adv_weight=weight, attack_steps=2)
    whole, cut = moved(method, model), moved(method, model)
    for run, pieces in ((whole, [batch]), (cut, batch.split(2))):
        run.generator.manual_seed(2)
        method.gradients(run, pieces)
    for name, g in slopes(whole).items():
        assert_close(slopes(cut)[name], g, rtol=1e-7, atol=1e-10)


def test_the_anchor_holds_attacked_features_near_the_pretrained_ones():
    batch, model = in_double(6)
    near = {}
    for strength in (0.0, 5.0):
        method = GracePlus(lambda_anchor=strength, lr=1e-3, weight_decay=0.0)
        run = toy_run(method, model, steps=20)
        optimizer = method.make_optimizer(run.params)
        for _ in range(20):
            optimizer.zero_grad()
            method.gradients(run, [batch])
            optimizer.step()
            run.step += 1
        f, f0 = (
            F.normalize(model.features(batch.images, w), dim=-1) for w in (method.finish(run), None)
        )
        near[strength] = (f * f0).sum(1).mean().item()
    assert near[5.0] > near[0.0] + 0.01


def test_a_pixel_whose_scaled_gradient_overflowed_stays_where_it_is():
    batch, model = in_double()
    method = GracePlus(attack_steps=1)
    run = moved(method, model)
    noisy = method.with_noise(run, batch)
    fixed = {name: w.detach() for name, w in run.params.items()}
    start = torch.ones_like(batch.images)
    start[0] = float("nan")
    found = method.attacked(run, fixed, batch, noisy, start).images
    assert torch.equal(found[0], noisy.images[0])
    assert (found[1:] > noisy.images[1:]).float().mean() > 0.5


@pytest.mark.parametrize(("weight", "steps"), [(1.0, 1), (0.5, 2)])
def test_an_attack_whose_gradient_is_nan_stops_the_run_as_that_of_at_does(
    weight, steps, monkeypatch
):
    monkeypatch.setattr(
        "grace_geom.methods.grace_plus.input_gradient",
        lambda loss, x: torch.full_like(x, torch.nan),
    )
    batch, model = in_double()
    method = GracePlus(adv_weight=weight, attack_steps=steps)
    with pytest.raises(NotFiniteError):
        method.gradients(moved(method, model), [batch])


def test_without_weight_nothing_is_attacked(monkeypatch):
    def attacked(*args):
        raise AssertionError("attacked")

    monkeypatch.setattr(GracePlus, "attacked", attacked)
    batch, model = in_double()
    method = GracePlus(adv_weight=0.0)
    run = moved(method, model)
    assert method.gradients(run, [batch]).terms.keys() == {"task"}
    assert method.losses(run, method.weights(model, run.params), batch).terms.keys() == {"task"}


@pytest.mark.parametrize(
    ("weight", "steps", "used"), [(1.0, 1, "attack"), (0.5, 2, "attack"), (0.5, 1, "off")]
)
def test_a_compiled_attack_is_used_and_told_of_where_there_is_one(weight, steps, used):
    told = []
    batch, model = in_double()
    method = GracePlus(adv_weight=weight, attack_steps=steps)
    run = moved(method, model)
    run.fast = FastAttack("attack", told.append, compiler=lambda work, **options: work)
    method.gradients(run, [batch])
    assert [record["used"] for record in told] == [used]
    assert used == "attack" or "shares its pass" in told[0]["reason"]
