"""Tensors of a ``CLIPModel`` or ``CLIPVisionModelWithProjection`` of transformers under open_clip's
names, low-rank factors beside them included.
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from grace_geom.errors import UserError

MARK = re.compile(r"^(.*\.)?(vision_model|text_model|visual_projection|text_projection)\.")
"""What a name of theirs has, whatever stands before it."""

BLOCK = {
    "self_attn.": "attn.",
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
}
VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.": "conv1.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.": "ln_pre.",
    "post_layernorm.": "ln_post.",
}
TEXT = {
    "embeddings.token_embedding.": "token_embedding.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.": "ln_final.",
}
PROJECTIONS = {"visual_projection": "visual.proj", "text_projection": "text_projection"}
"""``nn.Linear`` there, a matrix that features are multiplied with here: transposed."""

LAYER = re.compile(r"^encoder\.layers\.(\d+)\.")
FACTOR = re.compile(r"lora_([AB])(?=\.|$)")
ACTIVATIONS = {"quick_gelu": True, "gelu": False}


def from_transformers(names: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The same tensors under open_clip's names where they have a name of transformers' CLIP.

    Others keep theirs, so that whoever accounts for a file sees them. A prefix stays in front.

    Raises:
        UserError: If two tensors would have one name.
    """
    if not any(re.search(r"(^|\.)(vision_model|visual_projection)\.", name) for name in names):
        return dict(names)
    found: dict[str, Tensor] = {}
    for name, w in names.items():
        new, tensor = _renamed(name, w)
        if new in found:
            raise UserError(f"{path} holds two tensors for {new}: save the one that is meant")
        found[new] = tensor
    return found


def _renamed(name: str, w: Tensor) -> tuple[str, Tensor]:
    match = MARK.match(name)
    if match is None:
        return name, w
    before, part, rest = match[1] or "", match[2], name[match.end() :]
    if part in PROJECTIONS:
        return _projection(before + PROJECTIONS[part], rest, w)
    top, table = ("visual.", VISION) if part == "vision_model" else ("", TEXT)
    rest = rest.replace("base_layer.", "")
    if layer := LAYER.match(rest):
        inner = rest[layer.end() :]
        own = next(
            (new + inner[len(old) :] for old, new in BLOCK.items() if inner.startswith(old)), None
        )
        if own is not None:
            return f"{before}{top}transformer.resblocks.{layer[1]}.{own}", w
        return name, w
    for old, new in table.items():
        if rest.startswith(old):
            return f"{before}{top}{new}{rest[len(old) :]}", w
    return name, w


def _projection(new: str, rest: str, w: Tensor) -> tuple[str, Tensor]:
    """A weight, or factors of one: the transpose of ``B A`` is ``A' B'``."""
    rest = rest.replace("base_layer.", "")
    if rest == "weight":
        return new, w.T
    if FACTOR.search(rest) and w.ndim == 2:
        return f"{new}.{FACTOR.sub(lambda m: f'lora_{chr(131 - ord(m[1]))}', rest)}", w.T
    return f"{new}.{rest}", w


def check_config(folder: Path, clip: nn.Module, model: str) -> bool:
    """Compare the ``config.json`` of transformers beside some weights with the network: what
    tensors do not say (activation, heads, epsilon of the norms) must agree.

    Returns:
        Whether there is such a file.

    Raises:
        UserError: If the folder holds another kind of model, or one that computes otherwise.
    """
    file = folder / "config.json"
    if not file.is_file():
        return False
    config = _read(file)
    kind = config.get("model_type")
    if kind not in ("clip", "clip_vision_model"):
        raise UserError(
            f"{file}: a {kind!r} of transformers; only its CLIPModel and "
            "CLIPVisionModelWithProjection are read: save this one with open_clip"
        )
    vision = config if kind == "clip_vision_model" else config.get("vision_config") or {}
    blocks = getattr(getattr(clip.visual, "transformer", None), "resblocks", None)
    if not blocks or not hasattr(blocks[0], "attn"):
        raise UserError(f"{file}: a ViT, and --model {model} is none")
    _compare(file, vision, blocks[0], model)
    text = config.get("text_config")
    if kind == "clip" and text:
        own = getattr(clip, "transformer", None) or getattr(
            getattr(clip, "text", None), "transformer", None
        )
        if (inner := getattr(own, "resblocks", None)) is not None:
            _compare(file, text, inner[0], model)
    return True


DEFAULTS: dict[str, Any] = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
"""Of transformers' CLIP, which old configurations leave out."""


def _compare(file: Path, stated: Mapping[str, Any], block: Any, model: str) -> None:
    settings = {**DEFAULTS, **stated}
    act = settings["hidden_act"]
    if act not in ACTIVATIONS:
        raise UserError(f"{file}: its activation {act!r} is none of open_clip's")
    quick = any(type(module) is QuickGELU for module in block.modules())
    if quick != ACTIVATIONS[act]:
        plain = model.removesuffix("-quickgelu")
        other = f"{plain}-quickgelu" if ACTIVATIONS[act] else plain
        raise UserError(
            f"{file}: these weights compute with {act}, --model {model} does not: use {other}, or "
            'a configuration of your own with "quick_gelu"'
        )
    heads, eps = settings.get("num_attention_heads"), float(settings["layer_norm_eps"])
    if heads is not None and heads != block.attn.num_heads:
        raise UserError(
            f"{file}: {heads} attention heads, --model {model} has {block.attn.num_heads}"
        )
    if eps != block.ln_1.eps:
        raise UserError(f"{file}: layer_norm_eps is {eps}, --model {model} has {block.ln_1.eps}")


def preprocess_config(
    file: Path, size: tuple[int, int], given: Collection[str] = ()
) -> dict[str, Any]:
    """open_clip's settings from a ``preprocessor_config.json`` of transformers, as its
    ``CLIPImageProcessor`` understands it. (Where 3, 7, 11 ... pixels are to be cropped, the two
    packages round the centre differently, by one pixel.)

    Args:
        file: The configuration.
        size: Height and width of the network's input in pixels.
        given: Settings that the user states: what the file says of them is not read.

    Raises:
        UserError: If it cannot be read, or asks for what open_clip's settings cannot say.
    """
    config = _read(file)
    found: dict[str, Any] = {"mean": config.get("image_mean"), "std": config.get("image_std")}
    if not {"mean", "std"} <= set(given):
        _check_scale(file, config)
    if config.get("do_normalize") is False:
        found = {"mean": 0.0, "std": 1.0}
    if "interpolation" not in given:
        resample = {2: "bilinear", 3: "bicubic", None: None}
        if config.get("resample") not in resample:
            raise UserError(
                f"{file}: resample is {config['resample']}; 2 (bilinear) and 3 (bicubic) are "
                "known: give --preprocess interpolation=bicubic, or bilinear"
            )
        found["interpolation"] = resample[config.get("resample")]
    if "resize_mode" not in given:
        found["resize_mode"] = _resize_mode(file, config, size)
    return found


def _check_scale(file: Path, config: Mapping[str, Any]) -> None:
    """Mean and std are of pixels in [0, 1]."""
    factor = config.get("rescale_factor")
    unscaled = config.get("do_rescale") is False
    if unscaled or not (factor is None or _near(factor, 1 / 255)):
        key, value = ("do_rescale", "false") if unscaled else ("rescale_factor", factor)
        raise UserError(
            f"{file}: {key} is {value}; pixels are always divided by 255 here: give the mean and "
            "std of pixels in [0, 1] with --preprocess mean=...,std=..."
        )


def _near(value: object, wanted: float) -> bool:
    return isinstance(value, (int, float)) and math.isclose(value, wanted, rel_tol=1e-6)


def _resize_mode(file: Path, config: Mapping[str, Any], size: tuple[int, int]) -> str:
    """``squash`` or ``shortest``, where one of them gives the same pixels."""

    def refused(key: str, why: str) -> UserError:
        return UserError(
            f"{file}: {key} is {json.dumps(config.get(key))}; {why}. Say how pictures are read: "
            "--preprocess resize_mode=shortest, squash or longest"
        )

    if config.get("do_resize") is False:
        raise refused("do_resize", "pictures are always resized to the network's size here")
    stated, crop = config.get("size"), _sides(config.get("crop_size"), size)
    if stated is None:
        stated = min(size)
    if crop is None:
        raise refused("crop_size", "a number, or height and width, is known")
    net = f"the network takes {size[0]} x {size[1]} pixels"
    if isinstance(stated, dict) and stated.keys() == {"height", "width"}:
        if (stated["height"], stated["width"]) != size:
            raise refused("size", net)
        if config.get("do_center_crop", "crop_size" in config) and crop != size:
            raise refused("crop_size", net)
        return "squash"
    if isinstance(stated, dict) and stated.keys() == {"shortest_edge"}:
        stated = stated["shortest_edge"]
    if not isinstance(stated, int):
        raise refused("size", "shortest_edge alone, or height and width, is known")
    if config.get("do_center_crop") is False:
        raise refused("do_center_crop", "a picture resized by its shorter side is always cropped")
    if crop != size:
        raise refused("crop_size", net)
    if (stated, stated) != size:
        raise refused("size", f"the shorter side is always resized to that of the crop, and {net}")
    return "shortest"


def _sides(stated: object, default: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of a ``crop_size``; ``None`` for what is neither a number nor both."""
    if stated is None:
        return default
    if isinstance(stated, dict) and stated.keys() == {"height", "width"}:
        return stated["height"], stated["width"]
    return (stated, stated) if isinstance(stated, int) else None


def _read(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{file} is no JSON in UTF-8, as transformers writes it") from None
    if not isinstance(config, dict):
        raise UserError(f"{file}: expected an object of settings")
    return config


def network_of(config: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """open_clip's configuration of the network that transformers' ``config.json`` describes.

    Raises:
        UserError: If it is no CLIP with two towers, or not one that open_clip has.
    """
    if config.get("model_type") != "clip" or "text_config" not in config:
        raise UserError(
            f"{file}: a {config.get('model_type')!r} of transformers; a whole network is read of "
            "its CLIPModel only: name open_clip's with --model NAME, and the folder with "
            "--pretrained (an image tower also needs --pretrained-base)"
        )
    try:
        vision, text = config["vision_config"], config["text_config"]
        quick = {ACTIVATIONS[c.get("hidden_act", "quick_gelu")] for c in (vision, text)}
        (quick_gelu,) = quick
        return {
            "embed_dim": int(config["projection_dim"]),
            "quick_gelu": quick_gelu,
            "vision_cfg": {
                "image_size": vision["image_size"],
                "patch_size": vision["patch_size"],
                "head_width": vision["hidden_size"] // vision["num_attention_heads"],
                **_tower(vision),
            },
            "text_cfg": {
                "context_length": text["max_position_embeddings"],
                "vocab_size": text["vocab_size"],
                "heads": text["num_attention_heads"],
                **_tower(text),
            },
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file}: open_clip has no network like this ({type(error).__name__}: {error}); it must "
            "say vision_config and text_config in full"
        ) from None


def _tower(stated: Mapping[str, Any]) -> dict[str, Any]:
    wide, eps = stated["hidden_size"], float(stated.get("layer_norm_eps", 1e-5))
    found = {
        "width": wide,
        "layers": stated["num_hidden_layers"],
        "mlp_ratio": stated["intermediate_size"] / wide,
    }
    return found if eps == DEFAULTS["layer_norm_eps"] else {**found, "norm_kwargs": {"eps": eps}}
