"""Targeted FAB (Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive
boundary attack").

Looks for the *nearest* point of another class: a step goes to the linearised border, found exactly
inside the pixel box, with a pull back towards the image. It has no radius to tune and no loss to
saturate, so it fails for other reasons than Auto-PGD does.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks.apgd import likeliest_wrong
from grace_geom.attacks.balls import Linf
from grace_geom.attacks.losses import margin
from grace_geom.attacks.tracker import Hunt, Logits, Noise, Outcome
from grace_geom.errors import NotFiniteError

ALPHA_MAX, ETA, BETA = (
    0.1,
    1.05,
    0.9,
)  # the paper's sec. 4: pull to the image, step over the border, step back


@torch.inference_mode(False)  # tensors made in inference mode cannot be saved for a backward pass
def fab_t(
    logits_fn: Logits,
    x: Float[Tensor, " b *d"],
    y: Int[Tensor, " b"],
    eps: float,
    steps: int = 100,
    restarts: int = 1,
    targets: int = 9,
    seed: int = 0,
    index: Sequence[int] | Int[Tensor, " b"] | None = None,
    until_fooled: bool = True,
) -> Outcome:
    """Attack a batch with targeted FAB in the maximum norm; an image counts as fooled at a point
    within ``eps``.

    Costs at most ``2 steps`` forwards and ``steps`` backwards an image, a restart and a target, and
    one forward for the ranking of targets; an image that is fooled costs nothing more.

    Args:
        logits_fn: ``x (b, ...) -> logits (b, K)`` for any ``b``.
        x: Images in [0, 1].
        y: Labels.
        eps: Radius, in pixels of [0, 1].
        steps: Steps of one run.
        restarts: Runs for each target: the first from the image itself, others from random points
            within ``eps / 2``.
        targets: How many of the likeliest wrong classes; where there are fewer, all of them.
        seed: Seed of the random starts.
        index: A number for each image that its random start depends on; its position in ``x`` by
            default.
        until_fooled: See :class:`Hunt`.

    Raises:
        PixelError: For images that are not pixels in [0, 1].
        RuntimeError: If a gradient or a logit is NaN.
    """
    noise = Noise(seed, range(len(x)) if index is None else index)
    hunt = Hunt(logits_fn, x, y, until_fooled)
    for rank, target in enumerate(likeliest_wrong(hunt, targets)):
        for restart in range(restarts):
            rows = hunt.rows()
            if len(rows):
                start = hunt.x[rows]
                if restart:
                    start = Linf(start, eps / 2).start(
                        noise.uniform(rows, x.shape[1:], f"fab/{rank}/{restart}")
                    )
                _walk(hunt, rows, start, target, eps, steps)
    return hunt.outcome


def _walk(
    hunt: Hunt,
    rows: Int[Tensor, " r"],
    x: Float[Tensor, " r *d"],
    target: Int[Tensor, " b"],
    eps: float,
    steps: int,
) -> None:
    """Algorithm 1 for one target, one run; what it finds within ``eps`` goes to ``hunt``."""
    image = hunt.x[rows]
    for _ in range(steps):
        if (keep := hunt.standing(rows)) is not None:
            rows, x, image = rows[keep], x[keep], image[keep]
        if not len(rows):
            return
        gap, w = _linearised(hunt, x, rows, target[rows])
        x = _step(x, image, gap, w)
        with torch.no_grad():
            logits = hunt.logits(x)
        losses = margin(logits, hunt.y[rows])
        inside = ((x - image).abs().flatten(1).amax(1) <= eps).nonzero()[:, 0]
        hunt.note(x[inside], rows[inside], logits[inside], losses[inside])
        crossed = _per_image(logits.argmax(1) != hunt.y[rows], x)
        x = torch.where(crossed, image + BETA * (x - image), x)


def _linearised(
    hunt: Hunt, x: Float[Tensor, " r *d"], rows: Int[Tensor, " r"], target: Int[Tensor, " r"]
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r d"]]:
    """``z_t - z_y`` at ``x``, which is 0 on the border, and its gradient, flat."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = hunt.logits(leaf)
        both = torch.stack([target, hunt.y[rows]], dim=1)
        picked = logits.gather(1, both)
        gap = picked[:, 0] - picked[:, 1]
        (w,) = torch.autograd.grad(gap.sum(), leaf)
    if (gap.sum() + w.sum()).isnan():
        raise NotFiniteError(
            "The model's logits or their gradients are NaN under attack: attack in float32."
        )
    return gap.detach().to(x.dtype), w.flatten(1)


def _step(
    x: Float[Tensor, " r *d"],
    image: Float[Tensor, " r *d"],
    gap: Float[Tensor, " r"],
    w: Float[Tensor, " r d"],
) -> Float[Tensor, " r *d"]:
    """Eq. 8 to 10: both ``x`` and the image go to the border of the model linearised at ``x``, and
    are mixed.

    The mix leans to the image by ``min(|d| / (|d| + |d_image|), 0.1)``.
    """
    flat, flat_image = x.flatten(1), image.flatten(1)
    d = to_hyperplane(flat, w, -gap)
    d_image = to_hyperplane(flat_image, w, -gap - (w * (flat_image - flat)).sum(1))
    a, a_image = (each.abs().amax(1).clamp_min(1e-8) for each in (d, d_image))
    alpha = (a / (a + a_image)).clamp(0, ALPHA_MAX)[:, None]
    mixed = (flat + ETA * d) * (1 - alpha) + (flat_image + ETA * d_image) * alpha
    return mixed.clamp_(0, 1).view_as(x)


def to_hyperplane(
    x: Float[Tensor, " r d"], w: Float[Tensor, " r d"], rise: Float[Tensor, " r"]
) -> Float[Tensor, " r d"]:
    """The smallest ``d`` in the maximum norm with ``<w, d> = rise`` and ``x + d`` in the box [0,
    1].

    Every pixel moves by ``min(t, room)`` in the direction that helps, ``room`` being its way to the
    box. What is gained, ``sum_i |w_i| min(t, room_i)``, is concave and piecewise linear in ``t``,
    so that ``t`` follows from the sorted rooms and two cumulative sums. Where the hyperplane misses
    the box, ``x + d`` is the corner nearest to it.

    Args:
        x: Points in the box, flat.
        w: Normals, one a point; where one is 0, nothing moves.
        rise: How far ``<w, .>`` is to rise; negative: to fall.
    """
    towards = w * torch.where(rise < 0, -1.0, 1.0).to(w)[:, None]
    room = torch.where(towards > 0, 1 - x, x) * (towards != 0)
    room_sorted, order = room.sort(dim=1)
    weight = towards.abs().gather(1, order)
    full = (weight * room_sorted).cumsum(1)  # gained by pixels that have used up their room
    free = weight.flip(1).cumsum(1).flip(1)  # weight of this pixel and those with more room
    before, after = full - weight * room_sorted, free - weight
    at_room = full + room_sorted * after  # gained in all, at t = the room of this pixel
    k = (at_room < rise.abs()[:, None]).sum(
        1, keepdim=True
    )  # pixels whose room ends before t is reached
    reachable = k < x.shape[1]
    k = k.clamp_max(x.shape[1] - 1)
    rest = rise.abs()[:, None] - before.gather(1, k)
    t = rest / free.gather(1, k).clamp_min(torch.finfo(w.dtype).tiny)
    t = torch.where(reachable, t, room_sorted[:, -1:])
    return towards.sign() * torch.minimum(room, t.clamp_min(0))


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
