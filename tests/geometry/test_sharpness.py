import pytest
import torch
from scipy.optimize import brentq

from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.sharpness import average_case, m_sharpness, region, worst_case
from grace_geom.weights import flatten, norm
from tests.geometry import nets
from tests.geometry.test_lanczos import rotated

DIM = 12


def quadratic(spectrum: torch.Tensor, seed: int = 0):
    """``g'w + w'Hw/2`` on weights of two shapes at a point where the gradient is not 0; and that
    gradient and H.
    """
    H = rotated(spectrum, seed)
    g = torch.randn(DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = {
        "a": torch.zeros(2, 4, dtype=torch.float64),
        "b": torch.zeros(4, dtype=torch.float64),
    }
    objective = MeanLoss(lambda w, b: flatten(w) @ g + flatten(w) @ H @ flatten(w) / 2, [range(3)])
    return objective, weights, g, H


def trust_region_maximum(g: torch.Tensor, H: torch.Tensor, rho: float) -> float:
    """max g'e + e'He/2 over |e| <= rho, in closed form up to one secular equation: (mu - H) e =
    g."""
    lams, V = torch.linalg.eigh(H)
    c = V.T @ g
    length = lambda mu: float((c / (mu - lams)).norm())  # noqa: E731
    low = max(float(lams.max()), 0.0)
    if low == 0 and length(1e-14) <= rho:
        e = c / -lams
    else:
        mu = brentq(lambda mu: length(mu) - rho, low + 1e-10, low + 1e6)
        e = c / (mu - lams)
    return float(c @ e + (lams * e * e).sum() / 2)


@pytest.mark.parametrize(
    "ends", [(0.1, 5.0), (-4.0, 5.0), (-4.0, -0.5)], ids=["convex", "saddle", "concave"]
)
def test_worst_case_of_a_quadratic_is_the_trust_region_maximum(ends):
    objective, weights, g, H = quadratic(torch.linspace(*ends, DIM))
    for found in worst_case(objective, weights, [0.1, 0.5, 2.0], steps=200):
        assert found.rise == pytest.approx(trust_region_maximum(g, H, found.rho), rel=1e-4)


def test_first_step_is_sam_s_point():
    objective, weights, g, H = quadratic(torch.linspace(0.1, 5, DIM))
    rho, e = 0.3, 0.3 * g / g.norm()
    found = worst_case(objective, weights, [rho], steps=1)[0]
    assert found.rise >= float(g @ e + e @ H @ e / 2) - 1e-12


def test_curve_never_falls_and_never_leaves_the_region():
    net, weights = nets.make()
    seen = []
    loss = nets.loss(net)

    def watched(w, rows):
        seen.append(norm({n: w[n].detach() - weights[n] for n in w}).item())
        return loss(w, rows)

    found = worst_case(MeanLoss(watched, nets.batches()), weights, [0.01, 0.1, 0.5], steps=5)
    assert 0 < found[0].rise <= found[1].rise <= found[2].rise
    assert max(seen) <= 0.5 * (1 + 1e-9)


def test_small_balls_see_the_gradient():
    net, weights = nets.make()
    objective = MeanLoss(nets.loss(net), nets.batches())
    g = norm(objective.gradient(weights)[1]).item()
    assert worst_case(objective, weights, [1e-5])[0].rise == pytest.approx(1e-5 * g, rel=1e-3)


def test_relative_region_is_each_matrix_s_own():
    weights = {"a": torch.full((2, 2), 3.0), "b": torch.tensor([1.0, 0.0])}
    u = region(weights, "relative").onto_boundary(
        {"a": torch.ones(2, 2), "b": torch.tensor([0.0, 5.0])}, 0.1
    )
    assert u["a"].norm().item() == pytest.approx(0.6) and u["b"].norm().item() == pytest.approx(0.1)


def test_adaptive_sharpness_is_invariant_under_rescaling_of_two_layers():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=g).double(), torch.randn(20, 1, generator=g).double()
    rows = list(zip(x, y, strict=True))
    loss = lambda w, b: ((x @ w["u"]).relu() @ w["v"] - y).square().mean()  # noqa: E731
    w = {"u": torch.randn(3, 4, generator=g).double(), "v": torch.randn(4, 1, generator=g).double()}
    scaled = {"u": 10 * w["u"], "v": w["v"] / 10}
    rise = {}
    for shape in ("adaptive", "ball"):
        rise[shape] = [
            worst_case(MeanLoss(loss, [rows]), p, [0.1], shape, 10)[0].rise for p in (w, scaled)
        ]
    assert rise["adaptive"][0] == pytest.approx(rise["adaptive"][1], rel=1e-9)
    assert rise["ball"][1] > 2 * rise["ball"][0]


def test_average_case_of_a_quadratic_is_half_the_mean_curvature():
    objective, weights, _, H = quadratic(torch.linspace(-1, 5, DIM))
    found = average_case(objective, weights, rho=0.7, samples=400)
    assert abs(found.value - 0.49 * float(H.trace()) / (2 * DIM)) < 4 * found.error
    assert found.error < 0.05  # antithetic: the gradient, of length 3, would give more


def test_m_sharpness_is_the_mean_over_ragged_batches():
    net, weights = nets.make()
    loss, rows = nets.loss(net), nets.batches((5, 2))
    found = m_sharpness(MeanLoss(loss, rows), weights, 0.1, steps=3)
    apart = [worst_case(MeanLoss(loss, [r]), weights, [0.1], steps=3)[0].rise for r in rows]
    assert found.value == pytest.approx((5 * apart[0] + 2 * apart[1]) / 7)
    assert found.value > worst_case(MeanLoss(loss, rows), weights, [0.1], steps=3)[0].rise - 1e-9


def test_radii_must_ascend():
    objective, weights, _, _ = quadratic(torch.ones(DIM))
    with pytest.raises(ValueError, match="ascend"):
        worst_case(objective, weights, [0.2, 0.1])
