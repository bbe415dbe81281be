"""Which device a tensor claims: a note on its storage."""

import torch
from torch import Tensor
from torch._C import _functorch

from tests.pretended_gpu.state import now

CPU = torch.device("cpu")


class Anywhere:
    """Made by torch itself, without a word on its device (zeros of a backward pass, say): it lies
    wherever it is needed first.
    """


ANYWHERE = Anywhere()
Claim = torch.device | Anywhere
_device = Tensor.device.__get__  # type: ignore[attr-defined]


def bare(x: Tensor) -> Tensor:
    """The tensor inside the wrappers of ``torch.func``, which have no storage."""
    while _functorch.is_functorch_wrapped_tensor(x):
        x = _functorch.get_unwrapped(x)
    return x


def real_device(x: Tensor) -> torch.device:
    """Where a tensor lies in truth: ``cpu`` or ``meta``."""
    with torch._C.DisableTorchFunction():
        return _device(x)


def storage(x: Tensor) -> torch.UntypedStorage:
    """Its storage, past all modes."""
    with torch._C.DisableTorchFunction():
        return bare(x).untyped_storage()


def claimed(x: Tensor) -> Claim:
    """What a tensor claims; its real device where nothing was noted (made before, or by numpy)."""
    if (true := real_device(x)).type != "cpu":
        return true
    try:
        found: Claim | None = getattr(storage(x), "claims", None)
    except (RuntimeError, NotImplementedError):  # sparse tensors and the like have no storage
        return true
    return true if found is None else found


def claim(x: Tensor, device: Claim) -> Tensor:
    """Have a tensor, and all that share its storage, claim a device."""
    if real_device(x).type == "cpu":
        storage(x).claims = device  # type: ignore[attr-defined]
    return x


def device_of(x: Tensor) -> torch.device:
    """What ``x.device`` answers."""
    found = claimed(x)
    return CPU if isinstance(found, Anywhere) else found


def on_gpu(x: object) -> bool:
    """Whether it is a tensor that claims a GPU."""
    return isinstance(x, Tensor) and device_of(x).type == "cuda"


def exact(device: object) -> torch.device:
    """A device with its number: ``cuda`` is the current GPU.

    Raises:
        RuntimeError: If there is no such GPU.
    """
    found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)  # type: ignore[call-overload]
    if found.type != "cuda":
        return found
    found = torch.device("cuda", now().current) if found.index is None else found
    if found.index >= now().count:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return found


def pinned(x: Tensor) -> bool:
    """Whether its memory is page-locked."""
    return getattr(storage(x), "page_locked", False)


def pin(x: Tensor) -> Tensor:
    """Call its memory page-locked."""
    storage(x).page_locked = True  # type: ignore[attr-defined]
    return x


def begun(x: Tensor) -> None:
    """Note that a copy into this host memory was begun and not waited for."""
    here = now()
    here.copies += 1
    storage(x).pending = here.copies  # type: ignore[attr-defined]


def pending(x: Tensor) -> bool:
    """Whether such a copy may still be under way."""
    return getattr(storage(x), "pending", 0) > now().landed
