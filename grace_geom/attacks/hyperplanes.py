"""The nearest point of a hyperplane inside the pixel box, in three norms: FAB's step.

All take points ``x`` in the box, flat, ``(r, d)``; normals ``w``, one a point (where one is 0,
nothing moves); and ``rise`` ``(r,)``, how far ``<w, .>`` is to rise (negative: to fall). They
return the move ``d`` with ``<w, d> = rise`` and ``x + d`` in [0, 1]; where the hyperplane misses
the box, ``x + d`` is the corner nearest to it.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.attacks.looks import looks_on


def to_hyperplane(
    x: Float[Tensor, " r d"], w: Float[Tensor, " r d"], rise: Float[Tensor, " r"]
) -> Float[Tensor, " r d"]:
    """The smallest ``d`` in the maximum norm.

    Every pixel moves by ``min(t, room)`` in the direction that helps, ``room`` being its way to the
    box. What is gained, ``sum_i |w_i| min(t, room_i)``, is concave and piecewise linear in ``t``,
    so that ``t`` follows from the sorted rooms and two cumulative sums.
    """
    towards, room = _towards(x, w, rise)
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


def to_hyperplane_l2(
    x: Float[Tensor, " r d"], w: Float[Tensor, " r d"], rise: Float[Tensor, " r"]
) -> Float[Tensor, " r d"]:
    """The shortest ``d``.

    Every pixel moves by ``min(t |w_i|, room_i)``. The gain is concave and piecewise linear in
    ``t``, so that Newton's steps from 0 rise to the solution and end on its piece, mostly after a
    handful; each is one pass over the pixels.
    """
    towards, room = _towards(x, w, rise)
    weight = towards.abs()
    wanted, square = rise.abs()[:, None], weight.square()
    tiny = torch.finfo(w.dtype).tiny
    t = wanted / square.sum(1, keepdim=True).clamp_min(tiny)
    looks = looks_on(x.device)
    for _ in range(x.shape[1]):  # at least one more pixel is at its room after each
        moved = weight * t
        free = moved < room
        gained = (weight * torch.where(free, moved, room)).sum(1, keepdim=True)
        slope = (square * free).sum(1, keepdim=True)
        longer = t + (wanted - gained) / slope
        rises = (slope > 0) & (longer > t * (1 + 4 * torch.finfo(w.dtype).eps))
        if looks.over(~rises.any()):
            break
        t = torch.where(rises, longer, t)
    return towards.sign() * torch.where(slope > 0, torch.minimum(weight * t, room), room)


def to_hyperplane_l1(
    x: Float[Tensor, " r d"], w: Float[Tensor, " r d"], rise: Float[Tensor, " r"]
) -> Float[Tensor, " r d"]:
    """The ``d`` of smallest sum of moves: pixels go all their way to the box in the order of
    ``|w_i|``, the largest first, and the last of them as far as is needed.
    """
    towards, room = _towards(x, w, rise)
    # Few pixels are enough, mostly, and the largest few are cheaper than a whole sort, but for a
    # GPU, where asking whether they are costs more.
    n, few = x.shape[1], 256 if looks_on(x.device).free else x.shape[1]
    k = min(n, few)
    while True:
        weight, order = towards.abs().topk(k, dim=1)
        gains = weight * room.gather(1, order)
        before = gains.cumsum(1) - gains
        if k == n or bool((before[:, -1] + gains[:, -1] >= rise.abs()).all()):
            break
        k = min(8 * k, n)
    rest = (rise.abs()[:, None] - before).clamp_min_(0)
    part = torch.minimum(rest / weight.clamp_min(torch.finfo(w.dtype).tiny), room.gather(1, order))
    return torch.zeros_like(x).scatter_(1, order, part) * towards.sign()


NEAREST: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "linf": to_hyperplane,
    "l2": to_hyperplane_l2,
    "l1": to_hyperplane_l1,
}
"""By norm."""


def _towards(x: Tensor, w: Tensor, rise: Tensor) -> tuple[Tensor, Tensor]:
    """``w`` with the sign of the direction that helps, and each pixel's way to the box there."""
    towards = w * torch.where(rise < 0, -1.0, 1.0).to(w)[:, None]
    return towards, torch.where(towards > 0, 1 - x, x) * (towards != 0)
