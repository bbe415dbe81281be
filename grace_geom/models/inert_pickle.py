"""Pickles read as inert data: no class is looked up and no function is called, whatever they name.

Every class or function that a pickle names becomes a :class:`Named` of its own, which keeps what
would have been passed to it. :mod:`grace_geom.models.tensor_files` makes tensors of those that it
knows; the others stay what they are: a name with contents.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from typing import Any

MAX_OPCODES = 20_000_000
"""An index of 100,000 tensors has about 3 million; reading them takes a microsecond each."""

CODE = frozenset({
    "os", "posix", "nt", "sys", "subprocess", "runpy", "importlib", "shutil", "socket", "pty",
    "code", "codeop", "commands", "webbrowser", "ctypes", "signal", "threading", "platform",
    "multiprocessing", "asyncio", "pickle", "_pickle", "marshal", "timeit", "pdb", "cProfile",
    "profile", "bdb", "trace", "operator", "functools",
})  # fmt: skip
"""Modules whose appearance in a file of weights is an attempt to run something."""

HARMLESS_BUILTINS = frozenset({
    "set", "frozenset", "complex", "bytearray", "slice", "range", "list", "dict", "tuple",
    "object", "bytes", "str", "int", "float", "bool", "type",
})  # fmt: skip


class CodeError(Exception):
    """The pickle names a function that has no place among data; the message is its path."""


class Named:
    """What a pickle says of an object whose class or function was not looked up.

    Attributes:
        path: ``module.name`` of the class or function; of the class itself, too.
        args: What it would have been called with.
        state: What its attributes would have been set to.
        items: Its entries, where it is a mapping.
        elements: Its elements, where it is a list or a set.
    """

    path: str = ""
    items: dict[Any, Any]
    elements: list[Any]
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Named":
        """Keep the arguments; nothing is called."""
        made = object.__new__(cls)
        made.args = args
        made.items = {}
        made.elements = []
        made.state = kwargs or None
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: :meth:`__new__` has kept the arguments."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """One more element."""
        self.elements.append(value)

    add = append

    def extend(self, values: Any) -> None:
        """More elements."""
        self.elements.extend(values)

    def __hash__(self) -> int:
        return id(self)


class _Inert(pickle.Unpickler):
    """The standard unpickler with no way to a class: its only source of callables is closed."""

    def __init__(self, file: io.BytesIO, storage: Callable[[Any], Any] | None) -> None:
        super().__init__(file, encoding="latin1")
        self.storage = storage
        self.known: dict[str, type[Named]] = {}

    def find_class(self, module: str, name: str) -> type[Named]:
        """A class that does nothing, in place of any that the pickle names; code is refused."""
        path = f"{module}.{name}"
        if path not in self.known:
            root = module.partition(".")[0]
            builtin = root in {"builtins", "__builtin__"} and name not in HARMLESS_BUILTINS
            if root in CODE or builtin:
                raise CodeError(path)
            self.known[path] = type("Named", (Named,), {"path": path})
        return self.known[path]

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is None:
            raise pickle.UnpicklingError("a persistent id outside of torch's format")
        return self.storage(pid)


def read_pickle(
    data: bytes, start: int = 0, storage: Callable[[Any], Any] | None = None
) -> tuple[Any, int]:
    """One pickle of ``data`` as plain types and :class:`Named`.

    The opcodes are looked through first: the C unpickler takes memory for what a damaged pickle
    merely declares.

    Args:
        data: The bytes.
        start: Where the pickle begins.
        storage: What a persistent id stands for; ``None``: there must be none.

    Returns:
        The content, and where the pickle ends.

    Raises:
        CodeError: If it names a function that runs something.
        Exception: Of many kinds where the bytes are no pickle.
    """
    file = io.BytesIO(data)
    file.seek(start)
    end = start
    for count, (opcode, arg, _) in enumerate(pickletools.genops(file)):
        if count > MAX_OPCODES:
            raise ValueError("too many entries")
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"} and not 0 <= int(arg or 0) <= count:
            raise ValueError("a memo index out of order")
        if opcode.name.startswith("EXT") or opcode.name == "NEXT_BUFFER":
            raise ValueError("an extension")
        end = file.tell()
    file.seek(start)
    return _Inert(file, storage).load(), end


def tensors_of_module(state: dict[str, Any], is_tensor: Callable[[Any], bool]) -> Iterator[Any]:
    """``(name, tensor)`` of a pickled ``nn.Module``: its parameters and persistent buffers, then
    those of its parts.

    Args:
        state: The module's attributes, its parts as :class:`Named` or as such dictionaries.
        is_tensor: Tells what counts.
    """
    hidden = state.get("_non_persistent_buffers_set") or ()
    own = {**(state.get("_parameters") or {}), **(state.get("_buffers") or {})}
    if "_modules" not in state:  # a TorchScript module: its attributes are the tensors and parts
        own = {name: value for name, value in state.items() if is_tensor(value)}
    for name, value in own.items():
        if is_tensor(value) and name not in hidden:
            yield name, value
    parts = state.get("_modules", state)
    for name, part in (parts or {}).items():
        if isinstance(part, Named) and isinstance(part.state, dict):
            for inner, value in tensors_of_module(part.state, is_tensor):
                yield f"{name}.{inner}", value
