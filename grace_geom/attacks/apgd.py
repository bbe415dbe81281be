"""Auto-PGD (Croce & Hein 2020, "Reliable evaluation of adversarial robustness ...", Algorithm 1).

Gradient ascent with momentum whose step size needs no tuning: it starts at twice the radius and
halves, image by image, at checkpoints where the loss has stopped rising; the search then restarts
from the best point so far.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grace_geom.attacks.apgd_l1 import ascend_l1, descend_radii
from grace_geom.attacks.balls import L1, Ball, ball_named
from grace_geom.attacks.losses import Criterion, Goal, cross_entropy, dlr, dlr_targeted
from grace_geom.attacks.tracker import Climb, Hunt, Logits, Noise, Outcome, per_image

MOMENTUM = 0.75  # the paper's alpha


@torch.inference_mode(False)  # tensors made in inference mode cannot be saved for a backward pass
def apgd(
    logits_fn: Logits,
    x: Float[Tensor, " b *d"],
    y: Int[Tensor, " b"],
    eps: float,
    steps: int = 100,
    restarts: int = 1,
    loss: str = "ce",
    targets: int = 9,
    norm: str = "linf",
    rho: float = 0.75,
    seed: int = 0,
    index: Sequence[int] | Int[Tensor, " b"] | None = None,
    until_fooled: bool = True,
    draws: int = 1,
    wide_first: bool = False,
) -> Outcome:
    """Attack a batch with Auto-PGD.

    Costs at most ``steps + 1`` forwards and as many backwards an image, a restart, a target and a
    draw; an image that is fooled costs nothing more.

    Args:
        logits_fn: ``x (b, ...) -> logits (b, K)`` for any ``b``.
        x: Images in [0, 1].
        y: Labels.
        eps: Radius, in pixels of [0, 1].
        steps: Steps of one run.
        restarts: Runs from different random points, for each target.
        loss: ``"ce"``, ``"dlr"``, or ``"dlr-targeted"``, one run for each of the likeliest wrong
            classes.
        targets: How many wrong classes; where there are fewer, all of them.
        norm: ``"linf"``, ``"l2"``, or ``"l1"``, where the steps are sparse (:mod:`.apgd_l1`).
        rho: Share of rising steps below which a step size halves.
        seed: Seed of the random starts.
        index: A number for each image that its random start depends on; its position in ``x`` by
            default.
        until_fooled: See :class:`Hunt`.
        draws: See :class:`Hunt`; more than one is for a classifier that is random.
        wide_first: In the L1 norm, begin in balls of three and two times the radius
            (:func:`.apgd_l1.descend_radii`).

    Raises:
        PixelError: For images that are not pixels in [0, 1].
        ValueError: For an unknown loss or norm, ``wide_first`` in another norm than L1, or a DLR
            loss with two classes.
        RuntimeError: If a gradient or a logit is NaN.
    """
    if wide_first and norm != "l1":
        raise ValueError(f"wide_first is for norm l1; got {norm!r}.")
    noise = Noise(seed, range(len(x)) if index is None else index)
    hunt = Hunt(logits_fn, x, y, until_fooled, draws)
    for name, goal in _goals(hunt, loss, targets):
        for restart in range(restarts):
            rows = hunt.rows()
            if not len(rows):
                continue
            uniform = noise.uniform(hunt.places(), x.shape[1:], f"apgd/{name}/{restart}")
            ball = ball_named(norm)(hunt.x[rows], eps)
            if wide_first:
                descend_radii(hunt, rows, uniform, eps, goal, steps)
            elif isinstance(ball, L1):
                ascend_l1(hunt, rows, ball.start(uniform), ball, goal, steps)
            else:
                ascend(hunt, rows, ball.start(uniform), ball, goal, steps, rho)
    return hunt.outcome


def _goals(hunt: Hunt, loss: str, targets: int) -> Iterator[tuple[str, Goal]]:
    """What to climb, one run after the other."""
    if loss == "ce":
        yield loss, lambda rows: cross_entropy
    elif loss == "dlr":
        yield loss, lambda rows: dlr
    elif loss == "dlr-targeted":
        for rank, target in enumerate(likeliest_wrong(hunt, targets)):
            yield f"{loss}/{rank}", partial(_towards, target)
    else:
        raise ValueError(f"loss must be one of ce, dlr, dlr-targeted; got {loss!r}.")


def _towards(target: Int[Tensor, " b"], rows: Int[Tensor, " r"]) -> Criterion:
    return partial(dlr_targeted, target=target[rows])


def likeliest_wrong(hunt: Hunt, targets: int) -> Int[Tensor, " t b"]:
    """The wrong classes with the largest logits on the clean images, largest first:
    ``min(targets, K - 1)`` of them.
    """
    with torch.no_grad():
        logits = hunt.logits(hunt.x)
    wrong = logits.scatter(1, hunt.y[:, None], -torch.inf)
    return wrong.topk(min(targets, logits.shape[1] - 1), dim=1).indices.T


@dataclass
class _Climb(Climb):
    """One run's state: every field holds one entry for each image still climbing. Names follow
    Algorithm 1.
    """

    rows: Tensor  # position in the batch
    x: Tensor  # x^(k)
    x_old: Tensor  # x^(k-1)
    x_max: Tensor
    grad: Tensor
    grad_max: Tensor
    f: Tensor  # loss at x^(k)
    f_max: Tensor
    eta: Tensor  # step size
    rises: Tensor  # steps since the last checkpoint that raised the loss
    f_max_checked: Tensor  # f_max at the last checkpoint
    halved: Tensor  # whether that checkpoint halved eta

    @classmethod
    def begin(cls, rows: Tensor, start: Tensor, eps: float, dtype: torch.dtype) -> "_Climb":
        """The state before the first step, at ``start``; losses are kept in ``dtype``."""
        zero = torch.zeros(len(rows), device=start.device, dtype=dtype)
        empty = torch.zeros_like(start)
        return cls(
            rows,
            start,
            start,
            start,
            empty,
            empty,
            f=zero + torch.inf,  # so that the start is not counted as a rise
            f_max=zero - torch.inf,
            eta=torch.full_like(zero, 2 * eps).to(start.dtype),
            rises=torch.zeros_like(rows),
            f_max_checked=zero - torch.inf,
            halved=torch.ones_like(
                rows, dtype=torch.bool
            ),  # so that condition 2 cannot hold at the first checkpoint
        )


def ascend(
    hunt: Hunt,
    rows: Int[Tensor, " r"],
    start: Float[Tensor, " r *d"],
    ball: Ball,
    goal: Goal,
    steps: int,
    rho: float = 0.75,
) -> None:
    """Algorithm 1, one run; what it finds goes to ``hunt``.

    Args:
        hunt: The batch.
        rows: The images of it to attack.
        start: Where each begins, inside ``ball``.
        ball: The set to search, around those images.
        goal: ``rows -> (logits, y) -> losses``.
        steps: Number of steps.
        rho: Share of rising steps below which a step size halves.
    """
    run = _Climb.begin(rows, start, ball.eps, hunt.dtype)
    _evaluate(hunt, run, goal)
    last = 0
    due = checkpoints(steps)
    for k in range(steps + 1):
        if (keep := hunt.standing(run.rows)) is not None:
            if not len(keep):
                return
            run, ball = run.select(keep), ball.select(keep)
        if k == steps:
            return
        if k in due:
            _adapt(run, k - last, rho)
            last = k
        x_new = _step(run, ball, 1.0 if k == 0 else MOMENTUM)
        run.x_old, run.x = run.x, x_new
        _evaluate(hunt, run, goal)


def _step(run: _Climb, ball: Ball, momentum: float) -> Float[Tensor, " b *d"]:
    """``z = P(x + eta dir grad)``, then ``P(x + m (z - x) + (1 - m) (x - x_old))``."""
    z = ball.project_(ball.direction(run.grad).mul_(per_image(run.eta, run.x)).add_(run.x))
    inertia = run.x - run.x_old
    return ball.project_(z.sub_(run.x).mul_(momentum).add_(inertia, alpha=1 - momentum).add_(run.x))


def _evaluate(hunt: Hunt, run: _Climb, goal: Goal) -> None:
    """Loss and gradient at the new point, and the bookkeeping of the best one."""
    f, run.grad = hunt.climb(run.x, run.rows, goal(run.rows))
    run.rises = run.rises + (f > run.f)
    run.f = f
    better = f > run.f_max
    run.f_max = torch.where(better, f, run.f_max)
    run.x_max = torch.where(per_image(better, run.x), run.x, run.x_max)
    run.grad_max = torch.where(per_image(better, run.x), run.grad, run.grad_max)


def _adapt(run: _Climb, length: int, rho: float) -> None:
    """At a checkpoint: halve the step and go back to the best point, where the climb has
    stalled."""
    stalled = _stalled(run, length, rho)
    run.eta = torch.where(stalled, run.eta / 2, run.eta)
    run.x = torch.where(per_image(stalled, run.x), run.x_max, run.x)
    run.grad = torch.where(per_image(stalled, run.x), run.grad_max, run.grad)
    run.f_max_checked, run.halved = run.f_max, stalled
    run.rises = torch.zeros_like(run.rises)


def _stalled(run: _Climb, length: int, rho: float) -> Bool[Tensor, " b"]:
    """Condition 1: few steps since the last checkpoint raised the loss. Condition 2: neither eta
    nor f_max moved.

    The paper asks for fewer than ``rho length`` rises, the authors' code, which made the published
    numbers, for at most that many; we follow the code.
    """
    return (run.rises <= rho * length) | (~run.halved & (run.f_max_checked == run.f_max))


def checkpoints(steps: int) -> tuple[int, ...]:
    """Numbers of steps done after which the step size may halve: ``ceil(p_j steps)`` with
    ``p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)``.
    """
    before, p, found = 0.0, 0.22, []
    while p <= 1:
        found.append(
            math.ceil(round(p * steps, 9))
        )  # 0.22 * 100 is a little above 22 in floating point
        before, p = p, p + max(p - before - 0.03, 0.06)
    return tuple(dict.fromkeys(w for w in found if w < steps))
