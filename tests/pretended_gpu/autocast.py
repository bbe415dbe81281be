"""CUDA's autocast, stood in for by the CPU's.

Which of the two a program has on is kept in ``Pretence.casts``; the CPU's own is on while either
is. Both cast the same products and convolutions; what CUDA's computes in float32 besides is lifted
by :func:`lifted`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.amp import autocast_mode
from torch.utils._pytree import tree_leaves, tree_map

from tests.pretended_gpu.state import Pretence, now, words
from tests.pretended_gpu.tags import on_gpu

LOW = (torch.bfloat16, torch.float16)
FLOAT32 = words(
    "__pow__ __rdiv__ __rpow__ __rtruediv__ acos asin binary_cross_entropy_with_logits cosh "
    "cosine_embedding_loss cdist cosine_similarity cross_entropy cumprod cumsum dist erfinv exp "
    "expm1 group_norm hinge_embedding_loss kl_div l1_loss layer_norm log log10 log_softmax log1p "
    "log2 margin_ranking_loss mse_loss multilabel_margin_loss multi_margin_loss nll_loss norm "
    "normalize pdist poisson_nll_loss pow prod reciprocal rsqrt sinh smooth_l1_loss "
    "soft_margin_loss softmax softmin softplus sum renorm tan triplet_margin_loss vector_norm "
    "matrix_norm"
)
"""Operators that CUDA's autocast computes in float32 (torch's "Automatic Mixed Precision" page)."""


def lifted(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as CUDA's autocast would hand them on; refuses the CPU's around GPU tensors,
    which has no effect there.
    """
    casts = now().casts
    if casts["cuda"][0]:
        if getattr(func, "__name__", "") in FLOAT32:
            return tree_map(_lift, args), tree_map(_lift, kwargs)
    elif casts["cpu"][0] and any(
        on_gpu(x) and x.is_floating_point() for x in tree_leaves((args, kwargs))
    ):
        now().refuse('autocast("cpu") has no effect on CUDA tensors')
    return args, kwargs


def _lift(x: Any) -> Any:
    return x.float() if on_gpu(x) and x.dtype in LOW else x


def stand_ins(pretence: Pretence) -> Iterator[tuple[Any, str, Any]]:
    """``torch.autocast`` and the questions about it."""
    enter, leave = autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__

    def new_enter(self: Any) -> Any:
        found = enter(self)
        self.casts_before = pretence.casts
        pretence.casts = pretence.casts | {self.device: (self._enabled, self.fast_dtype)}
        _use(pretence)
        return found

    def new_exit(self: Any, *error: Any) -> Any:
        found = leave(self, *error)
        pretence.casts = self.casts_before
        _use(pretence)
        return found

    yield autocast_mode.autocast, "__enter__", new_enter
    yield autocast_mode.autocast, "__exit__", new_exit
    enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
    yield torch, "is_autocast_enabled", lambda device="cuda": _asked(pretence, device, 0, enabled)
    yield torch, "get_autocast_dtype", lambda device: _asked(pretence, device, 1, dtype)


def _use(pretence: Pretence) -> None:
    """Have the CPU's autocast stand in for the one that is on."""
    on, dtype = pretence.casts["cuda"] if pretence.casts["cuda"][0] else pretence.casts["cpu"]
    torch.set_autocast_enabled("cpu", on)
    torch.set_autocast_dtype("cpu", dtype)


def _asked(pretence: Pretence, device: str, part: int, other: Any) -> Any:
    kind = str(device).partition(":")[0]
    return pretence.casts[kind][part] if kind in pretence.casts else other(device)
