"""Square Attack's moves in the L2 and the L1 norm (Andriushchenko et al. 2020, Algorithm 3; for L1
Croce & Hein 2021, appendix): a window of the perturbation gets a new bump, paid for by what a
second window held.
"""

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.attacks.balls import L1, Ball

TINY = 1e-12


def tiles(height: int, width: int) -> list[tuple[int, int, int]]:
    """Top, left and side of the squares that the first point is made of: a fifth of the height
    each, as many as fit.
    """
    side = max(height // 5, 1)
    rim = (height - 5 * side) // 2 if height >= 5 else 0
    return [
        (top, left, side)
        for top in range(rim, height - side + 1, side)
        for left in range(rim, width - side + 1, side)
    ]


def first_point(
    ball: Ball, noise: Float[Tensor, " b t n"], eps: float
) -> Float[Tensor, " b c h w"]:
    """A bump in each of the :func:`tiles`, of random direction, and of random sign in each channel.

    Args:
        ball: Around the images.
        noise: Uniform numbers: for each tile one for the direction and one a channel.
        eps: Radius.
    """
    x = ball.x
    delta = torch.zeros_like(x)
    for i, (top, left, side) in enumerate(tiles(x.shape[2], x.shape[3])):
        bump = _bump(side, noise[:, i, 0], x, isinstance(ball, L1)).view(-1, 1, side, side)
        signs = torch.where(noise[:, i, 1:] < 0.5, -1.0, 1.0).to(x)[:, :, None, None]
        delta[:, :, top : top + side, left : left + side] = bump * signs
    return _within(ball, delta, eps)


def with_window(
    best: Float[Tensor, " b c h w"], ball: Ball, draws: Float[Tensor, " b n"], side: int, eps: float
) -> Float[Tensor, " b c h w"]:
    """``best`` with the next move.

    Args:
        best: The points to move from.
        ball: Around the images.
        draws: Uniform numbers: the place of the window, that of the second one, the direction of
            the bump, its sign in each channel.
        side: Of both windows.
        eps: Radius.
    """
    channels, height, width = best.shape[1:]
    delta = (best - ball.x).flatten(2)
    first, _ = _window(draws[:, :2], side, height, width)
    second, beyond = _window(draws[:, 2:4], side, height, width, draws[:, :2])
    at = first[:, None].expand(-1, channels, -1)
    other = second[:, None].expand(-1, channels, -1)
    old, given_up = delta.gather(2, at), delta.gather(2, other) * beyond[:, None]
    power = 1 if isinstance(ball, L1) else 2
    size = old.norm(p=power, dim=2, keepdim=True)
    held = size**power + given_up.norm(p=power, dim=2, keepdim=True) ** power
    unused = (eps**power - delta.flatten(1).norm(p=power, dim=1) ** power).clamp_min(0)
    length = unused[:, None, None] / channels + held
    length = length * channels if power == 1 else length.sqrt()
    signs = torch.where(draws[:, 5:] < 0.5, -1.0, 1.0).to(best)[:, :, None]
    new = _bump(side, draws[:, 4], best, power == 1)[:, None] * signs + old / (TINY + size)
    new = new * (length / (TINY + new.norm(p=power, dim=2, keepdim=True)))
    delta = delta.scatter_(2, other, 0.0).scatter_(2, at, new)
    return _within(ball, delta.view_as(best), eps)


def _within(ball: Ball, delta: Float[Tensor, " b c h w"], eps: float) -> Float[Tensor, " b c h w"]:
    """The perturbation at its whole length, clipped to the box; in L1 the nearest point of both."""
    if isinstance(ball, L1):
        return ball.project_(delta + ball.x)
    length = delta.flatten(1).norm(dim=1) + TINY
    return (delta * (eps / length).view(-1, 1, 1, 1)).add_(ball.x).clamp_(0, 1)


def _window(
    corner: Float[Tensor, " b 2"],
    side: int,
    height: int,
    width: int,
    other: Float[Tensor, " b 2"] | None = None,
) -> tuple[Int[Tensor, " b s"], Float[Tensor, " b s"]]:
    """Places of a window's pixels in a flat image; 1 for those outside the window at ``other``."""
    run = torch.arange(side, device=corner.device)
    top, left = _corner(corner, side, height, width)
    rows, columns = top[:, None] + run, left[:, None] + run
    places = (rows[:, :, None] * width + columns[:, None]).flatten(1)
    if other is None:
        return places, torch.ones_like(places, dtype=corner.dtype)
    top, left = _corner(other, side, height, width)
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    return places, (~(in_rows[:, :, None] & in_columns[:, None])).flatten(1).to(corner)


def _corner(draws: Tensor, side: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    return (draws[:, 0] * (height - side + 1)).long(), (draws[:, 1] * (width - side + 1)).long()


def _bump(side: int, turn: Float[Tensor, " b"], like: Tensor, sparse: bool) -> Tensor:
    """``(b, side * side)`` the bump, for half of the images its transpose."""
    both = _both_ways(side, 1 if sparse else 2, like.device, like.dtype)
    return both[(turn > 0.5).long()]


@functools.lru_cache(maxsize=256)  # a copy to a GPU for each query would make the host wait
def _both_ways(
    side: int, power: int, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, " 2 s"]:
    """The bump and its transpose, flat."""
    upright = bump(side, power).to(device, dtype, non_blocking=True)
    return torch.stack([upright.flatten(), upright.T.flatten()])


@functools.lru_cache(maxsize=256)
def bump(side: int, power: int) -> Float[Tensor, " s s"]:
    """A hill above, a hollow below; float64, of size one in L2 (``power`` 2) or L1 (1).

    A pixel at distance ``d`` (the larger of rows and columns) from the middle of its half is as
    high as ``sum_(k > d) 1 / k^2`` up to ``n``, the largest half side: flat squares laid on each
    other. In L1 it is ``1 / k^4``.
    """
    up, down = _hill(side // 2, side, power), _hill(side - side // 2, side, power)
    whole = torch.cat([up, -down])
    return whole / whole.norm(p=power)


def _hill(height: int, width: int, power: int) -> Float[Tensor, " h w"]:
    if height == 0:
        return torch.zeros(0, width, dtype=torch.float64)
    rows, columns = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None])
    n = max(height, width) // 2 + 1
    layers = torch.arange(1, n + 1, dtype=torch.float64).pow(-2 if power == 2 else -4)
    hill = layers.flip(0).cumsum(0).flip(0)[distance]
    return hill / hill.norm(p=power)
