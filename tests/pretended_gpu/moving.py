"""Copies between devices: real copies into new storage that claims the other device."""

from typing import Any

import torch
from torch import Tensor

from tests.pretended_gpu.state import now
from tests.pretended_gpu.tags import (
    ANYWHERE,
    CPU,
    begun,
    claim,
    claimed,
    device_of,
    exact,
    on_gpu,
    pin,
    pinned,
    real_device,
)

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class _Copy(torch.autograd.Function):
    """A copy whose gradient goes back to where it came from."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: torch.device, dtype: torch.dtype, layout: Any) -> Any:
        ctx.back, ctx.dtype = device_of(x), x.dtype
        return claim(torch.clone(x, memory_format=layout).to(dtype), target)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        return claim(g.clone().to(ctx.dtype), ctx.back), None, None, None


def moved(
    x: Tensor,
    target: torch.device,
    dtype: torch.dtype | None = None,
    non_blocking: bool = False,
    layout: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """A copy on another device; counts it if it goes to or from a GPU."""
    source, here = device_of(x), now()
    down = source.type == "cuda" and target.type == "cpu"
    if down and not non_blocking:
        here.wait("copy to the host")
    elif source.type == "cpu" and target.type == "cuda":
        upload(x, non_blocking)
    with torch._C.DisableTorchFunction():  # real ones: the face would move them again
        out: Tensor = _Copy.apply(x, target, dtype or x.dtype, layout)  # type: ignore[no-untyped-call]
    if down and non_blocking:  # into page-locked memory, as CUDA does
        begun(pin(out))
    return out


def upload(x: Tensor, non_blocking: bool, how: str = "copy to the GPU") -> None:
    """Count a copy of host memory to a GPU. From pageable memory the host has to copy it itself
    first; only from page-locked memory does the copy overlap with work.
    """
    if pinned(x):
        now().upload(f"{how}, {'asynchronous' if non_blocking else 'pinned'}", not non_blocking)
    else:
        now().upload(f"{how}, pageable", not non_blocking)


def to(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``x.to(...)`` in all its forms."""
    x, rest, named = args[0], list(args[1:]), dict(kwargs)
    other = rest.pop(0) if rest and isinstance(rest[0], Tensor) else named.pop("other", None)
    if other is not None:
        rest, named["device"], named["dtype"] = [*rest], device_of(other), other.dtype
        for key, flag in zip(("non_blocking", "copy"), rest, strict=False):
            named[key] = flag
        rest = []
    copy = named.pop("copy", False)
    device, dtype, non_blocking, layout = torch._C._nn._parse_to(*rest, **named)
    layout = layout or torch.preserve_format
    target = claimed(x) if device is None else exact(device)
    if "meta" in (getattr(target, "type", ""), real_device(x).type):
        with torch._C.DisableTorchFunction():
            return func(*args, **kwargs)
    if claimed(x) is ANYWHERE and device is not None:
        claim(x, target)
    if target == claimed(x):
        return x.to(dtype=dtype or x.dtype, copy=copy, memory_format=layout)
    assert isinstance(target, torch.device)
    return moved(x, target, dtype, non_blocking, layout)


def cpu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``x.cpu()``."""
    return to(Tensor.to, (args[0], CPU), {})


def cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``x.cuda(device=None, non_blocking=False)``."""
    given = dict(zip(("device", "non_blocking"), args[1:], strict=False)) | kwargs
    device = given.get("device")
    target = exact("cuda" if device is None else device)
    return to(Tensor.to, (args[0], target), {"non_blocking": given.get("non_blocking", False)})


def as_tensor(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``torch.as_tensor(data, dtype, device)``: shares, converts or uploads."""
    given = dict(zip(("data", "dtype", "device"), args, strict=False)) | kwargs
    device, dtype = given.get("device"), given.get("dtype")
    if isinstance(data := given.get("data", given.get("obj")), Tensor):
        return to(Tensor.to, (data,), {"device": device or device_of(data), "dtype": dtype})
    made = func(data, dtype=dtype)
    return made if device is None else to(Tensor.to, (made, exact(device)), {})


def page_locked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``x.pin_memory()``."""
    if on_gpu(args[0]):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors can be")
    return args[0] if pinned(args[0]) else pin(args[0].clone())
