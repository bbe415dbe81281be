"""One small network of each family: the family's own modules, fewer and thinner."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import open_clip
import timm
from timm.models.vitamin import VitCfg, VitConvCfg

from grace_geom.models import ClipClassifier, ModelSpec, build
from grace_geom.models.sources import register

CLASSES, TEMPLATES = ("circle", "square", "star"), ("a photo of a {}",)
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
PLAIN = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
THIN = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


@dataclass(frozen=True)
class Family:
    """Networks with the same kind of image tower.

    Attributes:
        name: In the table.
        tower: Its image tower, in words.
        trunk: Beginning of timm's name of its tower; ``""`` for one of open_clip's own.
        vision: Of the small network: open_clip's ``vision_cfg``.
        original: timm's network that the small one is, with ``changes``.
        changes: Arguments that make it small.
        where: What ``vision_cfg`` of a member has, for towers of open_clip's own.
    """

    name: str
    tower: str
    trunk: str = ""
    vision: Mapping[str, Any] = field(default_factory=dict)
    original: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def example(self) -> str:
        """One of open_clip's names in it."""
        return EXAMPLES[self.name]


def _timm(
    name: str, tower: str, trunk: str, original: str, changes: Mapping[str, Any], **vision: Any
) -> Family:
    return Family(name, tower, trunk, {"image_size": 32, **vision}, original, changes)


AVERAGED = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
ATTENTION_POOL = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
LINEAR = {"timm_pool": "", "timm_proj": "linear"}
STEM = VitCfg(
    embed_dim=(8, 16, 32),
    depths=(1, 1, 1),
    stem_width=8,
    conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
    head_type="1d",
)

FAMILIES = (
    Family("ResNet", "open_clip's ResNet, attention pooling", "", {
        "image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8,
    }, where={"layers": list}),
    Family("CoCa", "open_clip's ViT, attention pooling", "", PLAIN | ATTENTION_POOL,
           where={"attentional_pool": bool}),
    Family("CLIPA", "open_clip's ViT, patches averaged", "", PLAIN | AVERAGED,
           where={"pool_type": str}),
    Family("ViT", "open_clip's ViT, class token", "", PLAIN, where={"layers": int}),
    _timm("SigLIP", "timm's ViT, attention pooling", "siglip", "vit_base_patch16_siglip_224",
          THIN, timm_pool="map", timm_proj="none"),
    _timm("EVA01", "timm's EVA, class token", "eva_", "eva_giant_patch14_224",
          {**THIN, "mlp_ratio": 2}, timm_pool="token", timm_proj=None),
    _timm("EVA02", "timm's EVA with rotary positions, class token", "eva02_",
          "eva02_base_patch16_clip_224", {**THIN, "ref_feat_shape": (4, 4)}, timm_pool="token",
          timm_proj=None),
    _timm("PE-Core", "timm's EVA with rotary positions, attention pooling", "vit_pe_core",
          "vit_pe_core_tiny_patch16_384",
          {**THIN, "ref_feat_shape": (4, 4), "attn_pool_num_heads": 2}, timm_pool="map",
          timm_proj=None),
    _timm("MobileCLIP S", "timm's FastViT", "fastvit_", "fastvit_mci0",
          {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)}, timm_pool="avg",
          timm_proj=None, image_size=64),
    _timm("MobileCLIP B", "timm's ViT on a stem of convolutions, class token", "vit_base_mci",
          "vit_base_mci_224", {"img_size": 32, "depth": 1}, timm_pool="token", timm_proj=None),
    _timm("MobileCLIP L", "timm's ViT, class token", "vit_large_patch14_clip",
          "vit_large_patch14_clip_224", THIN, timm_pool="token", timm_proj=None),
    _timm("ConvNeXt", "timm's ConvNeXt", "convnext_", "convnext_tiny",
          {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}, **LINEAR),
    _timm("Swin", "timm's Swin", "swin_", "swin_base_patch4_window7_224",
          {"img_size": 32, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4},
          **LINEAR),
    _timm("ViTamin", "timm's ViT on stages of convolutions, patches averaged", "vitamin_",
          "vitamin_small_224",
          {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2, "embed_cfg": STEM},
          **LINEAR),
    _timm("ViT-M gap", "timm's ViT, patches averaged", "vit_medium_patch16_gap",
          "vit_medium_patch16_gap_256", THIN, **LINEAR),
    _timm("ViT-M relpos", "timm's ViT with relative positions, class token", "vit_relpos_medium",
          "vit_relpos_medium_patch16_cls_224", {**THIN, "rel_pos_dim": 16}, **LINEAR),
)  # fmt: skip
"""In an order in which the first that fits is meant."""

EXAMPLES = {
    "ResNet": "RN50",
    "CoCa": "coca_ViT-B-32",
    "CLIPA": "ViT-L-14-CLIPA",
    "ViT": "ViT-B-32",
    "SigLIP": "ViT-B-16-SigLIP",
    "EVA01": "EVA01-g-14",
    "EVA02": "EVA02-B-16",
    "PE-Core": "PE-Core-B-16",
    "MobileCLIP S": "MobileCLIP-S1",
    "MobileCLIP B": "MobileCLIP-B",
    "MobileCLIP L": "MobileCLIP2-L-14",
    "ConvNeXt": "convnext_base",
    "Swin": "swin_base_patch4_window7_224",
    "ViTamin": "ViTamin-B",
    "ViT-M gap": "vit_medium_patch16_gap_256",
    "ViT-M relpos": "vit_relpos_medium_patch16_cls_224",
}


def family_of(model: str) -> Family:
    """The family of one of open_clip's names.

    Raises:
        LookupError: If there is none: a new kind of tower needs a row.
    """
    vision = (open_clip.get_model_config(model) or {})["vision_cfg"]
    trunk = vision.get("timm_model_name", "")
    for family in FAMILIES:
        if trunk and family.trunk and _of_trunk(trunk, family.trunk):
            return family
        if not trunk and not family.trunk and _has(vision, family.where):
            return family
    raise LookupError(f"{model} belongs to no family of grace_geom.tools.families")


def _of_trunk(trunk: str, begins: str) -> bool:
    return trunk.startswith(begins) or (begins == "siglip" and "siglip" in trunk)


def _has(vision: Mapping[str, Any], where: Mapping[str, type]) -> bool:
    return all(isinstance(vision.get(key), kind) for key, kind in where.items())


def small_model(family: Family, seed: int = 0) -> ClipClassifier:
    """A random small network of a family, of three classes."""
    vision = dict(family.vision)
    if family.original:
        vision["timm_model_name"] = _register(family)
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}
    return build(ModelSpec(register(config, family.name), "random", seed), CLASSES, TEMPLATES)


def _register(family: Family) -> str:
    """Make the small tower one of timm's."""
    name = f"small_{family.original}"
    if not timm.is_model(name):

        def tower(pretrained: bool = False, **options: Any) -> Any:
            make = timm.model_entrypoint(family.original)
            return make(pretrained=False, **{**family.changes, **options})

        tower.__name__, tower.__module__ = name, __name__
        timm.models.register_model(tower)
        assert name in sys.modules[__name__].__all__  # timm puts it there
    return name


__all__ = ["FAMILIES", "Family", "family_of", "small_model"]
