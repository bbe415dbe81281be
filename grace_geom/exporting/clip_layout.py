"""open_clip's towers as transformers names them, and which towers its ``CLIPModel`` can hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import open_clip
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU, TextTransformer, VisionTransformer
from torch import Tensor, nn

from grace_geom.errors import UserError
from grace_geom.models import ClipClassifier
from grace_geom.models.vit import plain_block
from grace_geom.weights import Weights

VOCABULARY = 49408
"""Tokens of CLIP's own tokenizer, the last of which ends a text."""

WHOLE = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
TRANSPOSED = {
    "visual.proj": "visual_projection.weight",
    "text_projection": "text_projection.weight",
}
IN_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
BLOCK = re.compile(r"(?P<visual>visual\.)?transformer\.resblocks\.(?P<number>\d+)\.(?P<inner>.+)")
QKV = ("q", "k", "v")


@dataclass(frozen=True)
class Slot:
    """Where a tensor, or a third of one, stands in ``CLIPModel``.

    Attributes:
        name: Its name there.
        third: 0, 1, 2 for the rows of q, k, v; ``None``: the whole tensor.
        transposed: Rows there are columns here.
    """

    name: str
    third: int | None = None
    transposed: bool = False

    def take(self, w: Tensor) -> Tensor:
        """The part of ``w`` that stands there, in its shape there."""
        part = w if self.third is None else w.chunk(3)[self.third]
        return part.T if self.transposed else part

    def take_factors(self, B: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
        """``B (n1, r), A (r, n2)`` of the part, so that ``take(B A)`` is their product."""
        if self.transposed:
            return A.T, B.T
        return (B if self.third is None else B.chunk(3)[self.third]), A


def places(name: str) -> tuple[Slot, ...]:
    """Where the tensor of an open_clip model stands.

    Raises:
        KeyError: For a name that a plain CLIP does not have.
    """
    name = name.removeprefix("text.")  # a text tower that is a module of its own
    if name in WHOLE:
        return (Slot(WHOLE[name]),)
    if name in TRANSPOSED:
        return (Slot(TRANSPOSED[name], transposed=True),)
    found = BLOCK.fullmatch(name)
    module, _, kind = found["inner"].rpartition(".") if found else ("", "", "")
    if found is None or (module not in IN_BLOCK and not kind.startswith("in_proj_")):
        raise KeyError(name)
    tower = "vision_model" if found["visual"] else "text_model"
    block = f"{tower}.encoder.layers.{found['number']}"
    if module in IN_BLOCK:
        return (Slot(f"{block}.{IN_BLOCK[module]}.{kind}"),)
    kind = kind.removeprefix("in_proj_")
    return tuple(Slot(f"{block}.self_attn.{q}_proj.{kind}", i) for i, q in enumerate(QKV))


def renamed(weights: Weights) -> Weights:
    """A state dict of ``CLIPModel`` from one of open_clip."""
    found = {place.name: place.take(w) for name, w in weights.items() for place in places(name)}
    scale = found["logit_scale"]
    return {name: w.contiguous() for name, w in found.items()} | {"logit_scale": scale.reshape(())}


def config_of(model: ClipClassifier) -> dict[str, Any]:
    """The values of ``CLIPConfig``, for a model without a flaw."""
    visual, text = model.clip.visual, text_tower(model.clip)
    dim = int(model.head["head.weight"].shape[1])
    vision = _tower(visual) | {  # type: ignore[arg-type]
        "projection_dim": dim,
        "image_size": model.image_size,
        "patch_size": int(visual.conv1.kernel_size[0]),  # type: ignore[union-attr, index, arg-type]
    }
    language = _tower(text) | {
        "projection_dim": dim,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": len(text.positional_embedding),  # type: ignore[arg-type]
        "bos_token_id": VOCABULARY - 2,
        "eos_token_id": VOCABULARY - 1,
        "pad_token_id": VOCABULARY - 1,
    }
    scale = float(model.clip.logit_scale)  # type: ignore[arg-type]
    return {
        "vision_config": vision,
        "text_config": language,
        "projection_dim": dim,
        "logit_scale_init_value": scale,
    }


def _tower(tower: nn.Module) -> dict[str, Any]:
    blocks: Any = tower.transformer.resblocks  # type: ignore[union-attr]
    first = blocks[0]
    return {
        "hidden_size": int(first.attn.embed_dim),
        "intermediate_size": int(first.mlp.c_fc.out_features),
        "num_hidden_layers": len(blocks),
        "num_attention_heads": int(first.attn.num_heads),
        "hidden_act": "quick_gelu" if type(first.mlp.gelu) is QuickGELU else "gelu",
        "layer_norm_eps": float(first.ln_1.eps),
    }


def text_tower(clip: nn.Module) -> nn.Module:
    """The module that holds the text tower's weights: the model itself in open_clip's ``CLIP``."""
    return getattr(clip, "text", clip)


def refuse_flaw(model: ClipClassifier, name: str) -> None:
    """Refuse a network that ``CLIPModel`` cannot hold.

    Args:
        model: The classifier.
        name: Its open_clip name.

    Raises:
        UserError: Saying which part does not fit, and which formats hold it.
    """
    if flaw := flaw_of(model):
        raise UserError(
            f"{name} does not fit transformers' CLIPModel: {flaw}. --format open_clip, "
            "torch.export and onnx hold it"
        )


def flaw_of(model: ClipClassifier) -> str:
    """What of a model ``CLIPModel`` cannot hold, in words; empty where it holds all."""
    clip: Any = model.clip
    if type(clip) not in (open_clip.CLIP, open_clip.CustomTextCLIP):
        return f"the model is a {type(clip).__name__}"
    height, width = model.preprocess.size
    if height != width:
        return f"its images are {height} x {width} pixels, not square"
    if model.preprocess.resize_mode == "longest":
        return "it pads images (resize_mode longest), which CLIPImageProcessor cannot"
    if getattr(clip, "logit_bias", None) is not None:
        return "its logits have a bias, as SigLIP's"
    return _image_flaw(model) or _text_flaw(model)


def _image_flaw(model: ClipClassifier) -> str:
    visual: Any = model.clip.visual
    if type(visual) is not VisionTransformer:
        return f"its image tower is a {type(visual).__name__}"
    if visual.attn_pool is not None or visual.pool_type != "tok":
        how = "attention" if visual.attn_pool is not None else visual.pool_type
        return f"its image tower pools by {how}, not by the class token"
    if not isinstance(visual.ln_pre, nn.LayerNorm):
        return "its image tower has no LayerNorm before the blocks"
    if visual.proj is None:
        return "its image tower has no projection"
    if model.shape is None:
        return "its image tower has patch dropout, or blocks that are not CLIP's"
    return ""


def _text_flaw(model: ClipClassifier) -> str:
    clip: Any = model.clip
    text: Any = text_tower(clip)
    if text is not clip and type(text) is not TextTransformer:
        return f"its text tower is a {type(text).__name__}"
    pool = clip.text_pool_type if text is clip else text.pool_type
    if pool != "argmax":
        return f"its text tower pools by {pool}, not at the end of the text"
    if text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        return "its text tower is not causal, or has a class token"
    if not isinstance(text.text_projection, Tensor):
        return "its text tower has no plain projection"
    if not all(plain_block(block) for block in text.transformer.resblocks):
        return "its text tower has blocks that are not CLIP's"
    tokenizer: Any = model.tokenizer
    plain = type(tokenizer) is SimpleTokenizer and tokenizer.vocab_size == VOCABULARY
    if not plain or text.token_embedding.num_embeddings != VOCABULARY:
        return "its tokenizer is not CLIP's"
    return ""


def lora_places(factors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    """Low-rank factors by the module of ``CLIPModel`` that they change.

    Args:
        factors: ``B (n1, r), A (r, n2)`` by the open_clip name of the matrix. The factors of a
            fused q, k, v projection become three pairs that share A.
    """
    return {
        place.name.removesuffix(".weight"): place.take_factors(B, A)
        for name, (B, A) in factors.items()
        for place in places(name)
    }
