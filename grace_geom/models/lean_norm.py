"""LayerNorm that reads, writes and keeps half precision, and computes in float32."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def lean_norm(
    z: Float[Tensor, " *b d"], gain: Float[Tensor, " d"], bias: Float[Tensor, " d"], eps: float
) -> Float[Tensor, " *b d"]:
    """LayerNorm over the last axis, in the dtype of ``z``.

    CUDA's autocast gives LayerNorm's result in float32, and keeps its input in float32 for the
    backward pass, so the residual stream that it is added to is float32 too: bf16 then saves little
    memory. Here mean, deviation and affine map are float32 as there, and the result is rounded
    once. What is kept is ``z`` itself and two numbers a row.

    It has a first derivative only: a second one raises instead of being wrong.

    Args:
        z: In bf16 or fp16.
        gain: Float32.
        bias: Float32.
        eps: Added to the variance.
    """
    return _LeanNorm.apply(z, gain, bias, eps)  # type: ignore[no-any-return]


class _LeanNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(z.float(), [z.shape[-1]], gain, bias, eps)
        ctx.save_for_backward(z, gain, bias, mean, rstd)
        return y.to(z.dtype)

    @staticmethod
    @once_differentiable  # mean and rstd depend on z, which a second derivative would not see
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of ``z``, ``gain`` and ``bias``, as far as they are wanted, and none of eps."""
        z, gain, bias, mean, rstd = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        of_z, of_gain, of_bias = torch.ops.aten.native_layer_norm_backward(
            grads[0].float(), z.float(), [z.shape[-1]], mean, rstd, gain, bias, wanted
        )
        return None if of_z is None else of_z.to(z.dtype), of_gain, of_bias, None
