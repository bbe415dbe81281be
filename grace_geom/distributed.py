"""Many processes as one (torchrun, torch.distributed): who they are, what they sum, what they share
out.

Every function does nothing, or all of it, where there is one process, so that callers need not ask.
A batch, a data set and a list are shared out in turn: process ``r`` of ``W`` has items
``r, r + W, r + 2W, ...``.
"""

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from grace_geom.errors import Interrupted, UserError, exit_code
from grace_geom.world import World as World
from grace_geom.world import asked_for as asked_for
from grace_geom.world import first as first
from grace_geom.world import world as world

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: the first may be reading or fetching data."""


PAUSE = 0.002
"""Seconds between two questions whether a sum on the GPUs has been made."""


class PeerLost(Interrupted):
    """Another process of the job ended or does not answer: nothing more can be summed."""


class _GpuSum:
    """The last sum of tensors on GPUs that may still be under way.

    NCCL's sums are kernels: where a process is gone they never end, and neither does whatever waits
    for this device afterwards, be it to read one number. Gloo's sums of tensors on the CPU notice.
    """

    def __init__(self) -> None:
        self.before: torch.cuda.Event | None = None
        self.after: torch.cuda.Event | None = None
        self.any = False

    def begin(self) -> None:
        """What the device was given up to here does not depend on the sum."""
        if not self.any:  # the first one makes NCCL's connections, for which it would wait for ever
            wait_for_all()
        self.any, self.before = True, self.before if self.after else torch.cuda.Event()
        if not self.after:
            self.before.record()  # type: ignore[union-attr]

    def end(self) -> None:
        """The sum was asked for."""
        self.after = torch.cuda.Event()
        self.after.record()

    @property
    def lost(self) -> bool:
        """Whether it is not made yet: asked once a process is gone, whether it never will be."""
        return self.after is not None and not self.after.query()


_gpu_sum = _GpuSum()


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
    except BaseException as error:
        if _gpu_sum.lost:
            atexit.register(_leave, exit_code(error))
        raise
    finally:
        if not _gpu_sum.lost:
            with contextlib.suppress(RuntimeError):  # a peer is gone: nothing to take leave of
                dist.destroy_process_group()


def _leave(code: int) -> None:
    """End at once: the orderly end of NCCL and CUDA waits for the sum that never ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
def total(tensors: Sequence[Tensor], wait: bool = True) -> None:
    """Sum each tensor over all processes, in place; one message for all that share a type and a
    device.

    Args:
        tensors: Of the same shapes in all processes.
        wait: Return once sums of tensors on GPUs are made. ``False``: once they are asked for, so
            that the host can go on; call :func:`heard_of_all` before anything waits for the device.

    Raises:
        PeerLost: If a process is gone.
    """
    if world().size == 1:
        return
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    on_gpu = any(device.type == "cuda" for _, device in kinds)
    if on_gpu:
        _gpu_sum.begin()
    for group in kinds.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        with _explained():
            dist.all_reduce(flat)
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            tensor.copy_(part.view_as(tensor))
    if on_gpu:
        _gpu_sum.end()
        if wait:
            heard_of_all()


@torch.no_grad()
def mean(tensors: Sequence[Tensor], wait: bool = True) -> None:
    """Average each tensor over all processes, in place: the mean over a batch that is shared out in
    equal parts.

    Args and errors are those of :func:`total`.
    """
    size = world().size
    if size > 1:
        total(tensors, wait)
        for tensor in tensors:
            tensor.div_(size)


def heard_of_all() -> None:
    """Return once the sums of tensors on GPUs that were asked for are made, in all processes; at
    once where there are none.

    To be called before every wait for a device that may follow such a sum, by all processes at the
    same place. Until then they ask each other by gloo, every few milliseconds: a process that dies
    while its GPU is at work is missed here, not in a wait that nothing ends.

    Raises:
        PeerLost: If a process is gone.
    """
    while _gpu_sum.after is not None and anyone(_gpu_sum.lost):
        time.sleep(PAUSE)
    _gpu_sum.after = None


@contextlib.contextmanager
def past_lost_sum() -> Iterator[None]:
    """Read from a GPU what was there before a sum that never ends, as when a process was lost."""
    if not _gpu_sum.lost or _gpu_sum.before is None:
        yield
        return
    beside = torch.cuda.Stream()
    beside.wait_event(_gpu_sum.before)
    with torch.cuda.stream(beside):
        yield


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
