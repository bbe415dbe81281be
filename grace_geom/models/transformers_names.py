"""Tensors of a ``CLIPModel`` or ``CLIPVisionModelWithProjection`` of transformers under open_clip's
names, low-rank factors beside them included.
"""

import json
import re
from collections.abc import Mapping
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


def preprocess_config(file: Path) -> dict[str, Any]:
    """open_clip's settings from a ``preprocessor_config.json`` of transformers.

    Raises:
        UserError: If it cannot be read.
    """
    config = _read(file)
    found: dict[str, Any] = {"mean": config.get("image_mean"), "std": config.get("image_std")}
    if config.get("do_normalize") is False:
        found = {"mean": 0.0, "std": 1.0}
    resample = {2: "bilinear", 3: "bicubic", None: None}
    if config.get("resample") not in resample:
        raise UserError(
            f"{file}: resample is {config['resample']}; 2 (bilinear) and 3 (bicubic) are known"
        )
    found["interpolation"] = resample[config.get("resample")]
    size = config.get("size")
    both = isinstance(size, dict) and {"height", "width"} <= size.keys()
    cropped = config.get("do_center_crop", not both)
    found["resize_mode"] = "squash" if both and not cropped else "shortest"
    return found


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
