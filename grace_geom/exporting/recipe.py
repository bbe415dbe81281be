"""The command line that trained a checkpoint, from the settings that it keeps."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from grace_geom.config import NOT_THE_RUN, make_config
from grace_geom.errors import UserError
from grace_geom.methods import method_class
from grace_geom.quantities import in_levels

CHOOSING = ("method", "data", "preset")
"""Settings that decide the defaults of the others."""
LOCAL = re.compile(r"(?:(?<=[+=:])|^)(?:~|\.{1,2})?/[^+=]*/(?=[^/+=])")
"""The folders above a path that is absolute, or begins at the home or the parent folder."""


def training_command(config: Mapping[str, Any]) -> str:
    """The command line of a run: what differs from the defaults, the data set's recipe included.

    Folders of absolute paths are left out: a card is for everybody.

    Args:
        config: Every setting of the run, as checkpoints keep them.

    Raises:
        UserError: If the method or a setting is not known here.
    """
    chosen = {name: config[name] for name in CHOOSING if config.get(name) is not None}
    if "method" not in chosen:
        raise UserError("no method is on record")
    method = method_class(str(chosen["method"]))
    own = {f.name: getattr(method, f.name) for f in fields(method)}
    chosen |= {n: config[n] for n in method.deciding if config.get(n, own[n]) != own[n]}
    usual = make_config(chosen).flat()
    flags = [
        f"--{name.replace('_', '-')} {shlex.quote(_written(name, value))}"
        for name, value in config.items()
        if name in chosen or (name not in NOT_THE_RUN and usual.get(name) != value)
    ]
    return " ".join(["python -m grace_geom.train", *flags])


def _written(name: str, value: Any) -> str:
    """A value as the command line reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if name == "eps" and isinstance(value, float) and (level := in_levels(value)):
        return level
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(public(value))


def public(value: Any) -> Any:
    """A setting without the folders of local paths: ``npz:/home/me/a.npz`` is ``npz:a.npz``."""
    if isinstance(value, str) and "://" not in value:
        return LOCAL.sub("", value)
    return value
