"""Lockstep with the authors' AutoAttack where it is installed: the same start, the same random
numbers, and then every point that either program hands to the network.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from grace_geom.attacks import L1, AttackSpec, fab, fab_t, run, square
from grace_geom.attacks.apgd_l1 import ascend_l1
from grace_geom.attacks.hyperplanes import NEAREST
from grace_geom.attacks.losses import cross_entropy, dlr, dlr_targeted
from grace_geom.attacks.square_windows import tiles
from grace_geom.attacks.tracker import Hunt, Noise
from tests.attacks.authors import double, gaps
from tests.attacks.conftest import Toy, make_toy

RADII = {"linf": 0.05, "l2": 0.3, "l1": 1.5}
SMALL = {"linf": 0.025, "l2": 0.05, "l1": 0.3}
EPS_OF_LARGE = {"linf": 0.03, "l2": 0.8, "l1": 12.0}  # of images five times as large
THEIRS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def listening(model: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    heard: list[Tensor] = []
    return lambda z: (heard.append(z.detach().clone()), model(z))[1], heard


@pytest.mark.parametrize("eps", [0.3, 3.0, 30.0])
def test_the_l1_projection_is_theirs(eps: float):
    g = torch.Generator().manual_seed(0)
    x = (1.4 * torch.rand(50, 3, 5, 5, generator=g, dtype=torch.float64) - 0.2).clamp(0, 1)
    far = x + 0.5 * torch.randn(x.shape, generator=g, dtype=torch.float64)
    with double() as peer:
        delta = far - x
        theirs = far + peer["autopgd_base"].L1_projection(x, delta, eps)
    torch.testing.assert_close(L1(x, eps).project_(far.clone()), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", NEAREST)
def test_the_step_to_a_hyperplane_is_theirs(norm: str):
    g = torch.Generator().manual_seed(0)
    x, w = (torch.rand(200, 30, generator=g, dtype=torch.float64) for _ in range(2))
    w, rise = w - 0.5, 3 * torch.randn(200, generator=g, dtype=torch.float64)
    with double() as peer:
        project = getattr(peer["fab_projections"], f"projection_{norm}")
        theirs = project(x, w, (w * x).sum(1) + rise)
    torch.testing.assert_close(NEAREST[norm](x, w, rise), theirs, rtol=0, atol=1e-8)


@pytest.mark.parametrize("loss", ["ce", "dlr", "dlr-targeted"])
def test_auto_pgd_in_l1_sees_the_same_points(toy: Toy, loss: str):
    # At a larger radius DLR is flat where the label is third, and its gradient rounding alone.
    x, y, target, eps = toy.x, toy.y, (toy.y + 1) % 5, 0.6 if loss == "dlr" else 2.0
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    start = L1(x, eps).start(noise)
    ours, our_points = listening(toy.model)
    hunt = Hunt(ours, x, y, until_fooled=False)
    goals = {
        "ce": cross_entropy,
        "dlr": dlr,
        "dlr-targeted": lambda z, labels: dlr_targeted(z, labels, target),
    }
    ascend_l1(hunt, hunt.rows(), start, L1(x, eps), lambda rows: goals[loss], 60, warm=True)
    theirs, their_points = listening(toy.model)
    with double() as peer:
        module = peer["autopgd_base"]
        # Theirs counts pixels whose move is not exactly 0, though rounding keeps some from it.
        module.L0_norm = lambda d: (d.abs() > 1e-12).flatten(1).sum(-1)
        kind = partial(module.APGDAttack, loss=loss)
        attack = (module.APGDAttack_targeted if loss == "dlr-targeted" else kind)(
            theirs, n_iter=60, norm="L1", eps=eps, device="cpu"
        )
        attack.init_hyperparam(x)
        attack.y_target = target
        attack.attack_single_run(x, y, x_init=start)
    apart = gaps(our_points, their_points)
    assert len(apart) == 61
    assert (apart < 1e-9).all(0).double().mean() >= 0.9  # a tie in rounding parts a path for good


@pytest.mark.parametrize("norm", NEAREST)
@pytest.mark.parametrize("aimed", [True, False])
def test_fab_sees_the_same_points(toy: Toy, norm: str, aimed: bool):
    right = (toy.model(toy.x).argmax(1) == toy.y).nonzero()[:, 0]
    x, y, steps = toy.x[right], toy.y[right], 20
    ours, our_points = listening(toy.model)
    if aimed:
        fab_t(ours, x, y, 0.0, steps=steps, targets=1, until_fooled=False, norm=norm)
    else:
        fab(ours, x, y, 0.0, steps=steps, restarts=1, until_fooled=False, norm=norm)
    theirs, their_points = listening(toy.model)
    with double() as peer:
        attack = peer["fab_pt"].FABAttack_PT(
            theirs, norm=THEIRS[norm], n_iter=steps, eps=RADII[norm], device="cpu", targeted=aimed
        )
        attack.target_class = 2
        attack.attack_single_run(x, y, is_targeted=aimed)
    before = 1 if aimed else 0  # the ranking of targets; theirs also looks at the images once more
    apart = gaps(our_points[before:], their_points[before + 1 :])
    assert len(apart) == 2 * steps
    assert apart.max() < 1e-7


@pytest.mark.parametrize("norm", RADII)
def test_square_sees_the_same_points(norm: str, monkeypatch: pytest.MonkeyPatch):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 11, 11, generator=g, dtype=torch.float64)
    W = 0.1 * torch.randn(5, x[0].numel(), generator=g, dtype=torch.float64)
    y, eps, queries = (x.flatten(1) @ W.T).argmax(1), SMALL[norm], 120
    looked = 0
    for i in range(len(x)):
        one, label = x[i : i + 1], y[i : i + 1]
        ours, our_points = listening(lambda z: z.flatten(1) @ W.T)
        square(ours, one, label, eps, queries, index=[i], schedule="standard", norm=norm)
        theirs, their_points = listening(lambda z: z.flatten(1) @ W.T)
        with double() as peer, monkeypatch.context() as patch:
            attack = planned(peer["square"].SquareAttack, patch, norm, i, queries)(
                theirs, norm=THEIRS[norm], n_queries=queries - 1, eps=eps, resc_schedule=False
            )
            attack.init_hyperparam(one)
            attack.attack_single_run(one, label)
        # In L1, theirs probably divides roundings by their size where a window holds nothing.
        assert gaps(our_points, their_points).max() < (1e-4 if norm == "l1" else 1e-9)
        looked += len(our_points)
    assert looked > 150


def planned(kind: type, patch: pytest.MonkeyPatch, norm: str, index: int, queries: int) -> type:
    """Their class with our random numbers for one image of 3 x 11 x 11, in the order it asks."""
    noise, row = Noise(0, [index]), torch.tensor([0])
    if norm == "linf":
        plan = [noise.uniform(row, (3, 1, 11), "square/stripes")[0]]
        plan += noise.uniform(row, (queries - 1, 5), "square/queries")[0].unbind()
        cuts = [(0, 1), (1, 2), (2, 5)]
    else:
        plan = list(noise.uniform(row, (len(tiles(11, 11)), 4), f"square-{norm}/tiles")[0].unbind())
        plan = [part for tile in plan for part in (tile[:1], tile[1:])]
        plan += noise.uniform(row, (queries - 1, 8), f"square-{norm}/queries")[0].unbind()
        cuts = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 8)]
    first = 1 if norm == "linf" else 2 * len(tiles(11, 11))
    parts = plan[:first] + [draw[a:b] for draw in plan[first:] for a, b in cuts]
    numbers = iter(parts)

    class Planned(kind):
        def random_int(self, low: int, high: int, shape: object = None) -> Tensor:
            return (next(numbers) * (high + 1)).long()  # theirs leaves out the last place

        def random_choice(self, shape: list[int]) -> Tensor:
            return torch.where(next(numbers) < 0.5, -1.0, 1.0).view(shape)

    patch.setattr(torch, "rand", lambda shape: next(numbers))  # theirs: whether to transpose
    return Planned


@pytest.mark.parametrize("norm", RADII)
def test_autoattack_leaves_the_same_images(norm: str):
    package = pytest.importorskip("autoattack", reason="the authors' code is not installed")
    toy = make_toy(dtype=torch.float32)
    small, large = nn.AvgPool2d(5), nn.Upsample(scale_factor=5)  # theirs needs 5 x 5 and more
    model = nn.Sequential(small, toy.model)
    x, y, eps = large(toy.x[:16]), toy.y[:16], EPS_OF_LARGE[norm]
    peer = package.AutoAttack(
        model, norm=THEIRS[norm], eps=eps, device="cpu", verbose=False, seed=0
    )
    peer.square.n_queries = 100
    peer.attacks_to_run = ["apgd-ce", "apgd-t", "fab-t", "square"]
    for attack in (peer.apgd, peer.apgd_targeted):  # theirs asks for nine targets of five classes
        attack.n_target_classes = 4
    peer.fab.n_target_classes = 4
    theirs = model(peer.run_standard_evaluation(x, y, bs=16)).argmax(1) == y
    ours = run(AttackSpec("autoattack", eps, norm, queries=100), model, x, y).robust
    assert 0 < ours.sum() < len(ours)
    assert (ours != theirs).sum() <= 1
