"""Adversarial attacks on any classifier: they take closures ``x -> loss`` or ``x -> logits`` and
know no model.
"""

from grace_geom.attacks.apgd import apgd
from grace_geom.attacks.balls import BALLS, L1, L2, Ball, Linf, check_eps
from grace_geom.attacks.cw import cw
from grace_geom.attacks.fab import fab, fab_t
from grace_geom.attacks.pgd import pgd, pgd_attack, pgd_until
from grace_geom.attacks.spec import SUITES, AttackSpec
from grace_geom.attacks.square import square
from grace_geom.attacks.suite import AttackPart, SuiteResult, add_parts, join, run
from grace_geom.attacks.tracker import Outcome

__all__ = [
    "BALLS",
    "L1",
    "L2",
    "SUITES",
    "AttackPart",
    "AttackSpec",
    "Ball",
    "Linf",
    "Outcome",
    "SuiteResult",
    "add_parts",
    "apgd",
    "check_eps",
    "cw",
    "fab",
    "fab_t",
    "join",
    "pgd",
    "pgd_attack",
    "pgd_until",
    "run",
    "square",
]
