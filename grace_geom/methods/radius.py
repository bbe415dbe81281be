"""Projection of fine-tuned weights into balls around the pretrained ones (TPGM, Tian et al. 2023a;
FTP, 2023b).
"""

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["l2", "mars"]

SMALLEST = 1e-8
"""Smallest radius, as in the authors' code: at 0 a radius would have no gradient."""


def deviation(c: Tensor, norm: Norm) -> Tensor:
    """Norms of a deviation ``c = W - W0`` that a radius bounds, broadcastable against ``c``.

    Args:
        c: Any shape.
        norm: ``l2``: the Euclidean norm of the whole tensor, ``()``. ``mars``: the L1 norm of each
            row ``(n, 1, ...)``, whose maximum is the operator norm of a matrix from max-norm to
            max-norm; a vector is one row.
    """
    if norm == "l2":
        return torch.linalg.vector_norm(c)
    if c.ndim < 2:
        return c.abs().sum()
    return c.abs().sum(dim=tuple(range(1, c.ndim)), keepdim=True)


def inside(c: Tensor, radius: Tensor, norms: Tensor) -> Tensor:
    """``clip_01(radius / norms) c``: the nearest multiple of ``c`` (of each row) whose norm is at
    most ``radius``.
    """
    return (radius / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(0, 1) * c
