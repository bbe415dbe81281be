import pytest
import torch
from torch.testing import assert_close

from grace_geom.methods.ft import Ft
from grace_geom.methods.lora import Lora
from grace_geom.methods.spd import LoraSpd, Spd, pull, with_selective_decay
from tests.methods.ends import left_by, same_bits


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_without_decay_it_is_adam_bit_for_bit(weight_decay):
    options = {"lr": 1e-2, "weight_decay": weight_decay}
    assert same_bits(left_by(Spd(lam=0.0, **options)), left_by(Ft(**options)))
    assert same_bits(left_by(LoraSpd(lam=0.0, r=2, **options)), left_by(Lora(r=2, **options)))
    assert not same_bits(left_by(Spd(lam=1.0, **options)), left_by(Ft(**options)))


@pytest.mark.parametrize(
    ("lam", "wanted"), [(1.0, [4.0, 5.0]), (0.5, [5.5, 7.0]), (0.0, [7.0, 9.0])]
)
def test_pull_by_hand(lam, wanted):
    # From p0 = (1, 1): before the step 5 away, at (4, 5); after it 10 away, at (7, 9). r = (10 - 5)
    # / 10.
    p, p_old, p0 = torch.tensor([7.0, 9.0]), torch.tensor([4.0, 5.0]), torch.ones(2)
    pull(p, p_old, torch.tensor([1.0, 0.0]), p0, lam)
    assert_close(p, torch.tensor(wanted))


def test_a_step_that_gradient_and_way_agree_on_is_free_and_so_is_one_inwards():
    p, p_old = torch.tensor([6.0, 8.0]), torch.tensor([3.0, 4.0])
    pull(
        p, p_old, torch.tensor([-1.0, 0.0]), 0.0, 1.0
    )  # -<g, p - p0> > 0: going on lowers the loss
    assert torch.equal(p, torch.tensor([6.0, 8.0]))
    pull(p_old, p, torch.tensor([1.0, 0.0]), 0.0, 1.0)  # the step already went back: r = 0
    assert torch.equal(p_old, torch.tensor([3.0, 4.0]))
    still = torch.zeros(2)
    pull(still, torch.zeros(2), torch.ones(2), 0.0, 1.0)  # 0 / 0
    assert torch.equal(still, torch.zeros(2))


@pytest.mark.parametrize(("lam", "wanted"), [(1.0, 1.0), (0.5, 1.2), (0.0, 1.4)])
def test_the_decay_follows_the_optimiser_s_own_step(lam, wanted):
    p = torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([p], lr=1.0, momentum=0.9)
    optimizer = with_selective_decay(sgd, [(p, p.detach().clone())], lam)
    for g in (
        -1.0,
        0.5,
    ):  # to 1, then by momentum to 1 - (0.9 * -1 + 0.5) = 1.4, against the second gradient
        p.grad = torch.tensor([g])
        optimizer.step()
    assert p.item() == pytest.approx(wanted)


def test_lambda_one_never_goes_further_out_against_the_gradient():
    g = torch.Generator().manual_seed(0)
    p = torch.randn(4, 3, generator=g).requires_grad_()
    start, goal = p.detach().clone(), torch.randn(4, 3, generator=g)
    optimizer = with_selective_decay(
        torch.optim.AdamW([p], lr=0.3, weight_decay=0.0), [(p, start)], 1.0
    )
    held = 0
    for _ in range(30):
        optimizer.zero_grad()
        (p - goal).square().sum().backward()
        before, against = (p.detach() - start).norm(), (p.grad * (p.detach() - start)).sum() > 0
        optimizer.step()
        if against:
            held += 1
            assert (p.detach() - start).norm() <= before * (1 + 1e-5)
    assert held > 3


def test_the_head_can_be_exempt():
    usual, exempt = (
        left_by(Spd(lr=1e-2, lam=5.0)),
        left_by(Spd(lr=1e-2, lam=5.0, project_head=False)),
    )
    assert not torch.equal(usual["head.weight"], exempt["head.weight"])
