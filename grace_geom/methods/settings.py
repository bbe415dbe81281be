"""What a run is set to where the user says nothing: presets of a method, recipes of a data set."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grace_geom.errors import UserError, nearest
from grace_geom.methods import method_class
from grace_geom.serialise import read_yaml

RECIPES = Path(__file__).parents[1] / "recipes"


def preset_of(method: str, preset: object) -> dict[str, Any]:
    """The values of settings and of a method's fields that a preset stands for; ``None`` (or the
    text null) is none.

    Raises:
        UserError: If the method has no such preset; those it has are named.
    """
    known = method_class(method).presets
    if preset in (None, "null", "None"):
        return {}
    if preset not in known:
        has = f"; {nearest(str(preset), known)}" if known else ": it has none, leave --preset out"
        raise UserError(f"--preset {preset!r} is not known for {method}{has}")
    return {**method_class(method).preset_training.get(str(preset), {}), **known[str(preset)]}


def recipe(data: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Budget and learning rate for a method on a data set that has a recipe; else nothing.

    Args:
        data: SPEC of the training data.
        method: Name of the method.
        given: What the user sets: a length (``epochs`` or ``max_steps``) replaces the recipe's, a
            ``preset`` that states a learning rate what the recipe says of the method, and the
            method's ``deciding`` fields what it says.
    """
    whole = "lr" in preset_of(method, given.get("preset"))
    own = {} if whole else method_class(method).settings_on(data, given)
    content = read_yaml(RECIPES / f"{data}.yaml") if has_recipe(data) else {}
    values = {**content.get("all", {}), **own}
    length = {"epochs", "max_steps"}
    return {
        key: value for key, value in values.items() if not (key in length and length & given.keys())
    }


def has_recipe(data: str) -> bool:
    """Whether a data set has a budget of its own, and methods may have rates for it."""
    return bool(re.fullmatch(r"[\w-]+", data)) and (RECIPES / f"{data}.yaml").is_file()


def decider(data: str, decided: Mapping[str, str]) -> str:
    """What decides the defaults that no preset does, as flags: the data, or the method's fields."""
    if has_recipe(data):
        return f"--data {data}"
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in decided.items() if value)
