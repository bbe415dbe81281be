"""Typed dataclasses as command lines: every option of a program is one field, and this is the one
place that knows how.

``parse(Config)`` gives flags with dashes, ``--config FILE.yaml`` below the flags,
``--print-config``, a grouped ``--help``, numbers written as ``4/255``, lists as ``a,b,c`` and
dictionaries as repeated ``NAME=VALUE``. A mistake is a :class:`UserError` of one or two lines that
names the flag or the key of the file.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from grace_geom.cli.memory import remember
from grace_geom.cli.options import Option, options_of
from grace_geom.cli.text import HelpText
from grace_geom.cli.types import (
    Number,
    as_declared,
    describe,
    is_dict,
    is_list,
    read_back,
    with_fractions,
)
from grace_geom.errors import UserError, nearest
from grace_geom.fields import check_limits
from grace_geom.serialise import plain, read_yaml, to_yaml
from grace_geom.terminal.door import OFF, ON

T = TypeVar("T")

OUTPUT = {
    "--quiet": "Print errors and the path of the result, and nothing else.",
    "--json": "Print one JSON document with the result (or the error) on stdout.",
}
"""Switches of every command that say how it speaks, and their texts. They are no settings:
``--print-config`` leaves them out.
"""

RECORD = "provenance"
"""Key of a run's ``config.yaml`` that records where it ran; reading the file as ``--config`` skips
it.
"""


def parse(
    config: type[T],
    argv: Sequence[str] | None = None,
    *,
    description: str = "",
    positionals: Sequence[str] = (),
    prog: str | None = None,
) -> T:
    """An instance of the dataclass ``config``, filled from a command line.

    Help texts come from the ``Attributes:`` section of the class docstring, or
    ``field(metadata={"help": ...})``; ``field(metadata={"group": "data"})`` groups ``--help`` (a
    field without one joins the group before it); ``field(metadata={"flag": False})`` is left out.

    Args:
        config: A dataclass of plain types: ``int``, ``float``, ``bool``, ``str``, ``Path``,
            ``Literal``, ``X | None``, ``list[X]``, ``tuple[X, ...]``, ``dict[str, str]``.
        argv: Arguments; ``None`` takes those of the process.
        description: First line of ``--help``.
        positionals: Fields given without a flag (a list field takes one or more, a scalar exactly
            one).
        prog: How the program is called, for ``--help``.

    Raises:
        UserError: Unknown flag or key, value of another type, missing positional, unreadable file.
    """
    command = Command(
        [config], description=description, positionals=positionals, prog=prog, key=prog
    )
    return config(**command.values(argv))


class Command:
    """A command line made of the fields of several dataclasses, which share one flat name space.

    Args:
        parts: The dataclasses, in the order of ``--help``. A field name may occur once only.
        description: First line of ``--help``.
        positionals: Fields given without a flag.
        defaults: Defaults that replace those of the fields (a recipe, say).
        where: When these apply, by field, for ``--help``: ``with --data shapes``.
        prog: How the program is called.
        key: Under which :func:`grace_geom.cli.quick.answer` finds it at the next call.
    """

    def __init__(
        self,
        parts: Sequence[type],
        *,
        description: str = "",
        positionals: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
        where: Mapping[str, str] | None = None,
        prog: str | None = None,
        key: str | None = None,
    ) -> None:
        options = [entry for part in parts for entry in options_of(part, defaults or {}, where)]
        self._build(options, description, tuple(positionals), prog)
        self.key = key

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> "Command":
        """The command line that :meth:`description` describes."""
        self = cls.__new__(cls)
        self.key = None
        options = [Option(**entry) for entry in description["options"]]
        self._build(
            options, description["text"], tuple(description["positionals"]), description["prog"]
        )
        return self

    def description(self) -> dict[str, Any]:
        """Everything that a command line is made of, as plain values."""
        return {
            "options": [dataclasses.asdict(option) for option in self.options],
            "text": self.parser.description,
            "positionals": list(self.positionals),
            "prog": self.parser.prog,
        }

    def _build(
        self,
        options: Sequence["Option"],
        description: str,
        positionals: tuple[str, ...],
        prog: str | None,
    ) -> None:
        self.options, self.positionals = options, positionals
        self.types: dict[str, Any] = {}
        several = {option.name for option in options if is_list(read_back(option.kind))}
        words = [name.upper() + "..." * (name in several) for name in positionals]
        usage = " ".join(["%(prog)s", *words, "[flags]"])
        self.parser = _Parser(
            prog=prog,
            usage=usage,
            description=description,
            exit_on_error=False,
            formatter_class=HelpText,
        )
        self._add_common()
        groups: dict[str, Any] = {}
        for option in options:
            if option.name in self.types:
                raise ValueError(f"two parts of one command line have a field {option.name!r}")
            self.types[option.name] = read_back(option.kind)
            group = groups.get(option.group)
            if group is None:
                group = groups[option.group] = self.parser.add_argument_group(option.group)
            self._add(group, option)

    def _add_common(self) -> None:
        """The options of every command: ``--help``, ``--config``, ``--print-config``, and
        ``--quiet`` and ``--json``, which :func:`grace_geom.terminal.door` obeys.
        """
        for action in self.parser._actions:
            if action.dest == "help":
                action.help = "Show this help message and exit."
        self.parser.add_argument(
            "--config",
            type=str,
            default=None,
            metavar="FILE",
            help="YAML file with settings; flags override it.",
        )
        self.parser.add_argument(
            "--print-config", action="store_true", help="Print the settings as YAML and exit."
        )
        for flag, text in OUTPUT.items():
            self.parser.add_argument(flag, action="store_true", help=text)

    def values(self, argv: Sequence[str] | None = None) -> dict[str, Any]:
        """Field name -> value, for every field of every part. ``--help`` and ``--print-config``
        print and exit.

        Raises:
            UserError: As :func:`parse`.
        """
        if self.key is not None:
            remember(self.key, self.description())
        tokens, given = self._scan(list(sys.argv[1:] if argv is None else argv))
        if "config" in given:
            self.parser.set_defaults(self._from_file(given["config"]))
        options = self._checked(lambda: self.parser.parse_args(tokens), given).as_dict()
        printing = options.pop("print_config")
        for name in ("config", *map(_field, OUTPUT)):
            del options[name]
        plain_options = {name: plain(value) for name, value in options.items()}
        if printing:
            print(to_yaml(plain_options), end="")
            raise SystemExit(0)
        found = {name: as_declared(value, self.types[name]) for name, value in options.items()}
        for option in self.options:
            check_limits(option.name, found[option.name], option.limits)
        return found

    def read(self, values: Mapping[str, Any], source: str = "settings") -> dict[str, Any]:
        """The same from a mapping of plain values, over the defaults.

        Raises:
            UserError: As :func:`parse`, with ``source`` in front.
        """
        values = self.check_keys(values, source)
        options = self._checked(
            lambda: self.parser.parse_object(values), values, f"{source}: "
        ).as_dict()
        return {name: as_declared(options[name], kind) for name, kind in self.types.items()}

    def check_keys(self, values: Mapping[str, Any], source: str) -> dict[str, Any]:
        """``values`` with underscores in its keys, without the record of an earlier run.

        Raises:
            UserError: For a key that is no field, with the nearest ones.
        """
        renamed = {
            str(key).replace("-", "_"): value for key, value in values.items() if key != RECORD
        }
        for key in renamed:
            if key not in self.types:
                raise UserError(f"{source}: unknown key {key!r}; {nearest(key, self.types)}")
        return renamed

    def _from_file(self, path: str) -> dict[str, Any]:
        values = dict(read_yaml(path))
        if values.get("json") is False:  # was an option of `evaluate`, and stands in its YAML
            del values["json"]
        values = self.check_keys(values, path)
        stand_in = {name: ["-"] if is_list(self.types[name]) else "-" for name in self.positionals}
        read = self._checked(
            lambda: self.parser.parse_object(stand_in | values), values, f"{path}: "
        ).as_dict()
        return {name: value for name, value in read.items() if name in values}

    def _add(self, group: Any, option: Option) -> None:
        kind = self.types[option.name]
        settings: dict[str, Any] = {"type": with_fractions(kind), "help": option.help}
        if option.name in self.positionals:
            if is_list(kind):
                settings |= {"nargs": "+" if option.required else "*"}
                settings["type"] = get_args(settings["type"])[0]
            group.add_argument(option.name, **settings).option = option
            return
        if kind is bool:
            settings |= {"nargs": "?", "const": True, "metavar": "on|off"}
        default = as_declared(option.default, kind)
        settings |= {"required": True} if option.required else {"default": _shown(default, kind)}
        group.add_argument(_flag(option.name), **settings).option = option

    def _scan(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        """Tokens for the parser, positionals first and lists as JSON; and the raw text of each
        flag.
        """
        flags = {_flag(name): name for name in self.types if name not in self.positionals}
        flags |= {
            "--config": "config",
            "--print-config": "print_config",
            "--help": "help",
            "-h": "help",
        }
        flags |= {flag: _field(flag) for flag in OUTPUT}
        positional: list[str] = []
        tokens: list[str] = []
        given: dict[str, str] = {}
        pairs: dict[str, dict[str, str]] = {}
        while argv:
            token = argv.pop(0)
            if not token.startswith("-") or token == "-":
                positional.append(token)
                continue
            flag, has_value, value = token.partition("=")
            flag = flag.replace("_", "-")
            if flag not in flags:
                raise UserError(f"unknown flag {flag}; {nearest(flag, flags)}")
            name = flags[flag]
            if name in {"help", "print_config"}:
                tokens.append(flag)
                continue
            if flag in OUTPUT:
                if not has_value and argv and argv[0].lower() in _WORDS:
                    argv.pop(0)
                if has_value and value.lower() not in _WORDS:
                    raise UserError(f"{flag} must be on or off, not {value!r}")
                continue
            if not has_value:
                value = self._value(flag, self.types.get(name) is bool, argv)
            given[name] = value
            if is_dict(self.types.get(name)) and not value.startswith("{"):
                key, equals, content = value.partition("=")
                if not (key and equals and content):
                    raise UserError(f"{flag} takes NAME=VALUE, not {value!r}")
                pairs.setdefault(name, {})[key] = content
            else:
                tokens.append(f"{flag}={self._list_as_json(name, value)}")
        tokens += [f"{_flag(name)}={json.dumps(entries)}" for name, entries in pairs.items()]
        if positional and not self.positionals:
            raise UserError(
                f"unexpected argument {positional[0]!r}: every option is a flag; see --help"
            )
        return positional + tokens, given

    def _value(self, flag: str, switch: bool, argv: list[str]) -> str:
        follows = bool(argv) and not (argv[0].startswith("--") or argv[0] == "-h")
        if (
            switch and follows and self.positionals
        ):  # `--resume ckpt.pt`: only its own words belong to a switch
            follows = argv[0].lower() in _WORDS
        if follows:
            return argv.pop(0)
        if switch:
            return "true"
        raise UserError(
            f"{flag} needs a value: {describe(self.types.get(flag[2:].replace('-', '_'), Path))}"
        )

    def _list_as_json(self, name: str, value: str) -> str:
        if name not in self.types or not is_list(self.types[name]) or value.startswith("["):
            return value
        items = [item.strip() for item in value.split(",") if item.strip()]
        numeric = all(t in (int, float) for t in get_args(self.types[name]) if t is not Ellipsis)
        return "[" + ",".join(items) + "]" if numeric else json.dumps(items)

    def _checked(
        self, step: Callable[[], Any], given: Mapping[str, Any], source: str = ""
    ) -> Namespace:
        """Run one step of the parser; say in one line what it finds wrong with what was
        ``given``."""
        try:
            return cast(Namespace, step())
        except _ParseError as error:
            message = str(error)
        key = re.search(r'[Kk]ey "(\w+)', message)
        if key and key[1] in self.types:
            name, kind = key[1], self.types[key[1]]
            got = f", not {given[name]!r}" if name in given else ""
            if get_origin(kind) is Literal and got:
                got += f"; {nearest(str(given[name]), map(str, get_args(kind)))}"
            label = name if source or name in self.positionals else _flag(name)
            raise UserError(f"{source}{label} must be {describe(kind)}{got}")
        missing = re.search(r"arguments are required: (.*)", message)
        if missing:
            raise UserError(f"missing: {missing[1]}; see --help")
        raise UserError(source + " ".join(message.split()))


def part_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """One dataclass out of the shared name space that :meth:`Command.values` gives."""
    return kind(**{f.name: values[f.name] for f in dataclasses.fields(kind)})  # type: ignore[arg-type]


def peek(argv: Sequence[str] | None, name: str, default: str) -> str:
    """What a command line says about one option before the rest can be understood (``--method``,
    ``--data``).
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    found: dict[str, str] = {}
    for i, token in enumerate(tokens):
        flag, has_value, value = token.partition("=")
        if flag in (_flag(name), "--config"):
            found[flag] = value if has_value else tokens[i + 1] if i + 1 < len(tokens) else ""
    if _flag(name) in found:
        return found[_flag(name)]
    return str(read_yaml(found["--config"]).get(name, default)) if "--config" in found else default


class _ParseError(Exception):
    pass


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise _ParseError(message) from ex


_WORDS = {*ON, *OFF}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _field(flag: str) -> str:
    return flag[2:].replace("-", "_")


def _shown(default: Any, kind: Any) -> Any:
    wants_float = kind is float or float in get_args(kind)
    return Number(default) if wants_float and isinstance(default, (int, float)) else default
