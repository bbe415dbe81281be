"""What the evaluation attacks maximise: one number an image, larger is closer to a mistake.

All take ``logits (B, K)`` and ``y (B,)`` and compute in float32 or better.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Goal: TypeAlias = Callable[[Tensor], Criterion]
"""The loss for these rows of the batch: targets follow the rows."""


def cross_entropy(logits: Float[Tensor, " b k"], y: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """``-log softmax(z)_y``, as ``softplus(logsumexp_{i != y} z_i - z_y)``.

    The same number as the usual form, but it keeps its relative precision where ``p_y`` rounds to
    one: there the usual form is exactly 0 in float32 (CLIP's logits are scaled by 100, so that is
    common), and an attack that compares losses to choose its steps would see a plateau.
    """
    z = _at_least_float32(logits)
    return F.softplus(_others(z, y).logsumexp(1) - _of(z, y))


def margin(logits: Float[Tensor, " b k"], y: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """``max_{i != y} z_i - z_y``: positive when misclassified."""
    z = _at_least_float32(logits)
    return _others(z, y).amax(1) - _of(z, y)


def dlr(logits: Float[Tensor, " b k"], y: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Difference of logits ratio (Croce & Hein 2020, Eq. 6):
    ``-(z_y - max_{i != y} z_i) / (z_(1) - z_(3))``.

    Unchanged by shifting or scaling the logits. Bracketed indices count from the largest.

    Raises:
        ValueError: For two classes, where there is no third logit.
    """
    z = _at_least_float32(logits)
    _needs_three(z)
    top = z.topk(3, dim=1).values
    return margin(z, y) / (top[:, 0] - top[:, 2]).clamp_min(1e-12)


def dlr_targeted(
    logits: Float[Tensor, " b k"], y: Int[Tensor, " b"], target: Int[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """Targeted DLR (Croce & Hein 2020, Eq. 7): ``-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)``.

    With three classes there is no fourth logit and the mean in the denominator is over the third
    alone, which keeps the invariance to shift and scale.

    Raises:
        ValueError: For two classes, where the ratio is not defined.
    """
    z = _at_least_float32(logits)
    _needs_three(z)
    top = z.topk(min(4, z.shape[1]), dim=1).values
    return (_of(z, target) - _of(z, y)) / (top[:, 0] - top[:, 2:].mean(1)).clamp_min(1e-12)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _of(z: Tensor, classes: Tensor) -> Tensor:
    return z.gather(1, classes[:, None])[:, 0]


def _others(z: Tensor, y: Tensor) -> Tensor:
    return z.scatter(1, y[:, None], -torch.inf)


def _needs_three(z: Tensor) -> None:
    if z.shape[1] < 3:
        raise ValueError(
            "The DLR losses divide by a gap to the third logit and are not defined for "
            f"{z.shape[1]} classes: use the cross-entropy (apgd-ce), which finds the same points "
            "there."
        )
