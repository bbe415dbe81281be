"""What a program sees of tensors: a function mode that answers for the claimed device."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tests.pretended_gpu import autocast, moving, precision
from tests.pretended_gpu.state import Pretence, now, words
from tests.pretended_gpu.tags import CPU, claim, device_of, exact, on_gpu, pin, pinned

Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def _no_numpy(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if on_gpu(args[0]):
        raise TypeError(
            f"can't convert {device_of(args[0])} device type tensor to numpy. Use Tensor.cpu() to "
            "copy the tensor to host memory first."
        )
    _landed(args[0])
    return func(*args, **kwargs)


def _waiting(what: str) -> Handler:
    """For what reads numbers without an operator, or with many that wait once together."""

    def handler(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if on_gpu(args[0]):
            now().wait(what)
        else:
            _landed(args[0])
        with now().hushed():
            return func(*args, **kwargs)

    return handler


def _landed(x: object) -> None:
    from tests.pretended_gpu.rules import landed

    if isinstance(x, Tensor):
        landed(x)


def _deep_copy(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return claim(func(*args, **kwargs), device_of(args[0]))


def _get_device(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    index = device_of(args[0]).index
    return -1 if index is None else index


def _backward(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A backward pass runs hooks and recomputes: they see the same face."""
    names = ("gradient", "retain_graph", "create_graph", "inputs")
    given = dict(zip(names, args[1:], strict=False)) | kwargs
    with Face():
        torch.autograd.backward(
            args[0],
            given.get("gradient"),
            given.get("retain_graph"),
            given.get("create_graph", False),
            inputs=given.get("inputs"),
        )


def _one_hot(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Only the CPU looks whether the classes are as few as said."""
    if on_gpu(args[0]) and (kwargs.get("num_classes") or (*args, -1)[1]) == -1:
        now().wait("one_hot")
    with now().hushed():
        return func(*args, **kwargs)


def _new_tensor(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    device = kwargs.get("device")
    target = device_of(args[0]) if device is None else exact(device)
    if target.type == "cuda":
        now().upload("torch.tensor on the GPU", blocking=True)
    return claim(func(*args, **kwargs | {"device": CPU}), target)


HANDLERS: dict[Any, Handler] = {
    Tensor.device.__get__: lambda f, a, k: device_of(a[0]),  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: lambda f, a, k: on_gpu(a[0]),  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: lambda f, a, k: device_of(a[0]).type == "cpu",  # type: ignore[attr-defined]
    Tensor.get_device: _get_device,
    Tensor.to: moving.to,
    Tensor.cpu: moving.cpu,
    Tensor.cuda: moving.cuda,
    torch.as_tensor: moving.as_tensor,
    torch.asarray: moving.as_tensor,
    Tensor.pin_memory: moving.page_locked,
    Tensor.is_pinned: lambda f, a, k: pinned(a[0]),
    Tensor.new_tensor: _new_tensor,
    torch.nn.functional.one_hot: _one_hot,
    Tensor.numpy: _no_numpy,
    Tensor.__array__: _no_numpy,
    Tensor.tolist: _waiting("tolist"),
    Tensor.__repr__: _waiting("repr"),
    Tensor.__format__: _waiting("format"),
    Tensor.__deepcopy__: _deep_copy,
    Tensor.backward: _backward,
}

NEW = {
    getattr(torch, name)
    for name in words(
        "zeros ones empty full rand randn arange linspace logspace tensor eye randperm randint "
        "scalar_tensor empty_strided tril_indices triu_indices normal hann_window range"
    )
}
"""Functions that make a tensor on the CPU unless told otherwise."""


class Face(TorchFunctionMode):
    """Answers for the claimed device; hands the rest to torch, on the CPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if (handler := HANDLERS.get(func)) is not None:
            return handler(func, args, kwargs)
        args, kwargs = autocast.lifted(func, args, kwargs)
        args = precision.rounded(func, args)
        target = _target(func, kwargs)
        _check_generator(func, args, kwargs, target)
        lock = kwargs.pop("pin_memory", False) if func in NEW else False
        out = func(*args, **kwargs)
        if target is None:
            return out
        if func is torch.tensor and target.type == "cuda":
            now().upload("torch.tensor on the GPU", blocking=True)
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                claim(pin(x) if lock else x, target)
        return out


def _target(func: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """The device that a call asks for; the call itself is made on the CPU."""
    asked = kwargs.get("device")
    if asked is None:
        return CPU if func in NEW else None
    target = exact(asked)
    if target.type == "meta":
        return None
    kwargs["device"] = CPU
    return target


def _check_generator(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], target: torch.device | None
) -> None:
    """CUDA draws from a generator of the same device, and of the same GPU."""
    generator = kwargs.get("generator")
    if not isinstance(generator, torch._C.Generator):
        return
    drawn = target or next((device_of(x) for x in args if isinstance(x, Tensor)), CPU)
    own = getattr(generator, "claims", CPU)
    if drawn != own:
        name = own if own.type == drawn.type else own.type
        raise RuntimeError(f"Expected a '{drawn}' device type for generator but found '{name}'")


def stand_ins(pretence: Pretence) -> Iterator[tuple[Any, str, Any]]:
    """Where torch itself would leave the mode."""
    begin = torch.autograd.graph.saved_tensors_hooks.__init__

    def facing(hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with Face():
                return hook(*args)

        return call

    def hooks(self: Any, pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
        begin(self, facing(pack), facing(unpack))

    yield torch.autograd.graph.saved_tensors_hooks, "__init__", hooks
    yield torch.autograd, "has_torch_function", lambda *args: False  # grad() stays in the mode
    yield torch._C, "_group_tensors_by_device_and_dtype", _grouped


_group = torch._C._group_tensors_by_device_and_dtype


def _grouped(lists: Any, with_indices: bool = False) -> Any:
    """The optimisers' groups, by the claimed device; a state on another one is told apart by the
    operators that meet it.
    """
    found: dict[Any, Any] = {}
    for (_, dtype), (groups, indices) in _group(lists, with_indices).items():
        for i, first in enumerate(groups[0]):
            mine = found.setdefault((device_of(first), dtype), ([[] for _ in groups], []))
            for part, group in zip(mine[0], groups, strict=True):
                if i < len(group):
                    part.append(group[i])
            mine[1].extend(indices[i : i + 1])
    return found
