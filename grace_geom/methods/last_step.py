"""The last PGD step, differentiating the weights too (ours): one backward pass serves both
ascents."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.attacks import Linf
from grace_geom.attacks.balls import extent_of
from grace_geom.attacks.pgd import stop_unless_sound
from grace_geom.methods.adversary import Reach
from grace_geom.weights import Weights


def last_step(
    loss: Callable[[Tensor, Weights], Tensor],
    x: Float[Tensor, " b c h w"],
    images: Float[Tensor, " b c h w"],
    fixed: Weights,
    names: Sequence[str],
    reach: Reach,
    stop: float | None = None,
    sums: Sequence[Tensor] = (),
) -> tuple[Float[Tensor, " b c h w"], Weights]:
    """The attacked images after one more step, and a weight gradient that costs a third of one of
    its own.

    The gradient belongs to the images *before* this step, which lie alpha away from those returned.

    Args:
        loss: ``(images, weights) -> (B,)``.
        x: Where all steps but the last led.
        images: The clean images, in [0, 1].
        fixed: Effective weights, no graph.
        names: Matrices whose gradient is wanted.
        reach: The attack.
        stop: Images whose loss exceeds it stay where they are, as in
            :func:`grace_geom.attacks.pgd_until`; their part of the gradient counts. ``None``: none
            does.
        sums: Of the gradients of the steps before, where nobody has looked at them yet.

    Returns:
        ``x_adv``, and ``dL/dW`` of each name: a *sum* over images.

    Raises:
        PixelError: If the images are not pixels in [0, 1].
        NotFiniteError: If a gradient is NaN.
    """
    live = {name: fixed[name].detach().requires_grad_() for name in names}
    x = x.detach().requires_grad_()
    values = loss(x, fixed | live)
    g_x, *g_W = torch.autograd.grad(values.sum(), [x, *live.values()])
    stop_unless_sound(images, extent_of(images), [*sums, g_x.sum()])
    ball = Linf(images, reach.eps)
    x_adv = ball.project_(ball.direction(g_x).mul_(reach.alpha).add_(x.detach()))
    solved = values.detach() > (math.inf if stop is None else stop)
    x_adv = torch.where(solved.view(-1, 1, 1, 1), x.detach(), x_adv)
    return x_adv, dict(zip(names, g_W, strict=True))
