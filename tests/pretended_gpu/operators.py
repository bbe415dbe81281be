"""What is known of CUDA's operators: tables, from torch's documentation and sources."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tests.pretended_gpu.state import now, words

COPIES = {"aten::copy_", "aten::_to_copy", "aten::set_", "aten::_foreach_copy_", "aten::_copy_from"}
"""What may have operands on two devices."""

INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
"""What takes its indices from the host too."""

_WAITS = {
    "_local_scalar_dense": "item / bool / float",
    "nonzero": "nonzero",
    "masked_select": "masked_select",
    "equal": "equal",
    "unique_dim": "unique",
    "_unique": "unique",
    "_unique2": "unique",
    "unique_consecutive": "unique",
    "unique_dim_consecutive": "unique",
    "_linalg_check_errors": "linalg (checks for errors)",
    "_linalg_eigh": "eigh (checks for errors)",
    "_linalg_svd": "svd (checks for errors)",
    "linalg_pinv": "pinv (checks for errors)",
    "linalg_eig": "eig (on the host)",
    "allclose": "allclose",
    "bincount": "bincount",
}
"""Operators after which the host knows a number of the GPU: a value, a size or an error."""

_STRICT = words(
    "cat stack mm bmm addmm addbmm baddbmm mv addmv dot vdot addr gather scatter index_select "
    "index_add index_copy masked_select take embedding layer_norm convolution nll_loss scaled_dot "
    "linalg sort topk cdist native_ batch_norm cudnn_ grid_sampler upsample foreach"
)


def wants_all_there(short: str) -> bool:
    """Whether an operator refuses even a single number on the host."""
    return short.lstrip("_").startswith(_STRICT)


_SWITCH = words(
    "index_add scatter_add index_copy embedding_dense_backward cumsum max_pool3d_with_indices_backward"
)
"""Not deterministic, unless ``torch.use_deterministic_algorithms`` has another algorithm used.

So is the backward pass of fused attention, whose name depends on the kernel: flash attention adds
the gradients of queries, memory-efficient attention those of keys and values, from blocks in any
order. (Sums by ``index_put``, the backward pass of ``x[index]``, are sorted first on CUDA:
deterministic.)
"""

_NEVER = words(
    "avg_pool3d_backward adaptive_avg_pool2d_backward adaptive_avg_pool3d_backward "
    "adaptive_max_pool2d_backward fractional_max_pool max_unpool upsample_linear1d_backward "
    "upsample_bilinear2d_backward upsample_bicubic2d_backward upsample_bicubic2d_aa_backward "
    "upsample_bilinear2d_aa_backward upsample_trilinear3d_backward reflection_pad1d_backward "
    "reflection_pad2d_backward reflection_pad3d_backward nll_loss2d ctc_loss_backward put_ histc "
    "grid_sampler_2d_backward grid_sampler_3d_backward scatter_reduce"
)
"""Not deterministic, whatever is asked: refused where determinism is."""

_NO_LOW = ("linalg", "lu_", "cholesky", "geqrf", "ormqr", "triangular_solve", "histc", "fft")
_LOW = (torch.bfloat16, torch.float16)
_NO_INTEGER = {"mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "_cdist_forward"}
_HOST_ONLY = {"histogram", "histogram_", "_histogramdd_from_bin_cts"}


def observe(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: Sequence[Tensor]
) -> None:
    """Count and refuse what this operator would do on a GPU."""
    short = func._schema.name.removeprefix("aten::")
    _types(short, tensors)
    if (what := _WAITS.get(short)) is not None:
        now().wait(what)
    elif short in INDEXED:
        _index(short, args)
    elif short == "repeat_interleave" and kwargs.get("output_size") is None and len(args) < 4:
        now().wait("repeat_interleave")
    _determinism(func, short, args, kwargs)


def _index(short: str, args: tuple[Any, ...]) -> None:
    """A mask becomes positions, whose number the host must know."""
    masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
    if not masks:
        return
    if short in ("index", "_unsafe_index"):
        now().wait("index by a mask")
    elif args[2].numel() > 1:  # one number fills by the mask, without positions
        now().wait("index_put by a mask")


def _convolution(short: str, args: tuple[Any, ...]) -> bool:
    """Whether cuDNN may choose an algorithm that adds up in any order: those of gradients (and of
    transposed convolutions, which are one), or any where it tries out which is the fastest.
    """
    cudnn = torch.backends.cudnn
    if cudnn.deterministic or not cudnn.enabled:
        return False
    if short in ("convolution_backward", "cudnn_convolution_transpose"):
        return True
    return short == "convolution" and (bool(args[6]) or cudnn.benchmark)


def _determinism(func: Any, short: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    bare = short.lstrip("_")
    never, asked = bare.startswith(_NEVER), torch.are_deterministic_algorithms_enabled()
    if bare == "median" and "dim" in func._overloadname:
        never = True
    if bare.startswith("bincount"):
        never = len(args) > 1 and args[1] is not None
    if bare.startswith("scatter_reduce") and asked and args[4] in ("sum", "mean"):
        return
    sums = bare.startswith("cumsum") and not args[0].is_floating_point()
    attention = bare.startswith("scaled_dot_product_") and bare.endswith("_backward")
    switched = attention or _convolution(short, args) or (bare.startswith(_SWITCH) and not sums)
    if never or switched:
        if not asked:
            now().seen.nondeterministic[short, now().where()] += 1
        elif never and not torch.is_deterministic_algorithms_warn_only_enabled():
            now().refuse(
                f"{short} does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'",
                RuntimeError,
            )


def _types(short: str, tensors: Sequence[Tensor]) -> None:
    """Kernels that CUDA does not have for a type."""
    bare, error = short.lstrip("_"), NotImplementedError
    for x in tensors:
        low = bare.startswith(_NO_LOW) and x.dtype in _LOW
        whole = short in _NO_INTEGER and not x.dtype.is_floating_point and not x.dtype.is_complex
        if low or whole:
            now().refuse(f'"{short}_cuda" not implemented for {x.dtype}', error)
            return
    if short in _HOST_ONLY:
        now().refuse(f"could not run 'aten::{short}' with arguments from the 'CUDA' backend", error)
