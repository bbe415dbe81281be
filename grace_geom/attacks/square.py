"""Square Attack (Andriushchenko et al. 2020): random search, no gradients. Algorithm 2, for the
maximum norm, is here; the moves of other norms are in :mod:`.square_windows`.

It cannot be fooled by gradients that vanish or mislead: where it beats a gradient attack, the
gradients were masked.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks.balls import Ball, Linf, ball_named
from grace_geom.attacks.losses import margin
from grace_geom.attacks.square_windows import first_point, tiles, with_window
from grace_geom.attacks.tracker import Hunt, Logits, Noise, Outcome

# Of 10,000 queries. The paper's text leaves out 500; the authors' code has it.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
SCHEDULES = ("stretched", "standard")


def square(
    logits_fn: Logits,
    x: Float[Tensor, " b c h w"],
    y: Int[Tensor, " b"],
    eps: float,
    queries: int = 5000,
    p_init: float = 0.8,
    seed: int = 0,
    index: Sequence[int] | Int[Tensor, " b"] | None = None,
    until_fooled: bool = True,
    schedule: str = "stretched",
    norm: str = "linf",
) -> Outcome:
    """Try one square of ``x + {-eps, eps}`` a query (in L2 and L1 a window with a bump in it), and
    keep it where the margin loss rises.

    Costs at most ``queries`` forwards an image, no backwards.

    Args:
        logits_fn: ``x (b, C, H, W) -> logits (b, K)`` for any ``b``.
        x: Images in [0, 1].
        y: Labels.
        eps: Radius, in pixels of [0, 1].
        queries: Points tried for each image.
        p_init: Share of the pixels that the first squares cover.
        seed: Seed of the search.
        index: A number for each image that its search depends on; its position in ``x`` by default.
        until_fooled: See :class:`Hunt`.
        schedule: ``stretched`` over the queries, so that the last squares cover ``p_init / 512``;
            ``standard``, as AutoAttack has it: that of 10,000 queries, cut off, so that 5,000 end
            at ``p_init / 128``.
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.

    Raises:
        PixelError: For images that are not pixels in [0, 1].
        ValueError: For an unknown norm.
        RuntimeError: If a logit is NaN.
    """
    make = ball_named(norm)
    _, channels, height, width = x.shape
    hunt = Hunt(logits_fn, x, y, until_fooled)
    rows = hunt.rows()
    if not len(rows) or queries < 1:
        return hunt.outcome
    whole = {"stretched": queries, "standard": 10_000}[schedule]
    noise = Noise(seed, range(len(x)) if index is None else index)
    # A hair inside the L1 ball, as the authors' code has it: its sum is over many small roundings.
    ball = make(hunt.x, eps * (1 - 1e-6) if norm == "l1" else eps)
    best, move, numbers, stream = _first(ball, noise, hunt.places(), eps, norm)
    f_best = hunt.look(best, rows, margin)
    draws = noise.uniform(torch.arange(len(x)), (queries - 1, numbers + channels), stream).to(x)
    for query in range(1, queries):
        if (keep := hunt.standing(rows)) is not None:
            rows, best, f_best, draws, ball = (
                rows[keep],
                best[keep],
                f_best[keep],
                draws[keep],
                ball.select(keep),
            )
        if not len(rows):
            break
        side = _side(query - 1, whole, p_init, height, width)
        if norm != "linf":
            side = min(max(side, 3) // 2 * 2 + 1, height, width)
        tried = move(best, ball, draws[:, query - 1], side, eps)
        f = hunt.look(tried, rows, margin)
        better = f > f_best
        best = torch.where(better.view(-1, 1, 1, 1), tried, best)
        f_best = torch.where(better, f, f_best)
    return hunt.outcome


Move = Callable[[Tensor, Any, Tensor, int, float], Tensor]
"""Best points, ball, uniform numbers, side and radius to the points to be tried."""


def _first(
    ball: Ball, noise: Noise, rows: Int[Tensor, " b"], eps: float, norm: str
) -> tuple[Float[Tensor, " b c h w"], Move, int, str]:
    """The first point, how the others are made, how many numbers that takes beside the signs of the
    channels, and their stream.
    """
    _, channels, height, width = ball.x.shape
    if isinstance(ball, Linf):
        stripes = _signs(noise.uniform(rows, (channels, 1, width), "square/stripes").to(ball.x))
        return ball.project_(ball.x + eps * stripes), _with_square, 2, "square/queries"
    count = len(tiles(height, width))
    numbers = noise.uniform(rows, (count, 1 + channels), f"square-{norm}/tiles").to(ball.x)
    return first_point(ball, numbers, eps), with_window, 5, f"square-{norm}/queries"


def _with_square(
    best: Float[Tensor, " b c h w"], ball: Linf, draws: Float[Tensor, " b n"], side: int, eps: float
) -> Float[Tensor, " b c h w"]:
    """``best`` with one square of each image set to ``x + eps`` or ``x - eps``, one sign a
    channel."""
    height, width = best.shape[2:]
    top = (draws[:, 0] * (height - side + 1)).long().view(-1, 1, 1, 1)
    left = (draws[:, 1] * (width - side + 1)).long().view(-1, 1, 1, 1)
    row = torch.arange(height, device=best.device).view(1, 1, -1, 1)
    column = torch.arange(width, device=best.device).view(1, 1, 1, -1)
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    return torch.where(
        inside, ball.project_(ball.x + eps * _signs(draws[:, 2:])[:, :, None, None]), best
    )


def _side(query: int, queries: int, p_init: float, height: int, width: int) -> int:
    """Side of the squares: the share of pixels they cover halves at fixed fractions of the
    budget."""
    p = p_init / 2 ** sum(query * 10_000 // queries > bound for bound in HALVINGS)
    return max(1, min(round(math.sqrt(p * height * width)), height, width))


def _signs(noise: Tensor) -> Tensor:
    return torch.where(noise < 0.5, -1.0, 1.0).to(noise)
