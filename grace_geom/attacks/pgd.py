"""Projected gradient descent (Madry et al. 2018; GRACE Eq. 19): the inner maximisation of
adversarial training.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks.balls import Linf, Maker, ball_named, check_pixels, extent_of
from grace_geom.attacks.looks import looks_on
from grace_geom.attacks.losses import Criterion, cross_entropy
from grace_geom.attacks.tracker import Hunt, Logits, Noise, Outcome
from grace_geom.distributed import heard_of_all, world
from grace_geom.errors import NotFiniteError


@torch.inference_mode(False)  # tensors made in inference mode cannot be saved for a backward pass
def pgd(
    loss: Callable[[Float[Tensor, " b *d"]], Float[Tensor, " *b"]],
    x: Float[Tensor, " b *d"],
    eps: float,
    alpha: float,
    steps: int,
    generator: torch.Generator | None = None,
    random_start: bool = True,
    ball: Maker = Linf,
    gradient: Callable[[Float[Tensor, " b *d"]], Float[Tensor, " b *d"]] | None = None,
    sums: list[Tensor] | None = None,
) -> Float[Tensor, " b *d"]:
    """``x_{t+1} = Proj(x_t + alpha sign grad loss(x_t))``, from a uniform random point of the ball.

    Costs ``steps`` calls of ``loss``, each with one backward pass to the input: two forwards a
    step. Gradients of weights are never computed, whether or not the weights ask for them. The loss
    should be a *sum* over samples, or one number a sample: the gradients of a mean shrink with the
    batch and vanish in fp16.

    Args:
        loss: What to maximise: ``x_adv -> (B,)`` or a scalar. Called on a fresh leaf each time.
        x: Images in [0, 1], ``(B, C, H, W)``. Keep them in float32 also under autocast: bfloat16
            cannot hold a step of 1/255.
        eps: Radius of the ball, in pixels of [0, 1].
        alpha: Step size, same unit.
        steps: Number of steps; 0 returns the start.
        generator: Source of the random start, on any device: one on the CPU gives the same start on
            every device. Of W processes, each holding every W-th image of a batch and the generator
            in the same state, each image gets the start that it would get in one process.
        random_start: Whether to start from a random point of the ball, or from ``x``.
        ball: :class:`Linf`, :class:`L2` or :class:`L1`.
        gradient: Another way to the gradient of ``loss``: compiled, or a CUDA graph. Its result may
            be overwritten by the next call. By default :func:`input_gradient`.
        sums: Filled with the sum of each step's gradient, where the caller makes more steps and
            calls :func:`stop_unless_sound` itself; by default this is done here, at the end.

    Returns:
        ``x_adv`` in the ball and in [0, 1], detached.

    Raises:
        ValueError: If a random start is asked for without a generator, or an argument is out of
            range, images that are not pixels in [0, 1] (:class:`PixelError`) included.
        RuntimeError: If a gradient is NaN.
    """
    if random_start and generator is None:
        raise ValueError(
            "pgd needs a torch.Generator for its random start (or random_start=False)."
        )
    if steps < 0:
        raise ValueError(f"pgd needs steps >= 0; got {steps}.")
    with torch.enable_grad():
        region = ball(x.detach(), eps)
        extent = extent_of(x) if x.numel() and sums is None else None
        x_adv = (
            x.detach().clone()
            if generator is None or not random_start
            else region.start(_uniform(x, generator))
        )
        seen: list[Tensor] = [] if sums is None else sums
        for _ in range(steps):
            grad = input_gradient(loss, x_adv) if gradient is None else gradient(x_adv)
            seen.append(grad.sum())
            # In place in the direction's own memory: on a CPU a fresh tensor costs ten times the
            # arithmetic.
            x_adv = region.project_(region.direction(grad).mul_(alpha).add_(x_adv))
    if sums is None:
        stop_unless_sound(x, extent, seen)
    return x_adv


@torch.inference_mode(False)
def pgd_until(
    loss: Callable[[Float[Tensor, " b *d"], Int[Tensor, " b"]], Float[Tensor, " b"]],
    x: Float[Tensor, " n *d"],
    eps: float,
    alpha: float,
    steps: int,
    stop: float,
    generator: torch.Generator,
    ball: Maker = Linf,
    sums: list[Tensor] | None = None,
) -> tuple[Float[Tensor, " n *d"], Int[Tensor, " n"]]:
    """:func:`pgd` that leaves each image at the first point on its way where its loss exceeds
    ``stop``.

    Stopping early at a wrong answer is friendly adversarial training's (Zhang et al. 2020, arXiv
    2002.11242); a bound on the loss in its place is ours. The loss that is compared is the one
    whose gradient gives the next step, so no pass is added; the point that the last step leads to
    is not looked at, as in :func:`pgd`. Each image decides for itself, whatever the batch or the
    processes that it shares: without rounding, it ends at the same point in any.

    Costs one forward and one backward pass of the images still under way a step; on a GPU of those
    that were so some steps ago (:mod:`.looks`), so that it need not wait for the device. The passes
    change their shapes: not for graphs of fixed shape.

    Args:
        loss: ``(x_adv[rows], rows) -> (b,)``, one number for each of the images ``rows`` that are
            still under way.
        x: Images in [0, 1].
        eps: Radius of the ball, in pixels of [0, 1].
        alpha: Step size, same unit.
        steps: Most steps of an image.
        stop: In the unit of the loss; ``math.inf`` gives what :func:`pgd` gives, bit for bit.
        generator: Source of the random start, as there.
        ball: :class:`Linf`, :class:`L2` or :class:`L1`.
        sums: As there.

    Returns:
        ``x_adv``, detached, and how many gradients each image took to its end: on a CPU the cost is
            twice their sum.

    Raises:
        ValueError: If an argument is out of range, the images included.
        RuntimeError: If a gradient is NaN.
    """
    if steps < 0:
        raise ValueError(f"pgd_until needs steps >= 0; got {steps}.")
    with torch.enable_grad():
        region = ball(x.detach(), eps)
        extent = extent_of(x) if x.numel() and sums is None else None
        x_adv = region.start(_uniform(x, generator))
        rows = torch.arange(len(x), device=x.device)
        moving = torch.ones_like(rows, dtype=torch.bool)
        taken, looks = torch.zeros_like(rows), looks_on(x.device)
        seen: list[Tensor] = [] if sums is None else sums
        for _ in range(steps):
            here = x_adv[rows].requires_grad_()
            values = loss(here, rows)
            (grad,) = torch.autograd.grad(values.sum(), here)
            seen.append(grad.sum())
            taken[rows] += moving
            here, moving = here.detach(), moving & (values.detach() <= stop)
            if (left := looks.keep(moving)) is not None:
                rows, here, grad, region = rows[left], here[left], grad[left], region.select(left)
                moving = moving[left]
            if not len(rows):
                break
            there = region.project_(region.direction(grad).mul_(alpha).add_(here))
            if not looks.free:  # some of the rows may be at their end
                there = torch.where(moving.view(-1, *[1] * (x.ndim - 1)), there, here)
            x_adv[rows] = there
    if sums is None:
        stop_unless_sound(x, extent, seen)
    return x_adv, taken


def input_gradient(
    loss: Callable[[Tensor], Tensor], x: Float[Tensor, " b *d"]
) -> Float[Tensor, " b *d"]:
    """Gradient of ``loss(x)``, summed over samples, with respect to ``x`` alone: one forward, one
    backward.
    """
    leaf = x.detach().requires_grad_()
    (grad,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    return grad


def stop_unless_sound(x: Tensor, extent: tuple[Tensor, Tensor] | None, sums: list[Tensor]) -> None:
    """:func:`stop_on_nan` and :func:`check_pixels` in one look at the device where all is well.

    Args:
        x: The images that were attacked.
        extent: Their smallest and largest number; ``None`` where there are none.
        sums: The sum of each step's gradient.

    Raises:
        PixelError: If the images are not pixels in [0, 1].
        NotFiniteError: If a gradient is NaN.
    """
    heard_of_all()
    if extent is not None:
        low, high = (end.double() for end in extent)
        total = torch.stack(sums).sum() if sums else torch.zeros_like(low)
        if bool((low >= 0) & (high <= 1) & ~total.isnan()):
            return
    check_pixels(x, extent)  # rounding is borne there
    stop_on_nan(sums)


def stop_on_nan(sums: list[Tensor]) -> None:
    """Raise if a step's gradient held a NaN. Looks once, at the end: a look every step would stall
    a GPU.

    ``sign(NaN)`` is 0 in torch, so without this look a NaN would pass for an attack that finds
    nothing.

    Args:
        sums: The sum of each step's gradient.

    Raises:
        NotFiniteError: Naming the first such step.
    """
    bad = torch.stack(sums).isnan().nonzero() if sums else torch.empty(0)
    if len(bad):
        raise NotFiniteError(
            f"The attack's gradient is NaN at step {int(bad[0]) + 1} of {len(sums)}. The model "
            "overflows at this precision, or its weights are NaN already: use --precision float32, "
            "or lower --lr."
        )


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """One number a pixel. Of several processes each draws those of the whole batch and takes its
    own images' rows.
    """
    here = world()
    shape = (len(x) * here.size, *x.shape[1:])
    noise = torch.rand(shape, generator=generator, device=generator.device, dtype=x.dtype)
    return noise[here.rank :: here.size].to(x.device)


@torch.inference_mode(False)  # tensors made in inference mode cannot be saved for a backward pass
def pgd_attack(
    logits_fn: Logits,
    x: Float[Tensor, " b *d"],
    y: Int[Tensor, " b"],
    eps: float,
    alpha: float | None = None,
    steps: int = 20,
    restarts: int = 1,
    norm: str = "linf",
    seed: int = 0,
    index: Sequence[int] | Int[Tensor, " b"] | None = None,
    until_fooled: bool = True,
    random_start: bool = True,
    loss: Criterion = cross_entropy,
) -> Outcome:
    """PGD as an evaluation: an image is robust if no point on the way was misclassified.

    One step of ``alpha = eps`` without a random start is FGSM (Goodfellow et al. 2015); ``loss=``
    :func:`.losses.margin` is what robustness papers call CW in a ball (Carlini & Wagner's margin
    climbed by PGD).

    Costs ``steps`` forwards and backwards and one more forward an image and a restart, and nothing
    more once an image is fooled.

    Args:
        logits_fn: ``x (b, ...) -> logits (b, K)`` for any ``b``.
        x: Images in [0, 1].
        y: Labels.
        eps: Radius, in pixels of [0, 1].
        alpha: Step size, same unit; ``eps / 4`` by default.
        steps: Steps of one run.
        restarts: Runs from different random points.
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.
        seed: Seed of the random starts.
        index: A number for each image that its random start depends on; its position in ``x`` by
            default.
        until_fooled: See :class:`Hunt`.
        random_start: ``False`` starts at the images themselves: weaker, and a check of it (then one
            run is enough).
        loss: What to climb, one number an image.

    Raises:
        ValueError: For an unknown norm, or images that are not pixels in [0, 1].
        RuntimeError: If a gradient or a logit is NaN.
    """
    alpha = eps / 4 if alpha is None else alpha
    hunt = Hunt(logits_fn, x, y, until_fooled)
    noise = Noise(seed, range(len(x)) if index is None else index)
    for restart in range(restarts):
        rows = hunt.rows()
        if not len(rows):
            break
        ball = ball_named(norm)(hunt.x[rows], eps)
        x_adv = (
            ball.start(noise.uniform(hunt.places(), x.shape[1:], f"pgd/{restart}"))
            if random_start
            else hunt.x[rows].clone()
        )
        for _ in range(steps):
            _, grad = hunt.climb(x_adv, rows, loss)
            if (keep := hunt.standing(rows)) is not None:
                rows, x_adv, grad, ball = rows[keep], x_adv[keep], grad[keep], ball.select(keep)
            if not len(rows):
                break
            x_adv = ball.project_(ball.direction(grad).mul_(alpha).add_(x_adv))
        if len(rows):
            hunt.look(x_adv, rows, loss)
    return hunt.outcome
