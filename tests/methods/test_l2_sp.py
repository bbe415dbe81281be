import pytest
import torch
from torch.testing import assert_close

from grace_geom.methods.ft import Ft
from grace_geom.methods.l2_sp import L2Sp
from tests.methods.ends import left_by, same_bits
from tests.toys import toy_batch, toy_run


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_without_a_pull_it_is_ft_bit_for_bit(weight_decay):
    options = {"lr": 1e-2, "weight_decay": weight_decay}
    assert same_bits(left_by(L2Sp(alpha=0.0, **options)), left_by(Ft(**options)))


def test_gradient_of_the_penalty_is_alpha_times_the_way_from_the_start():
    gradients, g = [], torch.Generator().manual_seed(0)
    step = {name: torch.randn(w.shape, generator=g) for name, w in toy_run(Ft()).params.items()}
    for method in (L2Sp(alpha=0.7), Ft()):
        run = toy_run(method)
        with torch.no_grad():
            for name, w in run.params.items():
                w += step[name]
        terms = method.gradients(run, [toy_batch()]).terms
        gradients.append({name: w.grad for name, w in run.params.items()})
        if "drift" in terms:
            assert terms["drift"].item() == pytest.approx(
                0.35 * sum(v.square().sum().item() for v in step.values())
            )
    for name, moved in step.items():
        assert_close(gradients[0][name] - gradients[1][name], 0.7 * moved, rtol=1e-3, atol=1e-4)


def test_a_strong_pull_stays_nearer():
    base = toy_run(Ft()).model.weights()

    def drift(alpha: float) -> float:
        return sum(
            (w - base[name]).square().sum().item()
            for name, w in left_by(L2Sp(lr=1e-2, alpha=alpha)).items()
        )

    assert drift(100.0) < 0.8 * drift(0.0)
