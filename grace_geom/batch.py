"""One minibatch, as every part of the house sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images in pixel space and their labels.

    Attributes:
        images: ``(B, C, H, W)`` float in [0, 1], before mean/std normalisation (which lives in the
            model).
        labels: ``(B,)`` int64 class indices; -1 for images that have a caption alone.
        index: ``(B,)`` int64 positions in the data set the images came from.
        captions: B sentences of the images' own; ``None``: they have none, or nobody asked.
    """

    images: Float[Tensor, " b c h w"]
    labels: Int[Tensor, " b"]
    index: Int[Tensor, " b"]
    captions: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: object) -> "Batch":
        """The same batch on another device; copies overlap with work where the memory is pinned."""
        return Batch(
            self.images.to(device, non_blocking=True),  # type: ignore[call-overload]
            self.labels.to(device, non_blocking=True),  # type: ignore[call-overload]
            self.index.to(device, non_blocking=True),  # type: ignore[call-overload]
            captions=self.captions,
        )

    def take(self, rows: Int[Tensor, " b"]) -> "Batch":
        """Some of its images, in the order of ``rows``."""
        own = self.captions
        captions = None if own is None else tuple(own[i] for i in rows.tolist())
        return Batch(self.images[rows], self.labels[rows], self.index[rows], captions=captions)

    def split(self, size: int) -> "list[Batch]":
        """Consecutive pieces of at most ``size`` images."""
        pieces = [slice(i, i + size) for i in range(0, len(self), size)]
        own = self.captions
        return [
            Batch(
                self.images[p],
                self.labels[p],
                self.index[p],
                captions=None if own is None else own[p],
            )
            for p in pieces
        ]


def joined(batches: Sequence[Batch]) -> Batch:
    """All images in one batch: what :meth:`Batch.split` took apart."""
    if len(batches) == 1:
        return batches[0]
    images, labels, index = (
        torch.cat([getattr(b, name) for b in batches]) for name in ("images", "labels", "index")
    )
    whole = all(b.captions is not None for b in batches)
    captions = tuple(c for b in batches for c in b.captions or ()) if whole else None
    return Batch(images, labels, index, captions=captions)
