import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.attacks.weight_perturbation import ascend, draw, perturb, project, radii
from grace_geom.geometry.mean_loss import mean_gradient
from grace_geom.methods.lora import ATTENTION_AND_MLP, target_matrices
from tests.toys import toy_batch, toy_clip


@pytest.fixture
def setting():
    model, batch = toy_clip(), toy_batch()
    weights = model.weights()
    names = target_matrices(model, ATTENTION_AND_MLP)
    ranks = {name: (0, 2, 4)[i % 3] for i, name in enumerate(names)}

    def loss(w):
        return F.cross_entropy(model(batch.images, w), batch.labels)

    return loss, weights, ranks


def climb(loss, weights, start, radius, *options):
    def gradient(w):
        return mean_gradient(lambda w, batch: loss(w), w, start, [toy_batch(1)])

    return ascend(gradient, weights, start, radius, *options)


def test_ranks_decide_the_factors(setting):
    _, weights, ranks = setting
    factors = draw(weights, ranks, torch.Generator().manual_seed(0))
    assert {name: B.shape[1] for name, (B, _) in factors.items()} == {
        n: r for n, r in ranks.items() if r
    }
    assert all(not B.any() for B, _ in factors.values())


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("absolute", [False, True])
def test_norm_of_the_product_stays_within_the_radius_and_rank(setting, steps, absolute):
    loss, weights, ranks = setting
    rho = 0.3 if absolute else 0.05
    start = draw(weights, ranks, torch.Generator().manual_seed(0))
    radius = radii({name: weights[name] for name in start}, rho, absolute)
    factors = climb(loss, weights, start, radius, steps)
    for name, (B, A) in factors.items():
        limit = rho if absolute else rho * weights[name].norm().item()
        assert (B.double() @ A.double()).norm().item() <= limit * (1 + 1e-5)
        assert torch.linalg.matrix_rank(B.double() @ A.double(), rtol=1e-5) <= ranks[name]
    assert loss(perturb(weights, factors)) > loss(weights)


def test_one_step_from_zero_is_a_sketch_of_the_gradient(setting):
    loss, weights, ranks = setting
    start = draw(weights, ranks, torch.Generator().manual_seed(0))
    factors = climb(loss, weights, start, radii({n: weights[n] for n in start}, 0.01, False))
    name = next(iter(factors))
    leaf = weights[name].clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(weights | {name: leaf}), leaf)
    sketch, (B, A) = g @ start[name][1].T, factors[name]
    assert_close(A, start[name][1])  # B = 0: A has no gradient at the first step
    assert_close(B / B.norm(), sketch / sketch.norm(), rtol=1e-4, atol=1e-5)
    assert (B @ A).norm().item() == pytest.approx(0.01 * weights[name].norm().item(), rel=1e-4)


def test_projection_only_shrinks():
    g = torch.Generator().manual_seed(0)
    B, A = torch.randn(5, 2, generator=g), torch.randn(2, 4, generator=g)
    size = (B @ A).norm()
    assert torch.equal(project(B, A, 2 * size), B)
    assert_close((project(B, A, 0.5 * size) @ A).norm(), 0.5 * size)


def test_no_rank_no_perturbation(setting):
    loss, weights, ranks = setting
    assert draw(weights, dict.fromkeys(ranks, 0), torch.Generator()) == {}
    assert climb(loss, weights, {}, {}) == {}


def test_more_ascent_raises_the_loss_at_least_as_a_random_direction(setting):
    loss, weights, ranks = setting
    start = draw(weights, ranks, torch.Generator().manual_seed(0))
    radius = radii({n: weights[n] for n in start}, 0.02, False)
    climbed = loss(perturb(weights, climb(loss, weights, start, radius)))
    g = torch.Generator().manual_seed(1)
    random = {n: (torch.randn(B.shape, generator=g), A) for n, (B, A) in start.items()}
    random = {n: (B * radius[n] / (B @ A).norm(), A) for n, (B, A) in random.items()}
    assert climbed > loss(perturb(weights, random))
