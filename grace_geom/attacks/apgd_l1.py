"""Auto-PGD in the L1 norm (Croce & Hein 2021, "Mind the box: l1-APGD for sparse adversarial
attacks"): steps along the largest entries of the gradient alone, and how many follows the best
point's own number of changed pixels.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks.balls import L1
from grace_geom.attacks.looks import looks_on
from grace_geom.attacks.losses import Goal
from grace_geom.attacks.tracker import Climb, Hunt, per_image

SHARE = 0.2  # of the pixels that the first step moves, from a random start
SPARSER = 1.5  # a step moves this many times fewer pixels than the best point has changed
MOST = max(SHARE, 1 / SPARSER)  # of the pixels that any step moves
SHRINK, SMALLEST = 1.5, 10.0  # of the step size: by what it is divided, down to which share
STILL_FALLING = (
    0.95  # below this share of its last number, the number of changed pixels still falls
)
RADII = (3, 2, 1)
"""Of :func:`descend_radii`, in units of eps."""


@dataclass
class _SparseClimb(Climb):
    """One run's state: every field holds one entry for each image still climbing."""

    rows: Tensor  # position in the batch
    x: Tensor
    x_max: Tensor
    grad: Tensor
    grad_max: Tensor
    f_max: Tensor
    eta: Tensor  # step size
    share: Tensor  # of the pixels that a step moves
    changed: Tensor  # pixels of x_max that differ from the image, at the last checkpoint


def ascend_l1(
    hunt: Hunt,
    rows: Int[Tensor, " r"],
    start: Float[Tensor, " r *d"],
    ball: L1,
    goal: Goal,
    steps: int,
    warm: bool = False,
) -> None:
    """One run; what it finds goes to ``hunt``.

    Args:
        hunt: The batch.
        rows: The images of it to attack.
        start: Where each begins, inside ``ball``.
        ball: The set to search, around those images.
        goal: ``rows -> (logits, y) -> losses``.
        steps: Number of steps.
        warm: Whether ``start`` was found by another run, and its sparsity is to be kept.
    """
    run = _begin(hunt, rows, start, ball, warm)
    _evaluate(hunt, run, goal)
    every = max(int(0.04 * steps), 1)
    for k in range(steps + 1):
        if (keep := hunt.standing(run.rows)) is not None:
            if not len(keep):
                return
            run, ball = run.select(keep), ball.select(keep)
        if k == steps:
            return
        if k and k % every == 0:
            _adapt(run, ball)
        step = _sparse(run.grad, run.share).mul_(per_image(run.eta, run.x))
        run.x = ball.project_(step.add_(run.x))
        _evaluate(hunt, run, goal)


def descend_radii(
    hunt: Hunt,
    rows: Int[Tensor, " r"],
    noise: Float[Tensor, " r *d"],
    eps: float,
    goal: Goal,
    steps: int,
) -> None:
    """A run of 30 % of the steps at ``3 eps``, one of 30 % at ``2 eps``, and the rest at ``eps``,
    each from the best point of the one before; only points of the last one count.
    """
    x = hunt.x[rows]
    start = L1(x, RADII[0] * eps).start(noise)
    wide = math.ceil(round(0.3 * steps, 9))
    lengths = (wide, wide, steps - 2 * wide)
    for factor, length in zip(RADII[:-1], lengths, strict=False):
        scout = Hunt(hunt.logits, x, hunt.y[rows], until_fooled=False, draws=hunt.draws)
        ball = L1(x, factor * eps)
        ascend_l1(
            scout, scout.rows(), ball.project_(start.clone()), ball, lambda i: goal(rows[i]), length,
            warm=True,
        )  # fmt: skip
        start = scout.outcome.x_adv
    ball = L1(x, eps)
    ascend_l1(hunt, rows, ball.project_(start.clone()), ball, goal, lengths[-1], warm=True)


def _begin(hunt: Hunt, rows: Tensor, start: Tensor, ball: L1, warm: bool) -> _SparseClimb:
    empty = torch.zeros_like(start)
    one = torch.ones(len(rows), device=start.device, dtype=hunt.dtype)
    n = start[0].numel()
    changed = _changed(start, ball) if warm else torch.full_like(rows, n)
    return _SparseClimb(
        rows,
        start,
        start,
        empty,
        empty,
        f_max=-torch.inf * one,
        eta=ball.eps * one,
        share=changed.to(one) / n / SPARSER if warm else SHARE * one,
        changed=changed,
    )


def _sparse(grad: Float[Tensor, " b *d"], share: Float[Tensor, " b"]) -> Float[Tensor, " b *d"]:
    """Signs of the gradient where it is among the largest ``share`` of its entries, of sum one."""
    flat = grad.flatten(1).abs()
    n = flat.shape[1]
    smaller = ((1 - share) * n).clamp(0, n - 1).long()  # how many entries stay where they are
    moved = n - smaller
    most = int(moved.max()) if looks_on(grad.device).free else math.ceil(n * MOST) + 1
    largest = flat.topk(min(most, n), dim=1).values
    bound = largest.gather(1, moved[:, None] - 1)
    signs = (grad.flatten(1).sign() * (flat >= bound)).view_as(grad)
    return signs.div_(per_image(signs.flatten(1).abs().sum(1) + 1e-10, grad))


def _evaluate(hunt: Hunt, run: _SparseClimb, goal: Goal) -> None:
    f, run.grad = hunt.climb(run.x, run.rows, goal(run.rows))
    better = f > run.f_max
    run.f_max = torch.where(better, f, run.f_max)
    run.x_max = torch.where(per_image(better, run.x), run.x, run.x_max)
    run.grad_max = torch.where(per_image(better, run.x), run.grad, run.grad_max)


def _adapt(run: _SparseClimb, ball: L1) -> None:
    """At a checkpoint: where the best point has become clearly sparser, begin there anew with the
    whole step; elsewhere shorten the step.
    """
    changed = _changed(run.x_max, ball)
    sparser = changed / run.changed < STILL_FALLING
    run.share = changed.to(run.eta) / run.x[0].numel() / SPARSER
    shorter = (run.eta / SHRINK).clamp_min(ball.eps / SMALLEST)
    run.eta = torch.where(sparser, ball.eps, shorter)
    run.changed = changed
    run.x = torch.where(per_image(sparser, run.x), run.x_max, run.x)
    run.grad = torch.where(per_image(sparser, run.x), run.grad_max, run.grad)


def _changed(x: Tensor, ball: L1) -> Int[Tensor, " b"]:
    return (x != ball.x).flatten(1).sum(1)
