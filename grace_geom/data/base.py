"""A labelled set of images: what every SPEC resolves to, and what the loader reads."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from grace_geom.errors import UserError

Pixels = np.ndarray | Image.Image
Note = dict[str, Any]
ClassIds = tuple[int | tuple[int, ...], ...]
"""For each class its logit in a larger head, or several logits whose maximum is its score."""

IDS_KEPT_IN_NOTE = 10_000


@dataclass(frozen=True)
class Array:
    """Reads images that lie in memory.

    Attributes:
        images: ``(N, H, W, 3)`` or ``(N, H, W, 1)`` uint8.
    """

    images: np.ndarray

    def __call__(self, i: int) -> np.ndarray:
        return self.images[i]

    @property
    def channels(self) -> int:
        """3 or 1; only readers of arrays tell it."""
        return int(self.images.shape[-1])

    def many(self, positions: np.ndarray) -> np.ndarray:
        """``(B, H, W, C)`` uint8 at ``positions`` (B,), copied in one go."""
        return self.images[positions]


@dataclass(frozen=True)
class Picked:
    """Reads some images of another reader: image ``i`` is its image ``positions[i]``."""

    inner: Callable[[int], Pixels]
    positions: np.ndarray

    def __call__(self, i: int) -> Pixels:
        return self.inner(int(self.positions[i]))


def read_many(fetch: Callable[[int], Pixels], positions: np.ndarray) -> np.ndarray | list[Pixels]:
    """Images at ``positions``: one ``(B, H, W, C)`` block where the reader has one, else a list."""
    if isinstance(fetch, Picked):
        return read_many(fetch.inner, fetch.positions[positions])
    many: Callable[[np.ndarray], np.ndarray | list[Pixels]] | None = getattr(fetch, "many", None)
    return many(positions) if many else [fetch(int(i)) for i in positions]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images, labels, class names and prompt templates, with a record of where they came from.

    Attributes:
        name: Short name for tables.
        spec: The SPEC that it was resolved from.
        split: ``train``, ``val``, ``test`` or ``eval``.
        labels: ``(N,)`` int64, indices into ``class_names``; all -1 where the images have captions
            alone.
        class_names: Names in label order.
        templates: Prompt templates with one ``{}`` each.
        fetch: ``i -> image``, uint8 ``(H, W, 3 or 1)`` or a PIL image; may have
            ``many(positions)``: ``(B, H, W, C)`` where all images lie in memory, or PIL images of
            a store that is asked for all at once. Picklable.
        note: Plain record: files, hashes, how the split was made, seed, number, source, licence;
            ``content`` is a digest of what the images were read from.
        class_ids: Where each class stands in the head of a model with more classes: the logits to
            compare are ``logits[:, class_ids]``, and the largest of them where a class stands for
            several. ``None``: the head has exactly ``class_names``.
        index: ``(N,)`` int64, the position of each image in its source, before splits and subsets.
        group_names: Parts that accuracies are told of beside the whole; none in most sets.
        group: ``(N,)`` int64, the part that each image belongs to.
        captions: Sentences of each image's own, at least one; ``None``: there are none, or they
            were not asked for.
    """

    name: str
    spec: str
    split: str
    labels: np.ndarray
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    fetch: Callable[[int], Pixels]
    note: Note = field(default_factory=dict)
    class_ids: ClassIds | None = None
    index: np.ndarray = None  # type: ignore[assignment]  # filled below: 0 .. N-1
    group_names: tuple[str, ...] = ()
    group: np.ndarray | None = None
    captions: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if len(labels) == 0:
            raise UserError(f"{self.spec}: no images in the {self.split} split")
        alone = self.captions is not None and bool((labels == -1).all())
        if not alone and (labels.min() < 0 or labels.max() >= len(self.class_names)):
            raise UserError(
                f"{self.spec}: labels {labels.min()} to {labels.max()} do not fit "
                f"{len(self.class_names)} class names"
            )
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        if self.index is None:
            object.__setattr__(self, "index", np.arange(len(labels), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether the images have labels, not captions alone."""
        return bool(self.labels[0] >= 0)

    @property
    def content(self) -> str:
        """16 hexadecimal digits of images, labels and class names: other ones, another measurement.

        The images count as what they were read from, so that none has to be decoded.
        """
        return digest_text(
            json.dumps([self.note.get("content", ""), digest(self.labels), self.class_names])
        )

    def take(self, positions: Sequence[int] | np.ndarray, **note: Any) -> "ImageSet":
        """The images at ``positions`` (into this set), in that order; ``note`` is added to the
        record.
        """
        positions = np.asarray(positions, dtype=np.int64)
        fetch, picked = self.fetch, positions
        if isinstance(fetch, Picked):  # keep one level, however often a set is cut
            picked = fetch.positions[positions]
            fetch = fetch.inner
        index = self.index[positions]
        return replace(
            self,
            labels=self.labels[positions],
            fetch=Picked(fetch, picked),
            index=index,
            group=None if self.group is None else self.group[positions],
            captions=None
            if self.captions is None
            else tuple(self.captions[i] for i in positions.tolist()),
            note=self.note | {"n": len(positions), "ids_sha256": digest(index)} | note,
        )

    def with_note(self, **note: Any) -> "ImageSet":
        """The same images with ``note`` added to the record."""
        return replace(self, note=self.note | note)

    def subset(self, n: int, seed: int) -> "ImageSet":
        """``n`` images drawn without replacement, the same for the same seed, in source order; ids
        stay in the record.

        A set with at most ``n`` images is returned whole.
        """
        if n <= 0:
            raise UserError(f"a subset needs at least 1 image, not {n}")
        if n >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), n, replace=False))
        record: Note = {"n": n, "of": len(self), "seed": seed}
        if n <= IDS_KEPT_IN_NOTE:
            record["ids"] = self.index[chosen].tolist()
        return self.take(chosen, subset=record)


def digest(ids: np.ndarray) -> str:
    """First 16 hexadecimal digits of the SHA-256 of int64 ids: two runs saw the same images iff
    these agree.
    """
    return hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes()).hexdigest()[:16]


def digest_text(text: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_arrays(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    templates: Sequence[str] = ("a photo of a {}.",),
    split: str = "test",
    note: Note | None = None,
) -> ImageSet:
    """An ImageSet of images in memory: uint8 ``(N, H, W, 3)``, ``(N, H, W, 1)`` or ``(N, H, W)``.

    Raises:
        UserError: If the images are not uint8 of such a shape, or labels do not fit in number or
            range.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise UserError(f"{name}: images are {images.dtype}, expected uint8 in 0..255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise UserError(
            f"{name}: images have shape {images.shape}, expected (N,H,W,3), (N,H,W,1) or (N,H,W)"
        )
    if len(images) != len(labels):
        raise UserError(f"{name}: {len(images)} images but {len(labels)} labels")
    note = {"content": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()[:16]} | (
        note or {}
    )
    return ImageSet(
        name,
        name,
        split,
        np.asarray(labels),
        tuple(class_names),
        tuple(templates),
        Array(images),
        note,
    )
