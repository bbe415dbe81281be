"""Files and page-locked batches: where tensors leave the process, or enter it."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.data._utils.pin_memory as pinning
from torch import Tensor

from tests.pretended_gpu import face, generators
from tests.pretended_gpu.state import Pretence, now
from tests.pretended_gpu.tags import CPU, exact, on_gpu

_saving = "pickle"


def pickling(x: Tensor) -> None:
    """Count a GPU tensor that is being pickled; its numbers are copied to the host."""
    generators.keep(x)
    if on_gpu(x):
        now().seen.pickled[f"{_saving} of a GPU tensor", now().where()] += 1
        now().wait(_saving)


def named(name: str, function: Any) -> Any:
    """The same function, in which tensors are pickled under its name."""

    def call(*args: Any, **kwargs: Any) -> Any:
        global _saving
        before, _saving = _saving, name
        try:
            return function(*args, **kwargs)
        finally:
            _saving = before

    return call


def stand_ins(pretence: Pretence) -> Iterator[tuple[Any, str, Any]]:
    """``torch.load``, ``torch.save`` and the pinning of batches."""
    tagger, load, lock = torch.serialization.location_tag, torch.load, pinning.pin_memory

    def location(storage: Any) -> str:
        """What a file says of where its tensors lay; a real reader without a GPU refuses it."""
        claims = getattr(getattr(storage, "_untyped_storage", storage), "claims", CPU)
        return str(claims) if getattr(claims, "type", "") == "cuda" else tagger(storage)

    def new_load(f: Any, map_location: Any = None, **kwargs: Any) -> Any:
        return load(f, map_location=lambda s, at: _placed(s, at, map_location), **kwargs)

    def new_pin(data: Any, device: Any = None) -> Any:
        with face.Face():  # it runs in a thread of its own
            return lock(data, device)

    reduce = Tensor._reduce_ex_internal  # type: ignore[attr-defined]

    def new_reduce(x: Tensor, protocol: Any) -> Any:
        pickling(x)
        return reduce(x, protocol)

    yield Tensor, "_reduce_ex_internal", new_reduce
    yield torch.serialization, "location_tag", location
    yield torch, "load", new_load
    yield torch, "save", named("torch.save", torch.save)
    yield pinning, "pin_memory", new_pin


def _placed(storage: Any, at: str, map_location: Any) -> Any:
    """A storage that was read on the host, where the file and the reader want it."""
    if callable(map_location):
        found = map_location(storage, at)
        if found is not None:
            return found
    elif isinstance(map_location, dict):
        at = map_location.get(at, at)
    elif map_location is not None:
        at = str(map_location)
    if (target := torch.device(at)).type == "cuda":
        if target.index is not None and target.index >= now().count:
            raise RuntimeError(
                f"Attempting to deserialize object on CUDA device {target.index} but "
                f"torch.cuda.device_count() is {now().count}. Please use torch.load with "
                "map_location to map your storages to an existing device."
            )
        now().upload("torch.load to the GPU", blocking=True)
        storage.claims = exact(target)
    return storage
