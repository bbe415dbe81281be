"""Passes over shapes alone: a method's own step on tensors without numbers, in seconds whatever the
model's size.

Torch's fake tensors go through every operation, autograd's bookkeeping included, and compute
nothing. What autograd keeps of them has the sizes that it would have
(:func:`grace_geom.training.measure`).
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from grace_geom.models import ClipClassifier, shapes_of, tokenizer_of, vit


class _MadeUpNumbers(TorchDispatchMode):
    """Answers what depends on numbers, which fake tensors refuse.

    A number is 1, then 2, 3, ...: all different, so that ranks by percentile come out as they do of
    real scores. What looks for entries that are not zero (a NaN, say) finds none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count += 1
            return float(self.count) if args[0].is_floating_point() else self.count
        if func is torch.ops.aten.nonzero.default:
            return args[0].new_empty((0, args[0].ndim), dtype=torch.int64)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def shapes_only(
    model: str, class_names: Sequence[str], templates: Sequence[str]
) -> Iterator[ClipClassifier]:
    """A classifier whose weights are shapes on the CPU; inside, every new tensor is one too, and
    nothing is computed.

    Args:
        model: open_clip name.
        class_names: Of the head.
        templates: Of the head.

    Raises:
        UserError: If there is no such model.
    """
    clip, tokenizer = shapes_of(model), tokenizer_of(model)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for module in clip.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(_on_cpu(weight.detach(), mode), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, _on_cpu(buffer, mode))
    with mode, _MadeUpNumbers():
        yield ClipClassifier(clip, tokenizer, class_names, templates)


IN_FLOAT32 = ("layer_norm", "group_norm", "softmax", "log_softmax")
"""Functions of towers that CUDA's autocast computes in float32, and the CPU's does not."""


@contextlib.contextmanager
def by_cuda_rules() -> Iterator[None]:
    """Inside, passes on the CPU keep what a GPU's would: normalisation in float32 under autocast,
    and attention by a fused kernel, which keeps no scores, however few tokens there are.

    The functions themselves are stood in for, so that blocks that are recomputed in a backward pass
    follow too.
    """
    usual = {name: getattr(F, name) for name in IN_FLOAT32}
    short, vit.SHORT = vit.SHORT, 0
    for name, function in usual.items():
        setattr(F, name, _in_float32(function))
    try:
        yield
    finally:
        vit.SHORT = short
        for name, function in usual.items():
            setattr(F, name, function)


def _in_float32(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def call(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        lifted = torch.is_autocast_enabled("cpu") and x.dtype in (torch.bfloat16, torch.float16)
        return function(x.float() if lifted else x, *args, **kwargs)

    return call


def _on_cpu(shape: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    return mode.fake_tensor_converter.from_meta_and_device(mode, shape, torch.device("cpu"))
