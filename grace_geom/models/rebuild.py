"""Tensors, numpy numbers and plain containers from what a pickle says of them."""

import math
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from grace_geom.models.archive import Damaged, Storage, Storages
from grace_geom.models.inert_pickle import Named, tensors_of_module

MAX_DEPTH = 100
MAX_ENTRIES = 50_000_000
STRETCHED = 1 << 24
"""Numbers that a tensor may have beyond those that are stored (an expanded one)."""


class Rebuilder:
    """Makes the objects of one file; what it does not know stays :class:`Named`.

    Args:
        storages: Where the numbers are.
        nested: Reads the bytes of a storage that was pickled on its own.
    """

    def __init__(self, storages: Storages, nested: Callable[[bytes], Any]) -> None:
        self.storages, self.nested = storages, nested
        self.done: dict[int, Any] = {}
        self.alive: list[Any] = []
        self.size: dict[int, int] = {}
        self.total = 0

    def whole(self, content: Any) -> Any:
        """The content of the file; a pickled module or TorchScript program is its state dict."""
        found = self.value(content)
        if isinstance(found, Named) and isinstance(found.state, dict):
            return dict(tensors_of_module(found.state, lambda value: isinstance(value, Tensor)))
        return found

    def value(self, content: Any, depth: int = 0) -> Any:
        """The object that ``content`` stands for, each once."""
        if depth > MAX_DEPTH:
            raise Damaged(f"it is nested more than {MAX_DEPTH} deep")
        if not isinstance(content, (dict, list, tuple, set, frozenset, Named, Storage)):
            return content
        if id(content) in self.done:
            found = self.done[id(content)]
            if found is self:
                raise Damaged("a container holds itself")
            self.total += self.size.get(id(content), 1)
            return found
        self.done[id(content)] = self  # under way
        self.alive.append(content)
        before, self.total = self.total, self.total + 1
        found = self._made(content, depth + 1)
        self.done[id(content)], self.size[id(content)] = found, self.total - before
        if self.total > MAX_ENTRIES:  # a list of the same list, and so on: small on disk only
            raise Damaged(f"it unfolds to more than {MAX_ENTRIES:,} entries")
        return found

    def _made(self, content: Any, depth: int) -> Any:
        if isinstance(content, dict):
            return {self.value(k, depth): self.value(v, depth) for k, v in content.items()}
        if isinstance(content, (list, tuple)):
            return type(content)(self.value(item, depth) for item in content)
        if isinstance(content, (set, frozenset)):
            return {self.value(item, depth) for item in content}
        if isinstance(content, Storage):
            return self.storages.read(content).view(content.dtype)
        return self._named(content, depth)

    def _named(self, content: Named, depth: int) -> Any:
        content.args = tuple(
            item if isinstance(item, Storage) else self.value(item, depth) for item in content.args
        )
        content.items = self.value(content.items, depth)
        content.elements = self.value(content.elements, depth)
        module, _, name = content.path.rpartition(".")
        if name == "__setstate__":
            raise Damaged("an object that sets its own state")
        if module == "__torch__" or module.startswith("__torch__."):
            content.state = self.value(content.state, depth)
            return content
        maker = MAKERS.get(content.path.replace("numpy.core", "numpy._core"))
        if maker is not None:
            content.state = self.value(content.state, depth)
            return maker(self, content)
        cycles = isinstance(content.state, (dict, tuple))
        if cycles:  # parts of a module may refer to the module: it is not copied, only filled
            self.done[id(content)] = content
        content.state = self.value(content.state, depth)
        return content

    def tensor(self, args: tuple[Any, ...], dtype: torch.dtype | None = None) -> Tensor:
        """``_rebuild_tensor``: storage, offset, size, stride; nothing outside the storage."""
        storage, offset, size, stride = args[:4]
        if isinstance(storage, Tensor):  # from a storage that was pickled on its own
            numbers = storage
        else:
            block = self.storages.read(storage)
            begin = storage.offset * storage.dtype.itemsize
            numbers = block[begin : begin + storage.numel * storage.dtype.itemsize]
            numbers = numbers.view(storage.dtype)
        numbers = numbers if dtype is None else numbers.view(dtype)
        size, stride = _whole_numbers(size), _whole_numbers(stride)
        if len(size) != len(stride) or not isinstance(offset, int) or offset < 0:
            raise Damaged("a tensor whose shape and strides do not agree")
        total = math.prod(size)
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if total and last >= len(numbers):
            raise Damaged(f"a tensor of shape {size} does not fit in its storage")
        if total > len(numbers) + STRETCHED:
            raise Damaged(f"a tensor of shape {size} repeats {len(numbers)} numbers")
        return torch.as_strided(numbers, size, stride, offset)


def _whole_numbers(values: Any) -> tuple[int, ...]:
    values = tuple(values) if isinstance(values, (list, tuple)) else (-1,)
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in values) or len(values) > 64:
        raise Damaged(f"a tensor of shape or strides {str(values)[:60]}")
    return values


def _first_tensor(rebuild: Rebuilder, made: Named) -> Any:
    found = made.args[0]
    if not isinstance(found, Tensor):
        raise Damaged("a parameter that is no tensor")
    return found


def _typed(rebuild: Rebuilder, made: Named) -> Tensor:
    return rebuild.tensor(made.args)


def _v3(rebuild: Rebuilder, made: Named) -> Tensor:
    return rebuild.tensor(made.args, _dtype(made.args[6]))


def _dtype(kind: Any) -> torch.dtype:
    path = getattr(kind, "path", "") if isinstance(kind, type) else ""
    found = getattr(torch, path.removeprefix("torch."), None) if path.startswith("torch.") else None
    if not isinstance(found, torch.dtype):
        raise Damaged(f"numbers of an unknown kind ({path})")
    return found


def _with_attributes(rebuild: Rebuilder, made: Named) -> Any:
    """``_rebuild_from_type_v2``: a function, the tensor's class, the arguments, attributes."""
    kind, inner = made.args[0], made.args[2]
    if not (isinstance(kind, type) and issubclass(kind, Named)) or not isinstance(inner, tuple):
        raise Damaged("a tensor of an unknown kind")
    return rebuild.value(kind(*inner))


def _dictionary(rebuild: Rebuilder, made: Named) -> dict[Any, Any]:
    given = made.args[0] if made.args else ()
    if made.path == "collections.defaultdict":
        given = made.args[1] if len(made.args) > 1 else ()
    pairs = given.items() if isinstance(given, Mapping) else given
    return {**dict(pairs), **made.items}


def _sequence(rebuild: Rebuilder, made: Named) -> Any:
    given = [*(made.args[0] if made.args else ()), *made.elements]
    return {"tuple": tuple, "Size": tuple, "list": list}.get(made.path.rpartition(".")[2], set)(
        given
    )


def _attributes(rebuild: Rebuilder, made: Named) -> dict[Any, Any]:
    return dict(made.state or {})


def _path(rebuild: Rebuilder, made: Named) -> str:
    return str(PurePosixPath(*map(str, made.args)))


def _encoded(rebuild: Rebuilder, made: Named) -> Any:
    text, encoding = (*made.args, "latin1")[:2]
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise Damaged("bytes in an unknown encoding")
    return text.encode(encoding)


def _device(rebuild: Rebuilder, made: Named) -> str:
    return ":".join(str(part) for part in made.args)


def _number(rebuild: Rebuilder, made: Named) -> Any:
    """``numpy...scalar``: a type and its bytes."""
    dtype, raw = made.args
    return np.frombuffer(_raw(raw), dtype=dtype, count=1)[0].item()


def _raw(raw: Any) -> bytes:
    if isinstance(raw, str):
        return raw.encode("latin1")
    if not isinstance(raw, (bytes, bytearray)):
        raise Damaged("numbers of numpy that are no bytes")
    return bytes(raw)


def _numpy_dtype(rebuild: Rebuilder, made: Named) -> np.dtype[Any]:
    kind = made.args[0]
    state = made.state
    kind = kind if isinstance(kind, str) else kind.decode() if isinstance(kind, bytes) else ""
    if kind[:1] not in "fiubcSU" or not kind[:1]:
        raise Damaged(f"numpy's {kind!r}")
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    return np.dtype(kind).newbyteorder(">" if order == ">" else "=")


def _array(rebuild: Rebuilder, made: Named) -> Any:
    """``numpy...._reconstruct`` and its state: version, shape, type, Fortran order, bytes."""
    if not isinstance(made.state, tuple) or len(made.state) != 5:
        raise Damaged("an array of numpy without numbers")
    _, shape, dtype, fortran, raw = made.state
    if not isinstance(dtype, np.dtype) or not isinstance(raw, (bytes, bytearray, str)):
        return made  # of objects: names, dates
    return _numbers(raw, dtype, shape, "F" if fortran else "C")


def _buffer(rebuild: Rebuilder, made: Named) -> Any:
    """``numpy...._frombuffer``, of pickle's protocol 5: bytes, type, shape, order."""
    raw, dtype, shape, order = made.args
    return _numbers(raw, dtype, shape, "F" if order == "F" else "C")


def _numbers(raw: Any, dtype: np.dtype[Any], shape: Any, order: Literal["C", "F"]) -> Any:
    array = np.frombuffer(_raw(raw), dtype=dtype).reshape(_whole_numbers(shape), order=order)
    if dtype.kind in "SU":
        return array.tolist()
    return torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=True))


MAKERS: dict[str, Callable[[Rebuilder, Named], Any]] = {
    "torch._utils._rebuild_tensor": _typed,
    "torch._utils._rebuild_tensor_v2": _typed,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_parameter": _first_tensor,
    "torch._utils._rebuild_parameter_with_state": _first_tensor,
    "torch.nn.parameter.Parameter": _first_tensor,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first_tensor,
    "torch._utils._rebuild_device_tensor_from_numpy": _first_tensor,
    "torch.storage._load_from_bytes": lambda rebuild, made: rebuild.nested(_raw(made.args[0])),
    "torch.Size": _sequence,
    "torch.device": _device,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "collections.Counter": _dictionary,
    "argparse.Namespace": _attributes,
    "types.SimpleNamespace": _attributes,
    "lightning.fabric.utilities.data.AttributeDict": _dictionary,
    "lightning_fabric.utilities.data.AttributeDict": _dictionary,
    "pytorch_lightning.utilities.parsing.AttributeDict": _dictionary,
    "_codecs.encode": _encoded,
    "numpy._core.multiarray.scalar": _number,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy._core.numeric._frombuffer": _buffer,
    "numpy.dtype": _numpy_dtype,
} | dict.fromkeys(
    (f"{m}.{n}" for m in ("builtins", "__builtin__") for n in ("set", "frozenset", "list", "tuple")),
    _sequence,
) | dict.fromkeys(
    (f"pathlib{m}.{n}" for m in ("", "._local") for n in (
        "Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    _path,
)  # fmt: skip
