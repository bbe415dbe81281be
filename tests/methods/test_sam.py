from dataclasses import dataclass, replace

import pytest
import torch
from torch.testing import assert_close

from grace_geom.methods import Losses
from grace_geom.methods.ft import Ft
from grace_geom.methods.sam import Asam, Sam
from tests.methods.ends import left_by, same_bits
from tests.toys import toy_batch, toy_clip, toy_run


def quadratic(cls, A: dict[int, torch.Tensor], w: torch.Tensor, **fields):
    """``L_i(w) = w' A_i w / 2`` of image ``i``, whose curvature is chosen by its label; the method
    and its run.
    """

    @dataclass
    class Quadratic(cls):
        def losses(self, run, weights, batch):
            w = weights["w"]
            each = [w @ A[int(i)] @ w / 2 for i in batch.labels]
            return Losses({"task": torch.stack(each).mean()})

    run = toy_run(Ft())
    return Quadratic(**fields), replace(run, params={"w": w.clone().requires_grad_()})


def positive(seed: int, n: int = 3) -> torch.Tensor:
    M = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return M @ M.T + torch.eye(n)


A, W = {0: positive(0), 1: positive(1)}, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def labelled(*labels: int):
    return replace(toy_batch(len(labels)), labels=torch.tensor(labels))


def sam_gradient(H: torch.Tensor, w: torch.Tensor, rho: float) -> torch.Tensor:
    g = H @ w
    return H @ (w + rho * g / g.norm())


def test_step_on_a_quadratic_is_the_one_computed_by_hand():
    method, run = quadratic(Sam, A, W, rho=0.3)
    terms, observed = method.gradients(run, [labelled(0, 0)])
    assert_close(run.params["w"].grad, sam_gradient(A[0], W, 0.3))
    there = W + 0.3 * A[0] @ W / (A[0] @ W).norm()
    assert terms["task"].item() == pytest.approx((there @ A[0] @ there / 2).item())
    assert observed["sharpness"].item() == pytest.approx(
        (there @ A[0] @ there - W @ A[0] @ W).item() / 2
    )
    assert torch.equal(run.params["w"], W), "weights stay where they are"


@pytest.mark.parametrize("pieces", [1, 2])
def test_the_whole_step_shares_one_perturbation_unless_m_says_otherwise(pieces):
    batch = labelled(0, 0, 1, 1)
    method, run = quadratic(Sam, A, W, rho=0.3)
    method.gradients(run, batch.split(4 // pieces))
    assert_close(run.params["w"].grad, sam_gradient((A[0] + A[1]) / 2, W, 0.3))
    method, run = quadratic(Sam, A, W, rho=0.3, m=2)
    method.gradients(run, batch.split(4 // pieces))
    assert_close(
        run.params["w"].grad, (sam_gradient(A[0], W, 0.3) + sam_gradient(A[1], W, 0.3)) / 2
    )


def test_ragged_groups_count_by_their_images():
    method, run = quadratic(Sam, A, W, rho=0.3, m=2)
    method.gradients(run, [labelled(0, 0, 1)])
    assert_close(
        run.params["w"].grad, (2 * sam_gradient(A[0], W, 0.3) + sam_gradient(A[1], W, 0.3)) / 3
    )


@pytest.mark.parametrize("cls", [Sam, Asam])
def test_without_a_radius_it_is_ft_bit_for_bit(cls):
    assert same_bits(left_by(cls(lr=1e-2, rho=0.0)), left_by(Ft(lr=1e-2)))


def test_a_vanished_gradient_perturbs_nothing():
    method, run = quadratic(Sam, A, torch.zeros(3, dtype=torch.float64), rho=0.3)
    method.gradients(run, [labelled(0)])
    assert torch.equal(run.params["w"].grad, torch.zeros(3, dtype=torch.float64))


def test_asam_is_the_same_for_every_scaling_of_the_weights_and_sam_is_not():
    x, target = (
        torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
        torch.ones(5),
    )

    def rise(method, scale: float) -> torch.Tensor:
        """How much the loss of a two-layer linear net rises; the net is the same function for every
        scale.
        """
        g = torch.Generator().manual_seed(3)
        W1, W2 = (
            torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((3, 4), (1, 3))
        )
        params = {"w1": (scale * W1).requires_grad_(), "w2": (W2 / scale).requires_grad_()}

        def loss(p):
            return ((x @ p["w1"].T @ p["w2"].T).squeeze(1) - target).square().mean()

        loss(params).backward()
        e = method.perturbation(params)
        with torch.no_grad():
            return loss({name: w + e[name] for name, w in params.items()}) - loss(params)

    method = Asam(rho=0.2, eta=0.0)
    assert_close(rise(method, 10.0), rise(method, 1.0))
    assert_close(rise(method, 0.1), rise(method, 1.0))
    assert rise(Sam(rho=0.2), 10.0) > 1.5 * rise(Sam(rho=0.2), 1.0)


def test_asam_s_perturbation_by_hand():
    p = {"w": torch.tensor([3.0, -1.0]), "b.bias": torch.tensor([2.0])}
    for name, g in (("w", [1.0, 2.0]), ("b.bias", [-2.0])):
        p[name].grad = torch.tensor(g)
    e = Asam(rho=0.5, eta=1.0).perturbation(p)
    T, norm = torch.tensor([4.0, 2.0]), (4.0**2 + 4.0**2 + 2.0**2) ** 0.5  # |T g| = |(4, 4, -2)|
    assert_close(e["w"], 0.5 * T**2 * torch.tensor([1.0, 2.0]) / norm)
    assert_close(e["b.bias"], torch.tensor([0.5 * -2.0 / norm]))


@pytest.mark.parametrize("micro", [1, 3, 5])
def test_images_that_share_a_perturbation_are_the_same_however_the_step_is_cut(micro):
    batch, gradients = toy_batch(8), []
    batch = replace(batch, images=batch.images.double())
    for pieces in ([batch], batch.split(micro)):
        run = toy_run(Sam(m=4), toy_clip().double())
        terms = Sam(m=4).gradients(run, pieces).terms
        gradients.append({n: p.grad for n, p in run.params.items()} | terms)
    for key, whole in gradients[0].items():
        assert_close(gradients[1][key], whole, rtol=1e-6, atol=1e-10)
