"""Images and maps of another size, resized inside the model, so that an attack acts on the pixels
that it is given.
"""

import functools
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["bicubic", "bilinear"]


def resized(
    x: Float[Tensor, " b c h w"], size: tuple[int, int], mode: Mode = "bicubic"
) -> Float[Tensor, " b c h2 w2"]:
    """Bicubic with antialiasing, as open_clip's transform; or bilinear without, for maps.

    CUDA adds up the gradients of an interpolation in any order. Where the same bits are asked for
    (:func:`torch.use_deterministic_algorithms`), the same linear map is taken as two products of
    matrices, which costs about as much and agrees to rounding.
    """
    if not (x.is_cuda and x.requires_grad and torch.are_deterministic_algorithms_enabled()):
        return _interpolated(x, size, mode)
    rows, columns = (
        _matrix(old, new, mode).to(x) for old, new in zip(x.shape[-2:], size, strict=True)
    )
    return rows @ x @ columns.T


def _interpolated(x: Tensor, size: tuple[int, int], mode: Mode) -> Tensor:
    return F.interpolate(x, size=size, mode=mode, antialias=mode == "bicubic")


@functools.lru_cache(maxsize=16)
def _matrix(old: int, new: int, mode: Mode) -> Float[Tensor, " new old"]:
    """What interpolation makes of a column of ``old`` pixels, float64 on the CPU."""
    unit = torch.eye(old, dtype=torch.float64)[None, None]
    return _interpolated(unit, (new, old), mode)[0, 0]
