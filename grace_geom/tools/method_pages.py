"""The documentation's page of methods, from their classes: a new method appears there by itself."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from grace_geom.cli.options import field_help
from grace_geom.cli.types import Number
from grace_geom.fields import limits_of
from grace_geom.methods import METHODS, Method
from grace_geom.serialise import plain

HEAD = """# Methods

Every method of `--method`, in the order of `--help`. *Tables* are those of the paper in which it
has a row, or stands as a control (`mix-at`, `lora-mix-at`); a method without one joins a study by
name. Defaults come from the paper or code named in its source; `shapes` gives the settings for the
embedded benchmark. Texts say where the source gives no value, or has no such option.
"""


def method_page(methods: Mapping[str, type[Method]] = METHODS) -> str:
    """Markdown for all methods: an overview, then a section for each."""
    rows = [
        f"| [`{name}`](#{name}) | {_tables(cls)} | {'yes' if cls.trains else 'no'} "
        f"| {_cell(_first_sentence(cls))} |"
        for name, cls in methods.items()
    ]
    overview = "| method | tables | trains | in short |\n| --- | --- | --- | --- |\n"
    sections = [_section(name, cls) for name, cls in methods.items()]
    return "\n".join([HEAD, overview + "\n".join(rows), "", *sections])


def _section(name: str, cls: type[Method]) -> str:
    source = _paragraph(inspect.getdoc(sys.modules[cls.__module__]) or "")
    about = _prose(inspect.getdoc(cls) or "")
    parts = [f"## {name}", f"**Source.** {source}", about]
    parts.append(f"*Tables:* {_tables(cls)}. *Class:* `{cls.__module__}.{cls.__qualname__}`.")
    if recipes := cls.__dict__.get("recipes"):
        parts += [f"*Settings on `{data}`:* {_settings(own)}." for data, own in recipes.items()]
    parts += [f"*`--preset {preset}`:* {_settings(own)}." for preset, own in cls.presets.items()]
    if cls.trains and fields(cls):
        parts.append(_fields(cls))
    return "\n\n".join(parts) + "\n"


def _fields(cls: type[Method]) -> str:
    helps = field_help(cls)
    lines = ["| option | default | limits | meaning |", "| --- | --- | --- | --- |"]
    for entry in fields(cls):
        flag, default = f"--{entry.name.replace('_', '-')}", plain(getattr(cls, entry.name))
        lines.append(
            f"| `{flag}` | `{_cell(_value(default))}` | {_limits(limits_of(cls, entry.name))} "
            f"| {_cell(helps.get(entry.name, ''))} |"
        )
    return "\n".join(lines)


def _limits(limits: Mapping[str, float]) -> str:
    words = {"above": "> {:g}", "least": "≥ {:g}", "most": "≤ {:g}"}
    return ", ".join(words[key].format(limits[key]) for key in words if key in limits) or "–"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}` {_value(plain(value))}" for key, value in values.items()) or "none"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "on", False: "off"}[value]
    if not isinstance(value, float):
        return str(value)
    exact = str(Number(value))
    return exact if "/" in exact else f"{value:g}"


def _tables(cls: type[Method]) -> str:
    return ", ".join(str(n) for n in cls.__dict__.get("tables", ())) or "–"


def _prose(doc: str) -> str:
    return doc.partition("Attributes:")[0].strip().replace("``", "`")


def _paragraph(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split()).replace("``", "`")


def _first_sentence(cls: type[Method]) -> str:
    return _paragraph(_prose(inspect.getdoc(cls) or ""))


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
