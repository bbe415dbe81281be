"""What CUDA allows of operators: a dispatch mode that sees each, in backward passes too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.pretended_gpu import operators
from tests.pretended_gpu.moving import upload
from tests.pretended_gpu.state import Race, now
from tests.pretended_gpu.tags import (
    ANYWHERE,
    CPU,
    Anywhere,
    begun,
    claim,
    claimed,
    on_gpu,
    pending,
    pinned,
    real_device,
    storage,
)


class Rules(TorchDispatchMode):
    """Refuses what CUDA refuses, counts what makes the host wait, passes the device on."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            now().seen.ops += 1
            tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
            for x in tensors:
                landed(x)
            home = _home(func._schema.name, args, tensors)
            if home is not None and home.type == "cuda":
                operators.observe(func, args, kwargs, tensors)
            out = func(*args, **kwargs)
            _pass_on(home, tensors, out)
            return out


def _home(name: str, args: tuple[Any, ...], tensors: Sequence[Tensor]) -> torch.device | None:
    """The device an operator runs on; ``None`` where nothing says."""
    claims = [claimed(x) for x in tensors]
    devices = {d for d in claims if not isinstance(d, Anywhere)}
    if len(devices) > 1:
        home = _copied(name, args) if name in operators.COPIES else _mixed(name, args, tensors)
    else:
        home = next(iter(devices), None)
    if home is not None:
        for x, d in zip(tensors, claims, strict=True):
            if isinstance(d, Anywhere):
                claim(x, home)
    return home


def _mixed(name: str, args: tuple[Any, ...], tensors: Sequence[Tensor]) -> torch.device:
    """The one GPU, where all that lies on the host may lie there."""
    devices = {d for x in tensors if not isinstance(d := claimed(x), Anywhere)}
    gpus = {d for d in devices if d.type == "cuda"}
    host = [x for x in tensors if claimed(x) == CPU]
    if len(gpus) == 1 and all(_may_stay(name, args, x) for x in host):
        return next(iter(gpus))
    short = name.removeprefix("aten::")
    now().refuse(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{' and '.join(sorted(map(str, devices)))}! ({short})"
    )
    return next(iter(gpus), CPU)


def _may_stay(name: str, args: tuple[Any, ...], x: Tensor) -> bool:
    """Whether a kernel on a GPU takes this operand from the host: an index into a GPU tensor, or
    one number where it is no destination and no part of a product.
    """
    short = name.removeprefix("aten::")
    if short in operators.INDEXED and on_gpu(args[0]) and any(x is i for i in args[1]):
        upload(x, non_blocking=False, how="host index into a GPU tensor")
        return True
    written = bool(args) and x is args[0] and (short.endswith("_") or short in operators.INDEXED)
    return x.ndim == 0 and not written and not operators.wants_all_there(short)


def _copied(name: str, args: tuple[Any, ...]) -> torch.device | None:
    """A copy between devices by an operator: ``x.copy_(y)``, ``x.data = y``'s kin."""
    pairs = zip(
        args[0] if isinstance(args[0], list | tuple) else [args[0]],
        args[1] if isinstance(args[1], list | tuple) else [args[1]],
        strict=True,
    )
    non_blocking = len(args) > 2 and bool(args[2])
    for to, source in pairs:
        if on_gpu(source) and not on_gpu(to):
            if non_blocking and pinned(to):
                begun(to)
            else:
                now().wait("copy_ to the host")
        elif on_gpu(to) and not on_gpu(source) and claimed(source) is not ANYWHERE:
            upload(source, non_blocking, how="copy_ to the GPU")
    first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
    home = claimed(first)
    return None if isinstance(home, Anywhere) else home


def _pass_on(home: torch.device | None, tensors: Sequence[Tensor], out: Any) -> None:
    """New storage lies where the operator ran."""
    given = {storage(x)._cdata for x in tensors if real_device(x).type == "cpu"}
    for x in tree_leaves(out):
        if isinstance(x, Tensor) and real_device(x).type == "cpu":
            own = storage(x)
            if own._cdata not in given and getattr(own, "claims", None) is None:
                claim(x, ANYWHERE if home is None else home)


def landed(x: Tensor) -> None:
    """Refuse to read host memory into which a copy may still be under way."""
    if real_device(x).type == "cpu" and pending(x):
        now().landed = now().copies  # told once
        now().refuse("a copy to the host is read before anybody waited for it", Race)
