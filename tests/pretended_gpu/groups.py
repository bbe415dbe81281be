"""Process groups: gloo carries what NCCL would, which has no driver here.

A sum of GPU tensors is begun and not waited for. If a peer is gone it never ends: the process goes
on until it next waits for its GPU, and hangs there (:class:`tests.pretended_gpu.Hang`).
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tests.pretended_gpu.serialised import named
from tests.pretended_gpu.state import Pretence, now, words
from tests.pretended_gpu.tags import device_of, on_gpu

_SUMS = words(
    "all_reduce broadcast reduce all_gather all_gather_into_tensor reduce_scatter "
    "reduce_scatter_tensor gather scatter"
)
_OBJECTS = ("all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list")


def stand_ins(pretence: Pretence) -> Iterator[tuple[Any, str, Any]]:
    """Groups, sums and gathered objects of ``torch.distributed``, where torch has it."""
    if not dist.is_available():
        return
    groups = _Groups(dist.all_gather_object)
    yield dist, "is_nccl_available", lambda: True
    yield dist, "init_process_group", groups.starting(dist.init_process_group)
    yield dist, "new_group", groups.adding(dist.new_group)
    for name in _SUMS:
        yield dist, name, groups.summing(name, getattr(dist, name))
    for name in _OBJECTS:
        yield dist, name, named(name, getattr(dist, name))


class _Groups:
    """The groups of this process, and which backend each has for which device."""

    def __init__(self, gather: Any) -> None:
        self.gather = gather
        self.backends: dict[Any, str] = {}
        self.met: set[Any] = set()

    def starting(self, start: Any) -> Any:
        """``init_process_group``."""

        def call(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
            kwargs.pop("device_id", None)
            now().seen.collectives[f"init {backend}", now().where()] += 1
            self.backends[None] = backend or "cpu:gloo,cuda:nccl"
            return start("gloo", *args, **kwargs)

        return call

    def adding(self, add: Any) -> Any:
        """``new_group``: of the first group's backend unless it says another."""

        def call(*args: Any, backend: str | None = None, **kwargs: Any) -> Any:
            kwargs.pop("device_id", None)
            made = add(*args, backend="gloo", **kwargs)
            self.backends[made] = backend or self._backend(None)
            return made

        return call

    def summing(self, name: str, function: Any) -> Any:
        """A collective of tensors."""

        def call(*args: Any, **kwargs: Any) -> Any:
            first = next(x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
            key = f"{name} {device_of(first).type} {first.dtype}"
            now().seen.collectives[key, now().where()] += 1
            group = kwargs.get("group")
            self._must_serve(self._backend(group), tree_leaves((args, kwargs)))
            if not on_gpu(first) or not self._nccl(group):
                if on_gpu(first):
                    now().wait(f"{name} by gloo")  # through the host
                return function(*args, **kwargs)
            return self._begun(group, first, lambda: function(*args, **kwargs))

        return call

    def _backend(self, group: Any) -> str:
        known = group if group in self.backends else None
        return self.backends.get(known, "gloo")

    def _nccl(self, group: Any) -> bool:
        return "nccl" in self._backend(group)

    def _must_serve(self, backend: str, found: list[Any]) -> None:
        """NCCL alone sums nothing that lies on the host."""
        if backend == "nccl" and any(isinstance(x, Tensor) and not on_gpu(x) for x in found):
            now().refuse("No backend type associated with device type cpu", RuntimeError)

    def _begun(self, group: Any, first: Tensor, function: Any) -> Any:
        """A sum by NCCL: its call returns, whether the peers are there or not."""
        if now().lost:
            return None
        try:
            if group not in self.met:
                self._meet(group, device_of(first))
            return function()
        except dist.DistBackendError:
            now().lost = now().where()
        except RuntimeError as error:
            if "Duplicate GPU" in str(error):
                raise
            now().lost = now().where()
        return None

    def _meet(self, group: Any, device: torch.device) -> None:
        """Ranks of one machine make NCCL's communicator: each must have a GPU of its own."""
        found: list[Any] = [None] * dist.get_world_size(group)
        self.gather(found, device.index, group=group)
        self.met.add(group)
        if len(set(found)) < len(found):
            now().refuse(f"Duplicate GPU detected: ranks have GPUs {found}", RuntimeError)
