"""Every method by its name on the command line. A new method is its file and one line here."""

from pkgutil import resolve_name

from grace_geom.errors import UserError, nearest
from grace_geom.methods.base import FullFt, Method, Run

TABLE = {
    "zero-shot": "zero_shot:ZeroShot",
    "linear-probe": "linear_probe:LinearProbe",
    "ft": "ft:Ft",
    "lp-ft": "lp_ft:LpFt",
    "wise-ft": "wise_ft:WiseFt",
    "flyp": "flyp:Flyp",
    "tpgm": "tpgm:Tpgm",
    "ftp": "ftp:Ftp",
    "spd": "spd:Spd",
    "l2-sp": "l2_sp:L2Sp",
    "sam": "sam:Sam",
    "asam": "sam:Asam",
    "lora": "lora:Lora",
    "lora-spd": "spd:LoraSpd",
    "awp": "awp:Awp",
    "at": "at:At",
    "tecoa": "tecoa:Tecoa",
    "fare": "fare:Fare",
    "pmg-aft": "pmg_aft:PmgAft",
    "trades": "trades:Trades",
    "laat": "laat:Laat",
    "tga-zsr": "tga_zsr:TgaZsr",
    "lora-at": "at:LoraAt",
    "lora-tecoa": "tecoa:LoraTecoa",
    "vpt-pmg-aft": "vpt:VptPmgAft",
    "grace": "grace:Grace",
}
"""Its file here and its class, by the name of the method."""

METHODS: dict[str, type[Method]] = {
    name: resolve_name(f"{__name__}.{where}") for name, where in TABLE.items()
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
