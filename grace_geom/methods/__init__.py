"""Every method by its name on the command line. A new method is its file and one line here."""

from grace_geom.errors import UserError, nearest
from grace_geom.methods.at import At, LoraAt
from grace_geom.methods.base import FullFt, Method, Run
from grace_geom.methods.ft import Ft
from grace_geom.methods.grace import Grace
from grace_geom.methods.lora import Lora
from grace_geom.methods.zero_shot import ZeroShot

METHODS: dict[str, type[Method]] = {
    "zero-shot": ZeroShot,
    "ft": Ft,
    "lora": Lora,
    "at": At,
    "lora-at": LoraAt,
    "grace": Grace,
}


def method_class(name: str) -> type[Method]:
    """The dataclass behind a method's name.

    Raises:
        UserError: For an unknown name, with the nearest ones.
    """
    if name not in METHODS:
        raise UserError(f"--method {name!r} is not known; {nearest(name, METHODS)}")
    return METHODS[name]


__all__ = ["METHODS", "FullFt", "Method", "Run", "method_class"]
