"""The sets an attack may search: a norm ball around each image, cut with the pixel box [0, 1]."""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from grace_geom.errors import PixelError

ROUNDING = 1e-5
"""How far a pixel may lie outside [0, 1] by rounding, as after normalising and back in float32."""


@runtime_checkable
class Ball(Protocol):
    """``{x' : |x' - x| <= eps, x' in [0, 1]}`` around a batch ``x``; made once an attack, used
    every step."""

    eps: float

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
        _check(x, eps)
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
        _check(x, eps)
        self.eps = eps
        self.x = x

    def start(self, noise: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """Uniform on the sphere (where nearly all of a high-dimensional ball lies), then clipped to
        the box.
        """
        tiny = 2.0**-25  # erfinv is infinite at the ends of (-1, 1)
        normal = torch.erfinv(noise.to(self.x).clamp(tiny, 1 - tiny).mul_(2).sub_(1))
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


Maker = Callable[[Tensor, float], Ball]
"""Images and radius to a ball around them. Not ``type[Ball]``: which class has a protocol's data
cannot be checked at run time."""

BALLS: dict[str, Maker] = {"linf": Linf, "l2": L2}


def ball_named(norm: str) -> Maker:
    """The ball of a norm.

    Raises:
        ValueError: For a norm that is neither ``"linf"`` nor ``"l2"``.
    """
    if norm not in BALLS:
        raise ValueError(f"norm must be one of {', '.join(BALLS)}; got {norm!r}.")
    return BALLS[norm]


def check_eps(eps: float, norm: str = "linf") -> str | None:
    """A warning where a radius is so large that it looks like a slip; else ``None``.

    Radii above 1, such as ``4`` for ``4/255``, are refused where options are read
    (:func:`grace_geom.fields.pixel_bounded`) and by :class:`grace_geom.attacks.AttackSpec`.

    Args:
        eps: The radius as given, in units of [0, 1].
        norm: ``"linf"``. An ``"l2"`` radius has no such bound, and is never warned about.
    """
    if norm != "linf" or not eps >= 0.5:
        return None
    return (
        f"ε = {eps:g} lets every pixel become anything: pixels are in [0, 1] here, so 4 of 255 "
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
    _check_type(x)
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


def _check_type(x: Tensor) -> None:
    if not x.is_floating_point():
        raise PixelError(
            f"Attacks need floating-point images in [0, 1]; got {x.dtype}. Divide uint8 images by "
            "255."
        )


def _check(x: Tensor, eps: float) -> None:
    _check_type(x)
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps must be a finite number >= 0 (such as 4/255); got {eps}.")


def _norms(delta: Tensor) -> Tensor:
    """``(B, 1, 1, ...)`` Euclidean lengths."""
    return delta.flatten(1).norm(dim=1).view(-1, *[1] * (delta.ndim - 1))
