"""The types of command-line options: numbers that may be fractions, and every type in words."""

import functools
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse.typing import register_type

from grace_geom.quantities import in_levels


def describe(kind: Any) -> str:
    """A type in words, for messages."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(describe(part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if is_dict(kind):
        return "NAME=VALUE pairs"
    if is_list(kind):
        return f"a comma-separated list, each {describe(get_args(kind)[0])}"
    words = {
        int: "a whole number",
        float: "a number such as 0.001 or 4/255",
        bool: "on or off",
        str: "text",
        Path: "a path",
        type(None): "null",
    }
    return words.get(kind, str(kind))


class Number(float):
    """A float that may be written as a fraction; pixel radii are shown as they are written,
    ``4/255``.
    """

    def __new__(cls, value: Any) -> "Number":
        if isinstance(value, bool):
            raise ValueError("not a number")
        if isinstance(value, str) and "/" in value:
            top, _, bottom = value.partition("/")
            value = float(top) / float(bottom)
        number = super().__new__(cls, value)
        if number != number:
            raise ValueError("not a number")
        return number

    def __str__(self) -> str:
        return in_levels(float(self)) or float.__repr__(self)


Number.__name__ = "float"  # what --help shows
register_type(
    Number,
    serializer=float,
    deserializer=Number,
    deserializer_exceptions=(ValueError, TypeError, ZeroDivisionError),
)


def is_list(kind: Any) -> bool:
    """Lists and tuples: written ``a,b,c``."""
    return get_origin(kind) in (list, tuple)


def is_dict(kind: Any) -> bool:
    """Dictionaries: written ``NAME=VALUE``, repeated."""
    return get_origin(kind) is dict


def with_fractions(kind: Any) -> Any:
    """The same type with every ``float`` replaced by one that reads ``4/255``."""
    if kind is float:
        return Number
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal or not args:
        return kind
    inner = tuple(with_fractions(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return functools.reduce(lambda a, b: a | b, inner)
    return origin[inner]


def as_declared(value: Any, kind: Any) -> Any:
    """A parsed value without the parser's own types; lists become tuples where ``kind`` is one."""
    if isinstance(value, Number):
        return float(value)
    if isinstance(value, (list, tuple)):
        items = [as_declared(item, None) for item in value]
        return tuple(items) if get_origin(kind) is tuple else items
    if isinstance(value, dict):
        return {key: as_declared(item, None) for key, item in value.items()}
    return value


def written(kind: Any) -> Any:
    """A type as plain values, which :func:`read_back` reads."""
    if kind in _PLAIN.values():
        return next(name for name, plain_type in _PLAIN.items() if plain_type is kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"literal": list(args)}
    name = "union" if origin in (Union, types.UnionType) else origin.__name__
    return {name: ["..." if arg is Ellipsis else written(arg) for arg in args]}


def read_back(kind: Any) -> Any:
    """The type that :func:`written` wrote."""
    if isinstance(kind, str):
        return Ellipsis if kind == "..." else _PLAIN[kind]
    ((name, args),) = kind.items()
    if name == "literal":
        return Literal[tuple(args)]
    inner = tuple(read_back(arg) for arg in args)
    if name == "union":
        return functools.reduce(lambda a, b: a | b, inner)
    return {"list": list, "tuple": tuple, "dict": dict}[name][inner]  # type: ignore[index]


_PLAIN: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "path": Path,
    "none": type(None),
    "any": Any,
}
