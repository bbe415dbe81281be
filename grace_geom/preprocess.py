"""How a picture becomes a model's input: the settings that belong to a set of weights, as in
open_clip.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from grace_geom.errors import UserError, nearest

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
RESIZE = ("shortest", "longest", "squash")
INTERPOLATION = ("bicubic", "bilinear")
IGNORED = {"size", "mode"}  # of open_clip's keys: the network has its size, and takes RGB only


@dataclass(frozen=True)
class Preprocess:
    """What is done to a picture before the image tower sees it; antialiased, as Pillow resizes.

    Attributes:
        size: Height and width of the input in pixels.
        resize_mode: ``shortest`` (shorter side to size, then the centre), ``longest`` (longer side,
            then padded) or ``squash`` (both sides, whatever the shape).
        interpolation: ``bicubic`` or ``bilinear``.
        mean: Of the normalisation, a channel each; in pixels of [0, 1].
        std: Likewise.
        fill_color: Grey level from 0 to 255 of what is padded.
    """

    size: tuple[int, int] = (224, 224)
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    fill_color: int = 0

    def at(self, size: int | None) -> "Preprocess":
        """The same with a shorter side of ``size`` pixels; ``None``: unchanged."""
        if size is None:
            return self
        height, width = (max(1, round(size * side / min(self.size))) for side in self.size)
        return replace(self, size=(height, width))

    def record(self) -> dict[str, Any]:
        """Plain values, without the size, which the network has."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "resize_mode": self.resize_mode,
            "interpolation": self.interpolation,
            "fill_color": self.fill_color,
        }

    def overlaid(self, values: Mapping[str, Any], source: str) -> "Preprocess":
        """With other values, by open_clip's names; those that are ``None`` count as not given.

        Args:
            values: Such as ``{"resize_mode": "squash", "mean": [0.5, 0.5, 0.5]}``.
            source: What an error names.

        Raises:
            UserError: For an unknown name, or a value without meaning.
        """
        given = {k: v for k, v in values.items() if v is not None and k not in IGNORED}
        names = [f.name for f in fields(self) if f.name != "size"]
        for name in given:
            if name not in names:
                raise UserError(f"{source}: {name!r} is not known; {nearest(name, names)}")
        try:
            return replace(self, **{name: _READ[name](value) for name, value in given.items()})
        except (ValueError, TypeError) as error:
            raise UserError(f"{source}: {error}") from None

    def __str__(self) -> str:
        mean, std = (",".join(f"{x:g}" for x in xs) for xs in (self.mean, self.std))
        return f"{self.resize_mode} {self.interpolation}, mean {mean}, std {std}"


def as_inputs(size: "int | Preprocess") -> Preprocess:
    """A side in pixels as open_clip's default: shorter side, bicubic, then the centre."""
    return size if isinstance(size, Preprocess) else Preprocess((size, size))


def square(size: object) -> tuple[int, int]:
    """Height and width of a network's ``image_size``, which is one number or two."""
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return int(height), int(width)


def parsed(text: str) -> dict[str, Any]:
    """The values of ``--preprocess``: a JSON file, or ``resize_mode=squash,mean=0.5,0.5,0.5``.

    Raises:
        UserError: If it is neither.
    """
    if "=" not in text:
        return read_config(Path(text))
    pairs = [part.partition("=") for part in re.split(r",(?=\s*[a-z_]+=)", text)]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    if absent := [name for name, value in found.items() if not value]:
        raise UserError(f"--preprocess: {absent[0]} has no value")
    return dict(found)


def read_config(path: Path) -> dict[str, Any]:
    """Preprocessing of a file such as the hub's ``open_clip_config.json``: its ``preprocess_cfg``,
    or the whole of it.

    Raises:
        UserError: If it is missing, or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            f"--preprocess {path}: cannot be read ({error.strerror}); give a JSON file, or "
            "resize_mode=squash,interpolation=bilinear,mean=0.5,std=0.5"
        ) from None
    except ValueError:
        raise UserError(f"{path} is no JSON in UTF-8, as open_clip_config.json is") from None
    if isinstance(content, dict) and "model_cfg" in content:
        content = content.get("preprocess_cfg", {})
    elif isinstance(content, dict):
        content = content.get("preprocess_cfg", content)
    if not isinstance(content, dict):
        raise UserError(f"{path}: preprocess_cfg must be an object with resize_mode, mean ...")
    return content


def _one_of(valid: tuple[str, ...], name: str) -> Any:
    def read(value: object) -> str:
        """One of the names that are valid.

        Raises:
            ValueError: It is none of them.
        """
        if name == "interpolation" and value == "random":  # open_clip: random in training only
            return "bicubic"
        if value not in valid:
            raise ValueError(f"{name} is {value!r}; valid: {', '.join(valid)}")
        return str(value)

    return read


def _channels(name: str, positive: bool) -> Any:
    def read(value: Any) -> tuple[float, ...]:
        """Three numbers, one a channel.

        Raises:
            ValueError: It is not one finite number or three.
        """
        if isinstance(value, str):
            value = value.split(",")
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(x, bool) for x in items):
            raise ValueError(f"{name} must be numbers, not {value!r}")
        found = tuple(map(float, items))
        found = found * 3 if len(found) == 1 else found
        if len(found) != 3 or not all(map(math.isfinite, found)):
            raise ValueError(f"{name} must be one number or three, not {value!r}")
        if positive and min(found) <= 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
        return found

    return read


def _grey(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not 0 <= int(value) <= 255:
        raise ValueError(f"fill_color must be a whole number from 0 to 255, not {value!r}")
    return int(value)


_READ = {
    "resize_mode": _one_of(RESIZE, "resize_mode"),
    "interpolation": _one_of(INTERPOLATION, "interpolation"),
    "mean": _channels("mean", positive=False),
    "std": _channels("std", positive=True),
    "fill_color": _grey,
}
