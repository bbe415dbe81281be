"""TF32: what tensor cores read of a float32."""

from typing import Any

import torch
from torch import Tensor

from tests.pretended_gpu.state import now
from tests.pretended_gpu.tags import on_gpu

_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
_PRODUCTS = {"linear", "matmul", "__matmul__", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum"}


def rounded(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a convolution or a product with 10 bits of mantissa, where the machine and
    ``torch.backends`` have it so. The gradient passes through.
    """
    if not now().tf32:
        return args
    name = getattr(func, "__name__", "")
    if not (
        (name in _CONVOLUTIONS and _allowed(torch.backends.cudnn, "conv"))
        or (name in _PRODUCTS and _allowed(torch.backends.cuda.matmul))
    ):
        return args
    return tuple(
        _tf32(x) if isinstance(x, Tensor) and on_gpu(x) and x.dtype == torch.float32 else x
        for x in args
    )


def _allowed(backend: Any, part: str = "") -> bool:
    """Whether a backend may use TF32, by torch's newer setting; it follows the older one."""
    setting = getattr(backend, part) if part else backend
    if setting.fp32_precision != "none":
        return setting.fp32_precision == "tf32"
    if torch.backends.fp32_precision != "none":
        return torch.backends.fp32_precision == "tf32"
    return bool(backend.allow_tf32)


def _tf32(x: Tensor) -> Tensor:
    bits = x.detach().contiguous().view(torch.int32)
    return x + (((bits + 0x1000) & -0x2000).view(torch.float32) - x.detach())
