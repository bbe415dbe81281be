"""FAB (Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary
attack"), in three norms, aimed at one class after the other or at the nearest border.

Looks for the *nearest* point of another class: a step goes to the linearised border, found exactly
inside the pixel box, with a pull back towards the image. It has no radius to tune and no loss to
saturate, so it fails for other reasons than Auto-PGD does.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks.apgd import likeliest_wrong
from grace_geom.attacks.balls import L2, Linf, ball_named, lengths, normal
from grace_geom.attacks.hyperplanes import NEAREST
from grace_geom.attacks.losses import margin
from grace_geom.attacks.tracker import LOGITS_OR_GRADIENTS_ARE_NAN, Hunt, Logits, Noise, Outcome

ALPHA_MAX, ETA, BETA = (
    0.1,
    1.05,
    0.9,
)  # the paper's sec. 4: pull to the image, step over the border, step back

Linearise = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Points and their rows of the batch to the gap of logits at a border, which is 0 on it, and its
gradient, flat."""


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
    norm: str = "linf",
) -> Outcome:
    """Attack a batch with targeted FAB; an image counts as fooled at a point within ``eps``.

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
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.

    Raises:
        PixelError: For images that are not pixels in [0, 1].
        ValueError: For an unknown norm.
        RuntimeError: If a gradient or a logit is NaN.
    """
    ball_named(norm)
    noise = Noise(seed, range(len(x)) if index is None else index)
    hunt = Hunt(logits_fn, x, y, until_fooled)
    for rank, target in enumerate(likeliest_wrong(hunt, targets)):
        border = partial(_border_of, hunt, target)
        for restart in range(restarts):
            _run(hunt, noise, f"fab/{rank}/{restart}" if restart else "", border, eps, steps, norm)
    return hunt.outcome


@torch.inference_mode(False)
def fab(
    logits_fn: Logits,
    x: Float[Tensor, " b *d"],
    y: Int[Tensor, " b"],
    eps: float,
    steps: int = 100,
    restarts: int = 5,
    seed: int = 0,
    index: Sequence[int] | Int[Tensor, " b"] | None = None,
    until_fooled: bool = True,
    norm: str = "linf",
) -> Outcome:
    """:func:`fab_t` that goes to the nearest of all linearised borders at every step.

    Costs as many backwards a step as there are classes: meant for ten of them.

    Args and errors are those of :func:`fab_t`.
    """
    ball_named(norm)
    noise = Noise(seed, range(len(x)) if index is None else index)
    hunt = Hunt(logits_fn, x, y, until_fooled)
    border = partial(_nearest_border, hunt, norm)
    for restart in range(restarts):
        _run(hunt, noise, f"fab/any/{restart}" if restart else "", border, eps, steps, norm)
    return hunt.outcome


def _run(
    hunt: Hunt, noise: Noise, stream: str, border: Linearise, eps: float, steps: int, norm: str
) -> None:
    """Algorithm 1 on the images that still stand, from a random point where a stream is named."""
    rows = hunt.rows()
    if not len(rows):
        return
    x = hunt.x[rows]
    if stream:
        x = _start(x, noise.uniform(hunt.places(), x.shape[1:], stream), eps / 2, norm)
    _walk(hunt, rows, x, border, eps, steps, norm)


def _start(
    x: Float[Tensor, " r *d"], noise: Float[Tensor, " r *d"], eps: float, norm: str
) -> Float[Tensor, " r *d"]:
    """A random point at or within ``eps``; in L1 a dense one, as the authors' code has it."""
    if norm != "l1":
        return (Linf if norm == "linf" else L2)(x, eps).start(noise)
    move = normal(noise.to(x))
    return (x + eps * move / _per_image(lengths(move, norm), x)).clamp_(0, 1)


def _walk(
    hunt: Hunt,
    rows: Int[Tensor, " r"],
    x: Float[Tensor, " r *d"],
    border: Linearise,
    eps: float,
    steps: int,
    norm: str,
) -> None:
    """Algorithm 1, one run; what it finds within ``eps`` goes to ``hunt``."""
    image = hunt.x[rows]
    for _ in range(steps):
        if (keep := hunt.standing(rows)) is not None:
            rows, x, image = rows[keep], x[keep], image[keep]
        if not len(rows):
            return
        gap, w = border(x, rows)
        x = _step(x, image, gap, w, norm)
        with torch.no_grad():
            logits = hunt.logits(x)
        losses = margin(logits, hunt.y[rows])
        hunt.note(x, rows, logits, losses, inside=lengths(x - image, norm) <= eps)
        crossed = _per_image(logits.argmax(1) != hunt.y[rows], x)
        x = torch.where(crossed, image + BETA * (x - image), x)


def _border_of(
    hunt: Hunt, target: Int[Tensor, " b"], x: Float[Tensor, " r *d"], rows: Int[Tensor, " r"]
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r d"]]:
    """``z_t - z_y`` at ``x``, and its gradient, flat."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = hunt.logits(leaf)
        both = torch.stack([target[rows], hunt.y[rows]], dim=1)
        picked = logits.gather(1, both)
        gap = picked[:, 0] - picked[:, 1]
        (w,) = torch.autograd.grad(gap.sum(), leaf)
    return _finite(hunt, rows, gap.detach().to(x.dtype), w.flatten(1))


def _nearest_border(
    hunt: Hunt, norm: str, x: Float[Tensor, " r *d"], rows: Int[Tensor, " r"]
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r d"]]:
    """The same for the class whose linearised border is nearest, the box left out of account."""
    y = hunt.y[rows]
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = hunt.logits(leaf)
        gaps = logits - logits.gather(1, y[:, None])
    gap, w = torch.zeros_like(x.flatten(1)[:, 0]), torch.zeros_like(x.flatten(1))
    nearest = torch.full_like(gap, torch.inf)
    for k in range(logits.shape[1]):
        (slope,) = torch.autograd.grad(gaps[:, k].sum(), leaf, retain_graph=True)
        slope, here = slope.flatten(1), gaps[:, k].detach().to(x.dtype)
        distance = here.abs() / (lengths(slope, DUAL[norm]) + 1e-12)
        closer = (distance < nearest) & (y != k)
        nearest, gap = torch.where(closer, distance, nearest), torch.where(closer, here, gap)
        w = torch.where(closer[:, None], slope, w)
    return _finite(hunt, rows, gap, w)


DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}


def _finite(hunt: Hunt, rows: Tensor, gap: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    hunt.refuse_nan(gap + w.sum(1), rows, LOGITS_OR_GRADIENTS_ARE_NAN)
    return gap, w


def _step(
    x: Float[Tensor, " r *d"],
    image: Float[Tensor, " r *d"],
    gap: Float[Tensor, " r"],
    w: Float[Tensor, " r d"],
    norm: str,
) -> Float[Tensor, " r *d"]:
    """Eq. 8 to 10: both ``x`` and the image go to the border of the model linearised at ``x``, and
    are mixed.

    The mix leans to the image by ``min(|d| / (|d| + |d_image|), 0.1)``.
    """
    flat, flat_image = x.flatten(1), image.flatten(1)
    nearest = NEAREST[norm]
    d = nearest(flat, w, -gap)
    d_image = nearest(flat_image, w, -gap - (w * (flat_image - flat)).sum(1))
    a, a_image = (lengths(each, norm).clamp_min(1e-8) for each in (d, d_image))
    alpha = (a / (a + a_image)).clamp(0, ALPHA_MAX)[:, None]
    mixed = (flat + ETA * d) * (1 - alpha) + (flat_image + ETA * d_image) * alpha
    return mixed.clamp_(0, 1).view_as(x)


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
