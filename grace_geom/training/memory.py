"""How much memory an optimiser step takes, by what autograd keeps for two images, and how many
images fit at once.
"""

import contextlib
import copy
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grace_geom.batch import Batch
from grace_geom.devices import DTYPES
from grace_geom.errors import UserError
from grace_geom.preprocess import square
from grace_geom.training.trainer import Trainer

MARGIN = 1.25
"""Room for what lives between two operations and is kept by no graph: products, casts, the
allocator's gaps.
"""


@dataclass(frozen=True)
class Memory:
    """Bytes of an optimiser step.

    Attributes:
        fixed: Whatever the batch: weights, leaves with gradient, optimiser and moving average,
            state, merged weights, their gradients.
        image: For each image of a forward pass: what all graphs that are alive at once keep of it.
    """

    fixed: int
    image: int

    def of(self, images: int) -> int:
        """A step with so many images a forward pass."""
        return self.fixed + round(MARGIN * self.image * images)

    def largest(self, budget: int) -> int:
        """Most images a forward pass that fit into so many bytes; 0 where not even one does."""
        return max(0, math.floor((budget - self.fixed) / (MARGIN * self.image)))


@contextlib.contextmanager
def kept_by_autograd(own: set[int]) -> Iterator[list[int]]:
    """The largest number of bytes that graphs kept alive at one time, in a list that is filled on
    the way.

    Args:
        own: Addresses of storages that are there anyway (weights), which do not count.
    """
    held: dict[int, list[int]] = {}  # address -> [how often it is saved, bytes]
    now, peak = [0], [0]

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = (
                tensor.detach()
            )  # the tensor itself would make a cycle with the node that saves it
            storage = tensor.untyped_storage()
            self.address = _address(tensor)
            if self.address in own:
                return
            entry = held.setdefault(self.address, [0, storage.nbytes()])
            entry[0] += 1
            if entry[0] == 1:
                now[0] += entry[1]
                peak[0] = max(peak[0], now[0])

        def __del__(self) -> None:
            if self.address in own:
                return
            entry = held[self.address]
            entry[0] -= 1
            if entry[0] == 0:
                now[0] -= entry[1]
                del held[self.address]

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda saved: saved.tensor):
        yield peak


def measure(trainer: Trainer, side: int | tuple[int, int]) -> Memory:
    """The memory of this trainer's steps, from its method's own passes on one grey image and on
    two.

    Nothing of the trainer is changed: state, random numbers and gradients are put back.

    Args:
        trainer: At any step.
        side: Of the images, in pixels; height and width where they differ.
    """
    run = trainer.run
    model, params = run.model, run.params
    one, two = _peak(trainer, 1, side), _peak(trainer, 2, side)
    image = max(two - one, 1)
    tower = sum(w.nbytes for w in model.weights().values())
    everything = sum(p.nbytes for p in model.clip.parameters()) + sum(
        w.nbytes for w in model.head.values()
    )
    leaves = sum(w.nbytes for w in params.values())
    average = sum(w.nbytes for w in trainer.average.values.values()) if trainer.average else 0
    state = sum(t.nbytes for t in _tensors(run.state))
    gradients = 2 * tower  # of the effective matrices: one that is found, one that is added up
    fixed = everything + 4 * leaves + average + state + gradients
    return Memory(fixed + max(one - image, 0), image)


def _peak(trainer: Trainer, images: int, side: int | tuple[int, int]) -> int:
    run, model = trainer.run, trainer.run.model
    grey = torch.full((images, 3, *square(side)), 0.5, device=trainer.device)
    labels = torch.zeros(images, dtype=torch.int64, device=trainer.device)
    batch = Batch(grey, labels, torch.arange(images, device=trainer.device))
    own = {_address(w) for w in [*model.weights().values(), *run.params.values()]}
    before = run.state, run.emit, run.generator.get_state(), model.autocast_dtype
    run.state, run.emit = copy.deepcopy(run.state), lambda stream, record: None
    model.autocast_dtype = DTYPES[trainer.plan.precision]
    try:
        with kept_by_autograd(own) as peak:
            trainer.method.gradients(run, [batch])
    finally:
        run.state, run.emit, generator, model.autocast_dtype = before
        run.generator.set_state(generator)
        trainer.optimizer.zero_grad(set_to_none=True)
    return peak[0]


def _address(tensor: Tensor) -> int:
    """What tells one storage from another, where its bytes lie or, of a tensor of shapes alone,
    would lie.
    """
    storage = tensor.untyped_storage()
    return int(storage._cdata) if storage.device.type == "meta" else storage.data_ptr()


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _tensors(item)


def free_bytes(device: torch.device) -> int:
    """What a process may use of the device's memory: 92 % of what is free or its own already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(0.92 * (free + torch.cuda.memory_reserved(device)))
    return int(0.92 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def choose_micro_batch(memory: Memory, images: int, budget: int) -> int:
    """Images a forward pass: equal pieces, as few as fit.

    Args:
        memory: Of a step.
        images: Of an optimiser step in this process.
        budget: Bytes.

    Raises:
        UserError: If not even one image fits.
    """
    most = memory.largest(budget)
    if most < 1:
        raise UserError(
            f"--micro-batch auto: one image needs {memory.of(1) / 2**30:.1f} GiB, "
            f"{budget / 2**30:.1f} GiB are free; use --grad-checkpoint, or a smaller model"
        )
    return math.ceil(images / math.ceil(images / min(most, images)))
