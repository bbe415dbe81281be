"""From the fields of a dataclass to options, with help texts from its docstring."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import docstring_parser

from grace_geom.cli.types import written
from grace_geom.fields import limits_of
from grace_geom.serialise import plain


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command line, as plain values.

    Attributes:
        name: Its field.
        kind: Its type, as :func:`grace_geom.cli.types.written` writes it.
        help: Its text.
        group: Heading that it stands under.
        required: Whether it has no default.
        default: Its default.
        limits: Of its value, as :func:`grace_geom.fields.bounded` takes them.
        usual: Where a recipe or a preset replaces the field's own default: that one as ``value``,
            and ``where`` the other applies; else ``None``.
    """

    name: str
    kind: Any
    help: str
    group: str
    required: bool
    default: Any
    limits: dict[str, float]
    usual: dict[str, Any] | None = None


def options_of(
    part: type, defaults: Mapping[str, Any], where: Mapping[str, str] | None = None
) -> list[Option]:
    """The options that the fields of a dataclass stand for, in order.

    Args:
        part: The dataclass.
        defaults: Defaults that replace those of the fields.
        where: When these apply, by field, for ``--help``: ``with --data shapes``.
    """
    helps, hints = field_help(part), typing.get_type_hints(part)
    found: list[Option] = []
    group = getattr(part, "group", "settings")
    for field in dataclasses.fields(part):
        if not field.init or not field.metadata.get("flag", True):
            continue
        group = field.metadata.get("group", group)
        default = defaults.get(field.name, _default(field))
        required = default is dataclasses.MISSING
        usual = _usual(field, default, (where or {}).get(field.name))
        text = field.metadata.get("help") or helps.get(field.name, field.name.replace("_", " "))
        found.append(
            Option(
                field.name,
                written(hints[field.name]),
                text,
                group,
                required,
                None if required else plain(default),
                limits_of(part, field.name),
                usual,
            )
        )
    return found


def field_help(config: type) -> dict[str, str]:
    """Field name -> its text in the ``Attributes:`` sections of the class and the classes it is
    made from.
    """
    helps: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        for entry in docstring_parser.parse(cls.__dict__.get("__doc__") or "").params:
            for name in entry.arg_name.split(","):
                helps[name.strip()] = " ".join((entry.description or "").split())
    return helps


def _usual(
    field: "dataclasses.Field[Any]", default: Any, where: str | None
) -> dict[str, Any] | None:
    own = _default(field)
    if where is None or own is dataclasses.MISSING or plain(own) == plain(default):
        return None
    return {"value": plain(own), "where": where}


def _default(field: "dataclasses.Field[Any]") -> Any:
    return (
        field.default_factory()
        if field.default_factory is not dataclasses.MISSING
        else field.default
    )
