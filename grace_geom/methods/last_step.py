"""PGD whose last step differentiates the weights too (ours): one backward pass serves both ascents."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.attacks import Linf, pgd
from grace_geom.attacks.pgd import stop_on_nan
from grace_geom.methods.adversary import Reach
from grace_geom.weights import Weights


def pgd_with_weight_gradient(
    loss: Callable[[Tensor, Weights], Tensor],
    images: Float[Tensor, " b c h w"],
    fixed: Weights,
    names: Sequence[str],
    reach: Reach,
    generator: torch.Generator,
) -> tuple[Float[Tensor, " b c h w"], Weights]:
    """The same attacked images as :func:`pgd`, and a weight gradient that costs a third of one of its own.

    The gradient belongs to the images *before* the last step, which lie alpha away from those returned.

    Args:
        loss: ``(images, weights) -> sum over images``.
        images: In [0, 1].
        fixed: Effective weights, no graph.
        names: Matrices whose gradient is wanted.
        reach: The attack; at least one step.
        generator: Of the random start.

    Returns:
        ``x_adv``, and ``dL/dW`` of each name: a *sum* over images.

    Raises:
        ValueError: If the attack has no step.
        NotFiniteError: If a gradient is NaN.
    """
    if reach.steps < 1:
        raise ValueError("there is no last step to take a gradient from: the attack has 0 steps")
    x = pgd(lambda x: loss(x, fixed), images, *reach._replace(steps=reach.steps - 1), generator=generator)
    live = {name: fixed[name].detach().requires_grad_() for name in names}
    x.requires_grad_()
    g_x, *g_W = torch.autograd.grad(loss(x, fixed | live), [x, *live.values()])
    stop_on_nan([g_x.sum()])
    ball = Linf(images, reach.eps)
    x_adv = ball.project_(ball.direction(g_x).mul_(reach.alpha).add_(x.detach()))
    return x_adv, dict(zip(names, g_W, strict=True))
