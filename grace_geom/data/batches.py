"""Batches in a reproducible order: a function of (seed, epoch), never of workers, batch size or
where one resumed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from grace_geom.batch import Batch
from grace_geom.data.base import ImageSet, Picked, Pixels, read_many
from grace_geom.data.captions import drawn
from grace_geom.data.keys import kind_of
from grace_geom.data.transforms import ATTEMPTS, as_rgb, crop_boxes, eval_view, train_view, uniforms
from grace_geom.devices import pick_workers
from grace_geom.distributed import World
from grace_geom.errors import UserError
from grace_geom.preprocess import Preprocess, as_inputs

ALONE = World()

Arrays = tuple[Tensor, Tensor, Tensor, tuple[str, ...] | None]


def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Permutation of ``range(n)`` for one epoch, int64 ``(n,)``."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def buffered_order(blocks: np.ndarray, buffer: int, seed: int, epoch: int) -> np.ndarray:
    """An order that reads files nearly in sequence: blocks in random order, drawn through a shuffle
    buffer.

    As streaming readers do it: the buffer holds the next ``buffer`` images of the row, one of them
    drawn at random is next and the row's next image takes its place. But it is an order and no
    stream: any position can be resumed, and the number of workers and processes does not enter.

    Args:
        blocks: ``(N,)`` which block (shard) each image lies in; images of a block stand side by
            side.
        buffer: Images in the buffer; at least N is as good as a permutation.
        seed: With ``epoch`` all that the order depends on.
        epoch: Another epoch, another order.

    Returns:
        Positions, int64 ``(N,)``, each once.
    """
    rng = np.random.default_rng([seed, epoch])
    ids, starts, sizes = np.unique(blocks, return_index=True, return_counts=True)
    row = [i for k in rng.permutation(len(ids)) for i in range(starts[k], starts[k] + sizes[k])]
    held, rest = row[:buffer], row[buffer:]
    found = []
    for slot, coming in zip(
        rng.integers(0, max(len(held), 1), len(rest)).tolist(), rest, strict=True
    ):
        found.append(held[slot])
        held[slot] = coming
    return np.array(found + [held[i] for i in rng.permutation(len(held))], dtype=np.int64)


def blocks_of(image_set: ImageSet) -> np.ndarray:
    """``(N,)`` the shard of each image.

    Raises:
        UserError: If the set does not lie in shards.
    """
    picked = image_set.fetch
    fetch, positions = (
        (picked.inner, picked.positions) if isinstance(picked, Picked) else (picked, slice(None))
    )
    blocks: np.ndarray | None = getattr(fetch, "shard", None)
    if blocks is None:
        raise UserError(
            f"--shuffle-buffer is for images in shards (wds:PATTERN), which {image_set.spec} is not"
        )
    return blocks[positions]


@dataclass(frozen=True)
class _Views(Dataset[Arrays | UserError]):
    """Position arrays -> uint8 images, labels, positions, captions. One item is one batch, so that
    memory is read in blocks.
    """

    image_set: ImageSet
    inputs: Preprocess
    train: bool
    seed: int
    epoch: int

    def __getitem__(self, positions: np.ndarray) -> Arrays | UserError:
        try:
            images = torch.from_numpy(self._pixels(positions))
        except UserError as error:
            return error  # raised by the main process: a worker would wrap it in its own traceback
        return (
            images,
            torch.from_numpy(self.image_set.labels[positions]),
            torch.from_numpy(positions),
            self._captions(positions),
        )

    def _captions(self, positions: np.ndarray) -> tuple[str, ...] | None:
        """One of each image's own, in training."""
        own = self.image_set.captions if self.train else None
        return None if own is None else drawn(own, self.seed, self.epoch, positions)

    def _pixels(self, positions: np.ndarray) -> np.ndarray:
        """``(B, h, w, 3)`` uint8."""
        images = read_many(self.image_set.fetch, positions)
        if (
            not self.train
            and isinstance(images, np.ndarray)
            and images.shape[1:3] == self.inputs.size  # no mode changes such pictures
        ):
            return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)
        if not self.train:
            return np.stack([eval_view(_picture(image), self.inputs) for image in images])
        pictures = [as_rgb(image) for image in images]
        u = uniforms(self.seed, self.epoch, positions, 2 * ATTEMPTS + 2)
        boxes = crop_boxes(u, np.array([picture.size for picture in pictures]))
        return np.stack(
            [
                train_view(p, tuple(box), self.inputs.size)
                for p, box in zip(pictures, boxes.tolist(), strict=True)
            ]
        )


def _picture(image: Pixels) -> Image.Image:
    """As it was opened; arrays in memory in RGB."""
    return as_rgb(image) if isinstance(image, np.ndarray) else image


class Loader:
    """Iterable of Batch; ``len`` is the number of batches that it yields. Each iteration is the
    same.
    """

    def __init__(
        self,
        views: _Views,
        batches: list[np.ndarray],
        workers: int,
        device: torch.device,
        context: str | None,
    ) -> None:
        self.views, self.batches = views, batches
        self.workers, self.device, self.context = workers, device, context

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        workers = min(self.workers, len(self.batches))  # an item is a batch: more would have none
        items: DataLoader[Arrays | UserError] = DataLoader(
            self.views,
            sampler=self.batches,  # type: ignore[arg-type]  # a list of batches is a sampler of batches
            batch_size=None,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=self.context if workers else None,
            generator=torch.Generator(),  # its own: iterating must not advance the global random state
        )
        for item in items:
            if isinstance(item, UserError):
                raise item
            *arrays, captions = item
            images, labels, positions = (part.to(self.device, non_blocking=True) for part in arrays)
            own = None if captions is None else tuple(captions)  # the loader made it a list
            yield Batch(as_floats(images), labels, positions, captions=own)


def as_floats(images: Tensor) -> Tensor:
    """Bytes ``(B, h, w, 3)`` as float32 ``(B, 3, h, w)`` in [0, 1], where they lie: a GPU is sent a
    quarter of the floats' bytes, and does the conversion itself.

    Every device divides, and gives the same numbers. By a Python number CUDA would multiply with
    1/255, which is another float in half of the cases.
    """
    bytes_to_one = torch.full((), 255.0, device=images.device)
    return images.permute(0, 3, 1, 2).contiguous().float().div_(bytes_to_one)


def workers_for(image_set: ImageSet, device: torch.device, asked: int | None = None) -> int:
    """Processes that decode a set for a model on a device: the number that was asked for, else none
    for images that lie in memory as pixels, and :func:`grace_geom.devices.pick_workers` for files.
    """
    if asked is None and (not len(image_set) or kind_of(image_set) == "pixels"):
        return 0
    return pick_workers(asked, device)


def loader(
    image_set: ImageSet,
    batch_size: int,
    image_size: int | Preprocess,
    *,
    train: bool,
    seed: int = 0,
    epoch: int = 0,
    workers: int | None = 0,
    skip_batches: int = 0,
    drop_last: bool = False,
    device: torch.device | str = "cpu",
    context: str | None = None,
    buffer: int | None = None,
    share: World = ALONE,
) -> Loader:
    """Batches of a data set, float32 in [0, 1], ``(B, 3, h, w)``.

    Batches that do not train, normalised by the model's mean and std, are bit for bit what
    open_clip's own transform makes of the pictures.

    Args:
        image_set: What to read.
        batch_size: Images a batch; the last may be smaller unless ``drop_last``.
        image_size: The model's preprocessing (``model.preprocess``); or a side in pixels, where
            nothing is known but that: shorter side, bicubic, centre.
        train: Shuffled RandomResizedCrop(0.9 to 1) views, bicubic, each with one of its captions
            where the set has some; otherwise in order, as the preprocessing says.
        seed: With ``epoch`` all that the order and the crops depend on, beside an image's position.
        epoch: Another epoch, another order and other crops.
        workers: Processes that decode; 0 decodes here; ``None``: as many as help
            (:func:`workers_for`). Any number gives the same batches.
        skip_batches: Batches at the start that are left out without decoding them: a resumed epoch.
        drop_last: Leave out a last batch that is not full.
        device: Where the batches shall lie. A CUDA device is sent bytes from page-locked memory,
            without waiting for the copy.
        context: How workers start (``spawn``, ``fork``, ``forkserver``); ``None`` is Python's
            default.
        buffer: Read shards nearly in sequence, through a shuffle buffer of so many images;
            ``None``: any order.
        share: Of W processes, each gets every W-th image of every batch: together they see the
            batches of one.

    Returns:
        An iterable with ``len``. ``Batch.index`` holds positions in ``image_set``;
        ``image_set.index`` maps them to positions in the source.

    Raises:
        UserError: For sizes that are not positive, batches that do not divide among processes, or a
            buffer where there are no shards. While iterating: an image that cannot be read.
    """
    inputs, workers = as_inputs(image_size), workers_for(image_set, torch.device(device), workers)
    at_least_1 = {"batch size": batch_size, "image size": min(inputs.size)}
    at_least_0 = {"workers": workers, "seed": seed, "epoch": epoch, "skipped batches": skip_batches}
    for low, values in enumerate((at_least_0, at_least_1)):
        for name, value in values.items():
            if value < low:
                raise UserError(f"{name} is {value}, it must be at least {low}")
    n = len(image_set)
    if not train:
        positions = np.arange(n, dtype=np.int64)
    elif buffer is None:
        positions = order(n, seed, epoch)
    else:
        positions = buffered_order(blocks_of(image_set), buffer, seed, epoch)
    stop = n - n % batch_size if drop_last else n
    batches = [
        positions[i : min(i + batch_size, stop)]
        for i in range(skip_batches * batch_size, stop, batch_size)
    ]
    if share.size > 1:
        if any(len(batch) % share.size for batch in batches):
            raise UserError(
                f"batches of {min(map(len, batches))} images do not divide among {share.size} "
                f"processes: choose a --batch-size that does, and at most the {n} images there are"
            )
        batches = [batch[share.rank :: share.size] for batch in batches]
    return Loader(
        _Views(image_set, inputs, train, seed, epoch),
        batches,
        workers,
        torch.device(device),
        context,
    )
