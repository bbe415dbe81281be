"""One minibatch, as every part of the house sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images in pixel space and their labels.

    Attributes:
        images: ``(B, C, H, W)`` float in [0, 1], before mean/std normalisation (which lives in the
            model).
        labels: ``(B,)`` int64 class indices.
        index: ``(B,)`` int64 positions in the data set the images came from.
    """

    images: Float[Tensor, " b c h w"]
    labels: Int[Tensor, " b"]
    index: Int[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: object) -> "Batch":
        """The same batch on another device; copies overlap with work where the memory is pinned."""
        return Batch(
            self.images.to(device, non_blocking=True),  # type: ignore[call-overload]
            self.labels.to(device, non_blocking=True),  # type: ignore[call-overload]
            self.index.to(device, non_blocking=True),  # type: ignore[call-overload]
        )

    def take(self, rows: Int[Tensor, " b"]) -> "Batch":
        """Some of its images, in the order of ``rows``."""
        return Batch(self.images[rows], self.labels[rows], self.index[rows])

    def split(self, size: int) -> "list[Batch]":
        """Consecutive pieces of at most ``size`` images."""
        return [
            Batch(self.images[i : i + size], self.labels[i : i + size], self.index[i : i + size])
            for i in range(0, len(self), size)
        ]


def joined(batches: Sequence[Batch]) -> Batch:
    """All images in one batch: what :meth:`Batch.split` took apart."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        *(torch.cat([getattr(b, name) for b in batches]) for name in ("images", "labels", "index"))
    )
