"""The sets an attack may search: a norm ball around each image, cut with the pixel box [0, 1]."""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from grace_geom.attacks.looks import looks_on
from grace_geom.errors import PixelError
from grace_geom.quantities import radius
from grace_geom.records import radius_text

ROUNDING = 1e-5
"""How far a pixel may lie outside [0, 1] by rounding, as after normalising and back in float32."""


@runtime_checkable
class Ball(Protocol):
    """``{x' : |x' - x| <= eps, x' in [0, 1]}`` around a batch ``x``; made once an attack, used
    every step."""

    eps: float
    x: Tensor

    def __init__(self, x: Float[Tensor, " b *d"], eps: float) -> None: ...

    def start(self, noise: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """A point of the ball from numbers uniform in [0, 1), one for each pixel."""
        ...

    def direction(self, grad: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """The steepest ascent direction of size one in the ball's norm, in memory of its own."""
        ...

    def project_(self, x_adv: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """Bring ``x_adv`` back into the set, in place."""
        ...

    def select(self, rows: Tensor) -> "Ball":
        """The same ball around some of the images."""
        ...


class Linf:
    """``max |x' - x| <= eps``: each pixel moves by at most ``eps``. Projection is one clamp between
    two bounds.

    Args:
        x: ``(B, ...)`` images in [0, 1].
        eps: Radius in pixel units of [0, 1], such as ``4 / 255``.

    Raises:
        ValueError: If ``eps`` is negative or not finite, or ``x`` is not floating point. (That its
            values are pixels is for :func:`check_pixels`: looking at them waits for a GPU.)
    """

    def __init__(self, x: Float[Tensor, " b *d"], eps: float) -> None:
        _check(x, eps, "linf")
        self.eps = eps
        self.lower = (x - eps).clamp_(0, 1)
        self.upper = (x + eps).clamp_(0, 1)
        self.x = x

    def start(self, noise: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """Uniform in the ball, then clipped to the box."""
        return self.project_(torch.add(self.x, noise.to(self.x).mul(2).sub_(1), alpha=self.eps))

    def direction(self, grad: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """``sign(grad)``."""
        return grad.sign()

    def project_(self, x_adv: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """The nearest point of the set, exactly."""
        return x_adv.clamp_(self.lower, self.upper)

    def select(self, rows: Tensor) -> "Linf":
        """The same ball around some of the images."""
        return type(self)(self.x[rows], self.eps)


class L2:
    """``‖x' - x‖₂ <= eps`` for each image, cut with the box.

    Clipping to the box moves every pixel towards ``x`` (which is in the box), so it never leaves
    the ball; the result is inside both sets, though not always their nearest point.

    Args and errors are those of :class:`Linf`.
    """

    def __init__(self, x: Float[Tensor, " b *d"], eps: float) -> None:
        _check(x, eps, "l2")
        self.eps = eps
        self.x = x

    def start(self, noise: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """Uniform on the sphere (where nearly all of a high-dimensional ball lies), then clipped to
        the box.
        """
        normal = torch.erfinv(_open(noise.to(self.x)))
        return self.project_(torch.add(self.x, self.direction(normal), alpha=self.eps))

    def direction(self, grad: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """``grad / ‖grad‖₂`` for each image; zero where the gradient is zero."""
        return grad / _norms(grad).clamp_min_(torch.finfo(grad.dtype).tiny)

    def project_(self, x_adv: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """Shrink the perturbation to length ``eps`` where it is longer, then clip to the box."""
        delta = x_adv.sub_(self.x)
        shrink = (self.eps / _norms(delta).clamp_min_(torch.finfo(delta.dtype).tiny)).clamp_max_(1)
        return delta.mul_(shrink).add_(self.x).clamp_(0, 1)

    def select(self, rows: Tensor) -> "L2":
        """The same ball around some of the images."""
        return type(self)(self.x[rows], self.eps)


class L1:
    """``sum |x' - x| <= eps`` for each image, cut with the box (Croce & Hein 2021, "Mind the box").

    Projection is exact for the two sets together: clipping after a projection on the ball alone
    would leave a part of the radius unused.

    Args and errors are those of :class:`Linf`.
    """

    SHARE = 0.01
    """Of the pixels that a direction moves, as in SLIDE (Tramèr & Boneh 2019)."""

    def __init__(self, x: Float[Tensor, " b *d"], eps: float) -> None:
        _check(x, eps, "l1")
        self.eps = eps
        self.x = x

    def start(self, noise: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """The projection of ``x`` plus a standard normal number for each pixel."""
        return self.project_(self.x + normal(noise.to(self.x)))

    def direction(self, grad: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """The signs of the largest 1 % of the gradient, equally large and of sum one; zero where
        the gradient is zero.

        A single pixel would be steepest, but the box stops it at once.
        """
        flat = grad.flatten(1)
        _, places = flat.abs().topk(math.ceil(self.SHARE * flat.shape[1]), dim=1)
        signs = flat.gather(1, places).sign()
        signs = signs / signs.abs().sum(1, keepdim=True).clamp_min(1)
        return torch.zeros_like(flat).scatter_(1, places, signs).view_as(grad)

    def project_(self, x_adv: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """The nearest point of the set in Euclidean distance: every pixel's move shrinks by one
        number, to no less than 0 and no more than its way to the box.
        """
        delta = x_adv.sub_(self.x)
        room = torch.where(delta > 0, 1 - self.x, self.x).clamp_min_(0)
        kept = shrunk(delta.abs().flatten(1), room.flatten(1), self.eps).view_as(delta)
        return delta.sign_().mul_(kept).add_(self.x).clamp_(0, 1)

    def select(self, rows: Tensor) -> "L1":
        """The same ball around some of the images."""
        return type(self)(self.x[rows], self.eps)


def shrunk(
    size: Float[Tensor, " b n"], room: Float[Tensor, " b n"], total: float
) -> Float[Tensor, " b n"]:
    """``min(max(size - t, 0), room)`` with the smallest ``t >= 0`` whose sum is at most ``total``.

    The sum falls with ``t`` and is piecewise linear, so that Newton's steps inside of a bracket end
    on the piece of the solution, mostly in fewer than ten passes; sorting the ends of the pieces
    costs several times as much.

    Args:
        size: Numbers >= 0.
        room: Upper bounds >= 0.
        total: The sum aimed at, >= 0.
    """
    dtype, wide = size.dtype, torch.promote_types(size.dtype, torch.float32)
    size, room = size.to(wide), room.to(wide)
    kept = torch.minimum(size, room)
    found, rows = kept.clone(), torch.arange(len(size), device=size.device)
    t, low = torch.zeros_like(size[:, :1]), torch.zeros_like(size[:, :1])
    high = size.amax(1, keepdim=True)
    slack = 8 * torch.finfo(wide).eps * (high + total)  # what the subtraction itself may be out by
    done, looks = torch.zeros_like(t, dtype=torch.bool), looks_on(size.device)
    for _ in range(100):  # halving the bracket alone ends in about 60
        excess = kept.sum(1, keepdim=True) - total
        solved = (excess <= slack) & ((excess >= -slack) | (t == 0))
        done = done | solved | (high - low <= slack)
        if (left := looks.keep(~done[:, 0])) is not None:
            found[rows] = kept
            if not len(left):
                break
            rows, size, room, kept = rows[left], size[left], room[left], kept[left]
            t, low, high, slack = t[left], low[left], high[left], slack[left]
            done, excess = done[left], excess[left]
        low, high = torch.where(excess > 0, t, low), torch.where(excess > 0, high, t)
        moving = ((kept > 0) & (kept < room)).sum(1, keepdim=True)
        newton = t + excess / moving
        inside = (newton > low) & (newton < high)  # not so for 0 / 0 and for a flat piece
        # What is solved stays as it is: another step could leave the solution.
        t = torch.where(done, t, torch.where(inside, newton, (low + high) / 2))
        kept = torch.minimum((size - t).clamp_min_(0), room)
    else:
        found[rows] = kept
    tiny = torch.finfo(wide).tiny
    found *= (total / found.sum(1, keepdim=True).clamp_min(tiny)).clamp_max(1)
    return found.to(dtype)


Maker = Callable[[Tensor, float], Ball]
"""Images and radius to a ball around them. Not ``type[Ball]``: which class has a protocol's data
cannot be checked at run time."""

BALLS: dict[str, Maker] = {"linf": Linf, "l2": L2, "l1": L1}


def ball_named(norm: str) -> Maker:
    """The ball of a norm.

    Raises:
        ValueError: For a norm that is not in ``BALLS``.
    """
    if norm not in BALLS:
        raise ValueError(f"norm must be one of {', '.join(BALLS)}; got {norm!r}.")
    return BALLS[norm]


def check_eps(eps: float, norm: str = "linf") -> str | None:
    """A warning where a radius is so large that it looks like a slip, or so small for the length of
    a whole perturbation that it looks like one of the maximum norm; else ``None``.

    Radii above 1 in the maximum norm, such as ``4`` for ``4/255``, are refused where options are
    read (:mod:`grace_geom.fields`) and by :class:`grace_geom.attacks.AttackSpec`.

    Args:
        eps: The radius as given, in units of [0, 1].
        norm: ``"linf"``, ``"l2"`` or ``"l1"``. In the latter two a large radius is as good as any.
    """
    if norm != "linf" and 0 < eps < 0.1:
        return (
            f"eps = {eps:g} is the length of the whole perturbation in norm {norm}, not of one "
            f"pixel's: usual are {'0.5 to 3' if norm == 'l2' else '12 to 75'}"
        )
    if norm != "linf" or not eps >= 0.5:
        return None
    return (
        f"ε = {radius(eps)} lets every pixel become anything: pixels are in [0, 1] here, so 4 of 255 "
        f"grey levels is written 4/255. Did you mean {eps:g}/255?"
    )


def check_pixels(x: Tensor, extent: tuple[Tensor, Tensor] | None = None) -> None:
    """Refuse images that are not floating-point pixels in [0, 1], up to rounding.

    An attack clips to [0, 1], so that other images would move by far more than ``eps``.

    Args:
        x: Images, of any shape.
        extent: What ``extent_of(x)`` gave, where it was taken before.

    Raises:
        PixelError: For integers, NaN, or numbers below 0 or above 1; half precision may be out by
            a rounding of its own.
    """
    check_type(x)
    if not x.numel() or isinstance(x, FakeTensor):  # a pass over shapes alone has no numbers
        return
    low, high = (float(end) for end in extent or extent_of(x))
    if math.isnan(low) or math.isnan(high):
        raise PixelError("the images to attack hold NaN: look at how they were read or normalised")
    slack = max(ROUNDING, 2 * torch.finfo(x.dtype).eps)
    if low < -slack or high > 1 + slack:
        raise PixelError(
            f"the images to attack must be pixels in [0, 1]; these go from {low:.4g} to "
            f"{high:.4g}: divide values of 0 to 255 by 255, and normalise by mean and std inside "
            "the model, so that eps is measured in pixels"
        )


def extent_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest number, NaN where there is one; still on the device of ``x``."""
    low, high = x.detach().aminmax()
    return low, high


def check_type(x: Tensor) -> None:
    """Refuse images of integers, which no step of an attack can move; looks at no number.

    Raises:
        PixelError: For such images.
    """
    if not x.is_floating_point():
        raise PixelError(
            f"Attacks need floating-point images in [0, 1]; got {x.dtype}. Divide uint8 images by "
            "255."
        )


def _check(x: Tensor, eps: float, norm: str) -> None:
    check_type(x)
    if not (math.isfinite(eps) and eps >= 0):
        like = "4/255" if norm == "linf" else "0.5"
        raise ValueError(
            f"eps must be a finite number >= 0 (such as {like}); got {radius_text(eps, norm)}."
        )


def _open(noise: Tensor) -> Tensor:
    """From [0, 1) to (-1, 1): ``erfinv`` is infinite at the ends."""
    tiny = 2.0**-25
    return noise.clamp(tiny, 1 - tiny).mul_(2).sub_(1)


def normal(noise: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones."""
    return torch.erfinv(_open(noise)).mul_(math.sqrt(2))


def lengths(delta: Float[Tensor, " b *d"], norm: str) -> Float[Tensor, " b"]:
    """How far each image was moved, in ``"linf"``, ``"l2"`` or ``"l1"``."""
    flat = delta.flatten(1)
    if norm == "linf":
        return flat.abs().amax(1)
    return flat.norm(dim=1) if norm == "l2" else flat.abs().sum(1)


def _norms(delta: Tensor) -> Tensor:
    """``(B, 1, 1, ...)`` Euclidean lengths."""
    return delta.flatten(1).norm(dim=1).view(-1, *[1] * (delta.ndim - 1))
