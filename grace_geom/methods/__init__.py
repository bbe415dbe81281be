"""Every method by its name on the command line. A new method is its file and one line here.

The order of the lines is the order of methods in ``--help``, in tables and in the docs.
"""
# ruff: noqa: F401, I001

from grace_geom.errors import check_known
from grace_geom.methods.base import FullFt, Losses, Method, Run, check_fields
from grace_geom.methods.zero_shot import ZeroShot
from grace_geom.methods.linear_probe import LinearProbe
from grace_geom.methods.ft import Ft
from grace_geom.methods.lp_ft import LpFt
from grace_geom.methods.wise_ft import WiseFt
from grace_geom.methods.flyp import Flyp
from grace_geom.methods.tpgm import Tpgm
from grace_geom.methods.ftp import Ftp
from grace_geom.methods.spd import Spd
from grace_geom.methods.l2_sp import L2Sp
from grace_geom.methods.sam import Sam
from grace_geom.methods.sam import Asam
from grace_geom.methods.lora import Lora
from grace_geom.methods.spd import LoraSpd
from grace_geom.methods.awp import Awp
from grace_geom.methods.at import At
from grace_geom.methods.mix_at import MixAt
from grace_geom.methods.tecoa import Tecoa
from grace_geom.methods.fare import Fare
from grace_geom.methods.pmg_aft import PmgAft
from grace_geom.methods.trades import Trades
from grace_geom.methods.laat import Laat
from grace_geom.methods.tga_zsr import TgaZsr
from grace_geom.methods.comp_tga import CompTga
from grace_geom.methods.agft import Agft
from grace_geom.methods.ucat import Ucat
from grace_geom.methods.adv_flyp import AdvFlyp
from grace_geom.methods.tecoa import LoraTecoa
from grace_geom.methods.at import LoraAt
from grace_geom.methods.mix_at import LoraMixAt
from grace_geom.methods.vpt import VptPmgAft
from grace_geom.methods.grace import Grace
from grace_geom.methods.grace_plus import GracePlus

METHODS: dict[str, type[Method]] = {
    entry.__dict__["name"]: entry
    for entry in list(globals().values())
    if isinstance(entry, type) and issubclass(entry, Method) and "name" in entry.__dict__
}


def method_class(name: str) -> type[Method]:
    """The dataclass behind a method's name.

    Raises:
        UserError: For an unknown name, with the nearest ones.
    """
    check_known("--method", name, METHODS)
    return METHODS[name]


__all__ = ["METHODS", "FullFt", "Losses", "Method", "Run", "check_fields", "method_class"]
