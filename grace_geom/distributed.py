"""Many processes as one (torchrun, torch.distributed): who they are, what they sum, what they share
out.

Every function does nothing, or all of it, where there is one process, so that callers need not ask.
A batch, a data set and a list are shared out in turn: process ``r`` of ``W`` has items
``r, r + W, r + 2W, ...``.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from grace_geom.errors import Interrupted, UserError
from grace_geom.world import World as World
from grace_geom.world import asked_for as asked_for
from grace_geom.world import first as first
from grace_geom.world import world as world

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: the first may be reading or fetching data."""


class PeerLost(Interrupted):
    """Another process of the job ended or does not answer: nothing more can be summed."""


@contextlib.contextmanager
def processes() -> Iterator[World]:
    """The process group that torchrun asks for, for the time of a command; none where torchrun did
    not start us.

    Sums go by NCCL for tensors on GPUs and by gloo for those on the CPU.

    Raises:
        UserError: If the environment speaks of several processes but they cannot find each other.
    """
    if asked_for() <= 1 or dist.is_initialized():
        yield world()
        return
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but the processes do not find each other "
            f"({str(error).splitlines()[0]}): start with torchrun --nproc-per-node G -m "
            "grace_geom.train ..."
        ) from None
    try:
        yield world()
    finally:
        with contextlib.suppress(RuntimeError):  # a peer is gone: there is nothing to take leave of
            dist.destroy_process_group()


def mine(items: Sequence[T]) -> Sequence[T]:
    """This process's share of a list."""
    here = world()
    return items if here.size == 1 else items[here.rank :: here.size]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """A broken connection as what it means."""
    try:
        yield
    except (
        RuntimeError
    ) as error:  # gloo: "Connection closed by peer"; NCCL: DistBackendError; both: timeouts
        why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PeerLost(
            f"another process of this job ended or does not answer ({why.strip()[:160]})"
        ) from error


@torch.no_grad()
def total(tensors: Sequence[Tensor]) -> None:
    """Sum each tensor over all processes, in place; one message for all that share a type and a
    device.

    Raises:
        PeerLost: If a process is gone.
    """
    if world().size == 1:
        return
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for group in kinds.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        with _explained():
            dist.all_reduce(flat)
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            tensor.copy_(part.view_as(tensor))


@torch.no_grad()
def mean(tensors: Sequence[Tensor]) -> None:
    """Average each tensor over all processes, in place: the mean over a batch that is shared out in
    equal parts.
    """
    size = world().size
    if size > 1:
        total(tensors)
        for tensor in tensors:
            tensor.div_(size)


def anyone(flag: bool) -> bool:
    """Whether the flag is set in any process; all learn it at the same call."""
    if world().size == 1:
        return flag
    told = torch.tensor([float(flag)])
    total([told])
    return told.item() > 0


def everyones(value: T) -> list[T]:
    """The values of all processes, by rank; they are pickled, so keep them small."""
    size = world().size
    if size == 1:
        return [value]
    found: list[T] = [value] * size
    with _explained():
        dist.all_gather_object(found, value)
    return found


def of_first(value: T) -> T:
    """The first process's value, in all of them; what the others hold does not matter."""
    if world().size == 1:
        return value
    told = [value if first() else None]
    with _explained():
        dist.broadcast_object_list(told, src=0)
    return told[0]  # type: ignore[return-value]


def to_first(value: T) -> list[T]:
    """The values of all processes, by rank, in the first; the others get an empty list."""
    here = world()
    if here.size == 1:
        return [value]
    found: list[T] | None = [value] * here.size if here.rank == 0 else None
    with _explained():
        dist.gather_object(value, found, dst=0)
    return found or []


def my_images(n: int) -> np.ndarray:
    """Which of ``n`` images this process has where images are shared out in turn: positions, int64.

    All of them where there are fewer images than processes.
    """
    here = world()
    return (
        np.arange(here.rank, n, here.size, dtype=np.int64)
        if here.size <= n
        else np.arange(n, dtype=np.int64)
    )


def my_batches(n: int, size: int) -> np.ndarray:
    """Which of ``n`` images this process has where whole batches of ``size`` are shared out in
    turn: positions, int64.

    The batches are those of one process, so that whatever depends on them (the groups of
    m-sharpness, images that share a perturbation) stays the same. Where there are fewer batches
    than processes, some have none.
    """
    positions = np.arange(n, dtype=np.int64)
    here = world()
    return positions[(positions // size) % here.size == here.rank]


def woven(shares: Sequence[np.ndarray]) -> np.ndarray:
    """The whole of an array ``(n, ...)`` from the shares of all processes, each of which has every
    ``W``-th row.
    """
    whole = np.empty((sum(map(len, shares)), *shares[0].shape[1:]), dtype=shares[0].dtype)
    for rank, share in enumerate(shares):
        whole[rank :: len(shares)] = share
    return whole


def wait_for_all() -> None:
    """Return once every process is here."""
    if world().size > 1:
        told = torch.zeros(1)
        total([told])


@contextlib.contextmanager
def first_of_machine_first() -> Iterator[None]:
    """Do something in one process of each machine, then in its others: they find what it fetched
    into the cache.
    """
    here = world()
    if here.size > 1 and here.local > 0:
        wait_for_all()
    yield
    if here.size > 1:
        if here.local == 0:
            wait_for_all()
        wait_for_all()  # nobody runs ahead into another sum
