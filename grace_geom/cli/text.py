"""What ``--help`` says beside the text of an option: its type and its default, in words."""

import types
from argparse import Action
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

from grace_geom.cli.options import Option
from grace_geom.cli.types import Number, is_dict, is_list, read_back


class HelpText(DefaultHelpFormatter):
    """A formatter that knows the :class:`Option` behind each action, kept there as ``option``."""

    def _get_help_string(self, action: Action) -> str:
        option: Option | None = getattr(action, "option", None)
        if option is None:
            return action.help or ""
        bracket = "; ".join(filter(None, [kind_of(option), default_of(option, action.default)]))
        # The parser replaces %(name)s in what it is given, and nothing else.
        text = option.help.replace("``", "")
        return f"{text} ({bracket})" if bracket else text


def kind_of(option: Option) -> str:
    """The values of an option in words; empty for a switch, whose values stand beside its flag."""
    kind = read_back(option.kind)
    if option.required:
        return "required"
    return "" if kind is bool or get_origin(kind) is Literal else in_words(kind)


def in_words(kind: Any) -> str:
    """A type as a reader of ``--help`` would call it: ``integer or null``, ``numbers a,b,c``."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [in_words(part) for part in get_args(kind)]
        return f"{', '.join(parts[:-1])} or {parts[-1]}"
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if is_dict(kind):
        return "NAME=VALUE, repeatable"
    if is_list(kind):
        return f"{_SEVERAL[get_args(kind)[0]]} a,b,c"
    return _ONE[kind]


def default_of(option: Option, current: Any) -> str:
    """``default: 2; with --data shapes: 6``; empty where the text tells the default itself.

    Args:
        option: The option.
        current: Its default as the parser has it; a ``--config`` file may have replaced it.
    """
    if option.required:
        return ""
    if current is not None and not _same(current, option.default):
        return f"in --config: {shown(current)}"
    usual = option.default if option.usual is None else option.usual["value"]
    told = "default:" in option.help and usual in (None, "", [], {})
    found = [] if told else [f"default: {shown(usual)}"]
    if option.usual is not None:
        found.append(f"{option.usual['where']}: {shown(option.default)}")
    return "; ".join(found)


def shown(value: Any) -> str:
    """A default as it is written on a command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "on", False: "off"}[value]
    if isinstance(value, Mapping):
        return ",".join(f"{key}={shown(one)}" for key, one in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(shown, value)) or "none"
    return str(Number(value)) if isinstance(value, float) else str(value)


def _same(current: Any, default: Any) -> bool:
    if isinstance(current, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(current) == list(default)
    return bool(current == default) or str(current) == str(default)


_ONE: dict[Any, str] = {
    int: "integer",
    float: "number",
    bool: "on or off",
    str: "text",
    Path: "path",
    type(None): "null",
}
_SEVERAL: dict[Any, str] = {int: "integers", float: "numbers", str: "list", Path: "paths"}
