"""Carlini & Wagner's L2 attack (2017, "Towards evaluating the robustness of neural networks", sec.
VI.A): the shortest perturbation that changes the answer, by Adam in a variable that cannot leave
the pixel box.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grace_geom.attacks.balls import lengths
from grace_geom.attacks.losses import margin
from grace_geom.attacks.tracker import LOGITS_OR_GRADIENTS_ARE_NAN, Hunt, Logits, Outcome

FIRST_C = 1e-3  # the paper's sec. V.B: the smallest weight of the margin that is tried
INSIDE = 1 - 1e-6  # of the box, where its variable is finite
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8


@torch.inference_mode(False)  # tensors made in inference mode cannot be saved for a backward pass
def cw(
    logits_fn: Logits,
    x: Float[Tensor, " b *d"],
    y: Int[Tensor, " b"],
    eps: float,
    steps: int = 1000,
    searches: int = 9,
    lr: float = 0.01,
    until_fooled: bool = True,
) -> Outcome:
    """Attack a batch with C&W in the L2 norm; an image counts as fooled at a point within ``eps``.

    Minimises ``|x' - x|^2 + c max(z_y - max_{i != y} z_i, 0)`` over ``w`` with
    ``x' = (tanh(w) + 1) / 2``, for ``searches`` values of ``c`` in turn: ten times the last one
    until the answer changes, then halving the interval. Costs at most ``searches * steps`` forwards
    and backwards an image; an image that is fooled costs nothing more.

    Args:
        logits_fn: ``x (b, ...) -> logits (b, K)`` for any ``b``.
        x: Images in [0, 1].
        y: Labels.
        eps: Radius in L2, in pixels of [0, 1].
        steps: Adam's steps for each ``c``. The authors take 10,000. A pixel that is 0 or 1 starts
            at a flat end of the tanh and needs about 300 to leave it at this rate.
        searches: Values of ``c``.
        lr: Adam's rate.
        until_fooled: See :class:`Hunt`.

    Raises:
        PixelError: For images that are not pixels in [0, 1].
        RuntimeError: If a gradient or a logit is NaN.
    """
    hunt = Hunt(logits_fn, x, y, until_fooled)
    c = torch.full_like(hunt.y, FIRST_C, dtype=hunt.dtype)
    low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    for _ in range(searches):
        rows = hunt.rows()
        if not len(rows):
            break
        won = _descend(hunt, rows, c, eps, steps, lr)
        high = torch.where(won, c, high)
        low = torch.where(won, low, c)
        c = torch.where(high.isinf(), 10 * c, (low + high) / 2)
    return hunt.outcome


def _descend(
    hunt: Hunt, rows: Int[Tensor, " r"], c: Float[Tensor, " b"], eps: float, steps: int, lr: float
) -> Bool[Tensor, " b"]:
    """Adam for one ``c`` an image; which images of the batch had another answer on the way."""
    won = torch.zeros_like(hunt.robust)
    image = hunt.x[rows].to(hunt.dtype)
    w = torch.atanh((2 * image - 1).clamp(-1, 1) * INSIDE)
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for k in range(1, steps + 1):
        grad = _look(hunt, rows, w, image, c[rows], eps, won)
        if (keep := hunt.standing(rows)) is not None:
            rows, image, w, grad = rows[keep], image[keep], w[keep], grad[keep]
            first, second = first[keep], second[keep]
        if not len(rows):
            break
        first = first.lerp_(grad, 1 - BETAS[0])
        second = second.lerp_(grad.square(), 1 - BETAS[1])
        scale = (second / (1 - BETAS[1] ** k)).sqrt_().add_(ADAM_EPS)
        w = w - lr / (1 - BETAS[0] ** k) * first / scale
    return won


def _look(
    hunt: Hunt,
    rows: Int[Tensor, " r"],
    w: Float[Tensor, " r *d"],
    image: Float[Tensor, " r *d"],
    c: Float[Tensor, " r"],
    eps: float,
    won: Bool[Tensor, " b"],
) -> Float[Tensor, " r *d"]:
    """The objective's gradient at ``w``; notes in ``hunt`` and ``won`` who was fooled."""
    with torch.enable_grad():
        leaf = w.detach().requires_grad_()
        x = (torch.tanh(leaf) + 1) / 2
        logits = hunt.logits(x.to(hunt.x.dtype))
        margins = margin(logits, hunt.y[rows])
        distance = (x - image).flatten(1).square().sum(1)
        (grad,) = torch.autograd.grad((distance + c * (-margins).clamp_min(0)).sum(), leaf)
    hunt.refuse_nan(grad, rows, LOGITS_OR_GRADIENTS_ARE_NAN)
    x, logits, margins = x.detach().to(hunt.x.dtype), logits.detach(), margins.detach()
    won[rows] |= logits.argmax(1) != hunt.y[rows]
    hunt.note(x, rows, logits, margins, inside=lengths(x - hunt.x[rows], "l2") <= eps)
    return grad
