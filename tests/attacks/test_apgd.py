"""Auto-PGD against a second program: the paper's algorithm for one image at a time, with lists and
loops.
"""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from grace_geom.attacks import Linf, apgd, pgd_attack
from grace_geom.attacks.apgd import ascend, checkpoints
from grace_geom.attacks.losses import cross_entropy, dlr, dlr_targeted
from grace_geom.attacks.tracker import Hunt, Noise
from tests.attacks.conftest import Toy, make_toy

EPS = 0.05


def reference(
    f: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, eps: float, n: int
) -> tuple[Tensor, float]:
    """Croce & Hein 2020, Algorithm 1, for one image: the best point and its loss."""

    def project(z: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(z, x - eps), x + eps).clamp(0, 1)

    p = [0.0, 0.22]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(p_j * n - 1e-9) for p_j in p]
    eta, grad_f = 2 * eps, torch.func.grad(f)
    points, losses, etas, best = [start], [f(start).item()], [eta], [0]
    grads = [grad_f(start)]
    xs = {0: start}  # x^(k) as the iteration goes on from it: after a restart it is x_max
    for k in range(n):
        x_k, g = xs[k], grads[k]
        z = project(x_k + eta * g.sign())
        x_next = z if k == 0 else project(x_k + 0.75 * (z - x_k) + 0.25 * (x_k - xs[k - 1]))
        points.append(x_next)
        losses.append(f(x_next).item())
        grads.append(grad_f(x_next))
        xs[k + 1] = x_next
        if losses[-1] > losses[best[-1]]:
            best.append(k + 1)
        else:
            best.append(best[-1])
        done = k + 1
        if done in w:
            last = w[w.index(done) - 1]
            rises = sum(losses[i + 1] > losses[i] for i in range(last, done))
            etas.append(eta)
            untouched = (
                len(etas) > 2 and etas[-1] == etas[-2] and losses[best[done]] == losses[best[last]]
            )
            if rises <= 0.75 * (done - last) or untouched:
                eta /= 2
                xs[done], grads[done] = points[best[done]], grads[best[done]]
    return points[best[-1]], losses[best[-1]]


@pytest.mark.parametrize("name", ["ce", "dlr", "dlr-targeted"])
def test_every_image_climbs_as_by_itself(toy: Toy, name: str):
    x, y, eps, steps = toy.x[:12], toy.y[:12], 0.15, 60
    target = (y + 1) % 5
    criterion = {
        "ce": cross_entropy,
        "dlr": dlr,
        "dlr-targeted": lambda z, labels: dlr_targeted(z, labels, target),
    }[name]
    start = Linf(x, eps).start(torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
    hunt = Hunt(toy.model, x, y, until_fooled=False)
    ascend(hunt, hunt.rows(), start, Linf(x, eps), lambda rows: criterion, steps)
    for i in range(len(x)):

        def loss(z: Tensor, i: int = i) -> Tensor:
            logits = toy.model(z[None])
            if name == "ce":
                return F.cross_entropy(logits, y[i : i + 1])
            top = logits[0].sort(descending=True).values
            if name == "dlr":
                other = torch.cat([logits[0, : y[i]], logits[0, y[i] + 1 :]]).max()
                return -(logits[0, y[i]] - other) / (top[0] - top[2])
            return -(logits[0, y[i]] - logits[0, target[i]]) / (top[0] - (top[2] + top[3]) / 2)

        x_best, f_best = reference(loss, x[i], start[i], eps, steps)
        torch.testing.assert_close(hunt.outcome.x_adv[i], x_best, rtol=0, atol=1e-9)
        assert criterion(toy.model(hunt.outcome.x_adv), y)[i].item() == pytest.approx(f_best)


def test_checkpoints_are_the_papers():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(10) == (3, 5, 6, 7, 8, 9)
    assert checkpoints(1) == ()


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_a_linear_classifier_is_taken_to_its_corner(loss: str):
    # Two opposed logits and a constant one far below: the loss rises along w for both losses.
    w = torch.randn(12, generator=torch.Generator().manual_seed(0))
    x = torch.full((3, 12), 0.5)

    def logits(z: Tensor) -> Tensor:
        return torch.stack([-(z @ w), z @ w, torch.full((len(z),), -50.0)], dim=1)

    found = apgd(
        logits, x, torch.zeros(3, dtype=torch.long), EPS, steps=20, loss=loss, until_fooled=False
    )
    torch.testing.assert_close(found.x_adv, x + EPS * w.sign(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr-targeted"])
def test_stays_in_the_ball_and_tells_the_truth(toy: Toy, norm: str, loss: str):
    eps = EPS if norm == "linf" else 0.3
    found = apgd(toy.model, toy.x, toy.y, eps, steps=15, loss=loss, norm=norm)
    delta = (found.x_adv - toy.x).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert (size <= eps + 1e-12).all()
    assert ((found.x_adv >= 0) & (found.x_adv <= 1)).all()
    assert torch.equal(toy.model(found.x_adv).argmax(1) == toy.y, found.robust)
    assert 0 < found.robust.sum() < len(toy.y)


def test_finds_no_lower_loss_than_pgd_with_the_same_budget(toy: Toy):
    ours = apgd(toy.model, toy.x, toy.y, 0.03, steps=10, until_fooled=False).x_adv
    plain = pgd_attack(toy.model, toy.x, toy.y, 0.03, steps=10, until_fooled=False).x_adv
    assert (
        cross_entropy(toy.model(ours), toy.y) >= cross_entropy(toy.model(plain), toy.y) - 1e-9
    ).all()


def test_settles_on_a_peak_inside_the_ball_that_pgd_steps_over():
    peak = 0.5 + 0.02 * torch.randn(12, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    x, y = torch.full((3, 12), 0.5), torch.zeros(3, dtype=torch.long)

    def logits(z: Tensor) -> Tensor:
        height = -100 * (z - peak).square().sum(1)
        return torch.stack(
            [torch.zeros_like(height), height, torch.full_like(height, -50.0)], dim=1
        )

    ours, plain = (
        attack(logits, x, y, EPS, steps=100, until_fooled=False).x_adv
        for attack in (apgd, pgd_attack)
    )
    assert (ours - peak).abs().max() < 2e-3  # the step started at 2 eps = 0.1
    assert (plain - peak).abs().max() > 5e-3  # the step stays eps / 4


def test_leaving_the_fooled_alone_changes_the_cost_only(toy: Toy):
    stopped = apgd(toy.model, toy.x, toy.y, EPS, steps=25)
    on = apgd(toy.model, toy.x, toy.y, EPS, steps=25, until_fooled=False)
    assert torch.equal(stopped.robust, on.robust)
    assert stopped.forwards < on.forwards == 26 * len(toy.y)


def test_targets_are_the_likeliest_wrong_classes(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    aimed: list[Tensor] = []
    goal = "grace_geom.attacks.apgd.dlr_targeted"

    def listen(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        aimed.append(target)
        return dlr_targeted(logits, y, target)

    module = __import__("sys").modules["grace_geom.attacks.apgd"]
    monkeypatch.setattr(module, goal.rsplit(".", 1)[1], listen)
    apgd(toy.model, toy.x, toy.y, EPS, steps=1, loss="dlr-targeted", targets=9, until_fooled=False)
    order = toy.model(toy.x).argsort(1, descending=True)
    wrong = torch.stack([row[row != label] for row, label in zip(order, toy.y, strict=True)])
    assert len(aimed) == 2 * 4  # five classes: four targets, each with a start and a step
    assert all(torch.equal(aimed[2 * rank], wrong[:, rank]) for rank in range(4))


def test_three_classes_have_two_targets_and_two_have_none():
    three = make_toy(classes=3)
    found = apgd(
        three.model, three.x, three.y, EPS, steps=3, loss="dlr-targeted", until_fooled=False
    )
    assert found.forwards == len(three.y) * (1 + 2 * 4)
    two = make_toy(classes=2)
    with pytest.raises(ValueError, match="not defined for 2 classes"):
        apgd(two.model, two.x, two.y, EPS, steps=3, loss="dlr-targeted")
    assert len(apgd(two.model, two.x, two.y, EPS, steps=3).robust) == len(
        two.y
    )  # the cross-entropy is


def test_a_nan_stops_it(toy: Toy):
    def broken(z: Tensor) -> Tensor:
        return toy.model(z) * torch.where(z.flatten(1)[:, :1] > 0.5, torch.nan, 1.0)

    with pytest.raises(RuntimeError, match="NaN"):
        apgd(broken, toy.x, toy.y, EPS, steps=3)


def test_unknown_loss_and_norm_are_answered_with_the_known(toy: Toy):
    with pytest.raises(ValueError, match="ce, dlr, dlr-targeted"):
        apgd(toy.model, toy.x, toy.y, EPS, loss="cw")
    with pytest.raises(ValueError, match="linf, l2"):
        apgd(toy.model, toy.x, toy.y, EPS, norm="l7")
    with pytest.raises(ValueError, match="wide_first is for norm l1"):
        apgd(toy.model, toy.x, toy.y, EPS, wide_first=True)


def test_noise_belongs_to_the_image():
    rows = torch.arange(3)
    whole = Noise(0, [7, 8, 9]).uniform(rows, (2, 2), "start")
    assert torch.equal(
        Noise(0, [9, 7]).uniform(torch.tensor([0, 1]), (2, 2), "start"), whole[[2, 0]]
    )
    assert torch.equal(Noise(0, [7, 8, 9]).uniform(torch.tensor([1]), (2, 2), "start"), whole[1:2])
    assert not torch.equal(Noise(1, [7, 8, 9]).uniform(rows, (2, 2), "start"), whole)
    assert not torch.equal(Noise(0, [7, 8, 9]).uniform(rows, (2, 2), "other"), whole)
    assert ((whole >= 0) & (whole < 1)).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_the_authors_code_sees_the_same_points(toy: Toy, targeted: bool):
    peer = pytest.importorskip(
        "pyautoattack.autopgd_base", reason="the authors' code (pyautoattack) is not installed"
    )
    torch.set_default_dtype(torch.float64)  # it keeps its losses in the default dtype
    try:
        x, y, target = toy.x, toy.y, (toy.y + 1) % 5
        start = Linf(x, 0.15).start(torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
        ours, theirs = [], []
        hunt = Hunt(
            lambda z: (ours.append(z.detach().clone()), toy.model(z))[1], x, y, until_fooled=False
        )
        goal = (lambda z, labels: dlr_targeted(z, labels, target)) if targeted else cross_entropy
        ascend(hunt, hunt.rows(), start, Linf(x, 0.15), lambda rows: goal, steps=100)
        kind = peer.APGDAttack_targeted if targeted else peer.APGDAttack
        attack = kind(
            lambda z: (theirs.append(z.detach().clone()), toy.model(z))[1],
            n_iter=100,
            eps=0.15,
            device="cpu",
        )
        attack.init_hyperparam(x)
        attack.y_target = target
        attack.attack_single_run(x, y, x_init=start)
    finally:
        torch.set_default_dtype(torch.float32)
    gaps = torch.stack(
        [(a - b).abs().flatten(1).amax(1) for a, b in zip(ours, theirs, strict=True)]
    )
    # All points up to the first checkpoint; after it, all but the images where the authors' code
    # compares the first loss with a zero instead of the start's loss (docs/attacks.md).
    assert gaps[:23].max() < 1e-9
    assert (gaps < 1e-9).all(0).double().mean() >= 0.9
