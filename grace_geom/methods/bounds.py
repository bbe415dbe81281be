"""What values the fields of methods may have: one table, for a name means the same in every
method."""

import math
import re
from dataclasses import fields

from grace_geom.errors import UserError
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.base import Method

BOUNDS: dict[str, tuple[float, float]] = {
    "weight_decay": (0, math.inf),
    "momentum": (0, 0.999999),
    "r": (1, math.inf),
    "eps": (0, math.inf),
    "alpha": (0, math.inf),
    "attack_steps": (0, math.inf),
    "eps_warmup": (0, 1),
    "steps_warmup": (0, 1),
    "attack_stop": (0, math.inf),
    "lambda_lar": (0, math.inf),
    "lambda_gv": (0, math.inf),
    "rho": (0, math.inf),
    "r_max": (0, math.inf),
    "awp_steps": (0, math.inf),
    "awp_lr": (0, math.inf),
    "percentile": (0, 100),
    "low_percentile": (0, 100),
    "beta": (0, 1),
    "refresh_every": (1, math.inf),
    "gv_eps": (0, math.inf),
    "c_values": (1, math.inf),
    "probe_iterations": (1, math.inf),
    "wise_alpha": (0, 1),
    "radius_lr": (0, math.inf),
    "radius_steps": (0, math.inf),
    "mu": (0, math.inf),
    "k": (0, 1),
    "lam": (0, math.inf),
    "m": (1, math.inf),
    "eta": (0, math.inf),
    "gamma": (0, math.inf),
    "lambda_kl": (0, math.inf),
    "lambda_cos": (0, math.inf),
    "lambda_clean": (0, math.inf),
    "lambda_original": (0, math.inf),
    "lambda_attack": (0, math.inf),
    "prompt_tokens": (0, math.inf),
}
"""Smallest and largest value, both allowed."""

POSITIVE = ("lr", "lora_alpha", "c_low", "c_high", "tau")
ORDERED = (("low_percentile", "percentile"), ("c_low", "c_high"))


def check_fields(method: Method) -> None:
    """Refuse values that have no meaning.

    Raises:
        UserError: Naming the flag, its value and what it may be.
    """
    values = {f.name: getattr(method, f.name) for f in fields(method)}
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if name in POSITIVE and value is not None and not 0 < value < math.inf:
            raise UserError(f"{flag} is {value}, it must be a number above 0")
        low, high = BOUNDS.get(name, (-math.inf, math.inf))
        if name in BOUNDS and value is not None and not low <= value <= high:
            limit = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise UserError(f"{flag} is {value}, it must be {limit}")
    for low_name, high_name in ORDERED:
        if low_name in values and values[low_name] > values[high_name]:
            flags = [f"--{name.replace('_', '-')}" for name in (low_name, high_name)]
            raise UserError(
                f"{flags[0]} is {values[low_name]}, it must not exceed {flags[1]} "
                f"{values[high_name]}"
            )
    if values.get("awp_reuse") and values["attack_steps"] == 0:
        raise UserError(
            "--awp-reuse takes the gradient of the last PGD step: --attack-steps must be at least 1"
        )
    if (
        isinstance(method, Adversary)
        and method.attack_stop is not None
        and method.raised != Adversary.raised
    ):
        raise UserError(
            "--attack-stop is in nats of the cross-entropy; the attack of this method raises "
            f"{method.raised}: leave it out, or use --steps-warmup or fewer --attack-steps"
        )
    if "targets" in values:
        try:
            re.compile(values["targets"])
        except re.error as error:
            raise UserError(
                f"--targets {values['targets']!r} is not a regular expression: {error}"
            ) from None
