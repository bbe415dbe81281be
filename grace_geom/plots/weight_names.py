"""Weights as people speak of them, ``block 3, attention out``, and their order in the network."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

KINDS = {
    "ln_1": "first LayerNorm", "norm1": "first LayerNorm",
    "attn.in_proj": "attention in", "attn.qkv": "attention in",
    "attn.out_proj": "attention out", "attn.proj": "attention out",
    "ln_2": "second LayerNorm", "norm2": "second LayerNorm",
    "mlp.c_fc": "MLP in", "mlp.fc1": "MLP in", "mlp.c_proj": "MLP out", "mlp.fc2": "MLP out",
}  # fmt: skip
"""Parts of a block in the order in which an image passes them."""
MATRICES = ("attention in", "attention out", "MLP in", "MLP out")
"""The weight matrices of a transformer's block."""
STEM = {
    "class_embedding": "class token", "cls_token": "class token",
    "conv1": "stem convolution", "patch_embed.proj": "stem convolution", "stem.0": "stem convolution",
    "conv2": "second stem convolution", "conv3": "third stem convolution",
    "token_embedding": "tokens", "positional_embedding": "positions", "pos_embed": "positions",
    "bn1": "stem BatchNorm", "bn2": "second stem BatchNorm", "bn3": "third stem BatchNorm",
    "ln_pre": "LayerNorm before the blocks", "norm_pre": "LayerNorm before the blocks",
    "stem.1": "LayerNorm before the blocks",
}  # fmt: skip
"""What comes before the blocks, in order."""
HEAD = {
    "ln_post": "last LayerNorm", "ln_final": "last LayerNorm", "norm": "last LayerNorm",
    "head.norm": "last LayerNorm", "proj": "projection", "head.proj": "projection",
    "text_projection": "projection", "head": "classifier", "logit_scale": "logit scale",
    "logit_bias": "logit bias",
}  # fmt: skip
"""What comes behind them, in order."""
_STAGED = re.compile(r"(?:.*\.)?(?:stages?\.|layer)(\d+)\.(?:blocks\.)?(\d+)\.(.+)")
_STAGE = re.compile(r"(?:.*\.)?stages?\.(\d+)\.(.+)")
_BLOCK = re.compile(r"(?:.*\.)?(?:resblocks|blocks|layers?)\.(\d+)\.(.+)")
_TEXT = ("text", "transformer.", "token_embedding", "positional_embedding", "ln_final")
_END = re.compile(r"(.+?)(?:[._](weight|bias))?(?:\.([AB]))?")


@dataclass(frozen=True)
class Site:
    """Where a weight stands in its network.

    Attributes:
        order: Ascends from the stem over the blocks to the head, the image tower first.
        group: ``stem``, ``block 3``, ``stage 1, block 0`` or ``head``; of a text tower with
            ``text`` before it.
        kind: ``attention out``; of what is no block's the whole name, ``stem convolution``.
        block: Number of the block, from 0; ``None`` outside of the blocks.
    """

    order: tuple[int, ...]
    group: str
    kind: str
    block: int | None = None

    @property
    def name(self) -> str:
        """``block 3, attention out`` or ``projection``."""
        if self.block is not None:
            return f"{self.group}, {self.kind}"
        return f"text {self.kind}" if self.group.startswith("text ") else self.kind

    @property
    def brief(self) -> str:
        """The same for an axis: ``3 attention out``."""
        return self.name.replace("block ", "").replace("stage ", "").replace(", ", " ")


def site(name: str) -> Site:
    """Where a weight of open_clip or timm stands; names that nobody knows are left as they are,
    behind the blocks.
    """
    tower = int(name.startswith(_TEXT))
    text = "text " if tower else ""
    whole = re.sub(r"^(visual|text)\.(trunk\.)?", "", name)
    parts = _END.fullmatch(whole)
    assert parts is not None  # whatever a name is, the lazy group takes it
    stem, form = parts[1], _form(parts[1], parts[2] or "", parts[3] or "")
    if found := _STAGED.fullmatch(stem):
        stage, block, kind = int(found[1]), int(found[2]), found[3]
        turn = _turn(kind, KINDS)
        group = f"{text}stage {stage}, block {block}"
        return Site((tower, 1, stage, block, turn), group, _kind(kind) + form, block)
    if found := _BLOCK.fullmatch(stem):
        block, kind = int(found[1]), found[2]
        turn = _turn(kind, KINDS)
        return Site((tower, 1, 0, block, turn), f"{text}block {block}", _kind(kind) + form, block)
    if found := _STAGE.fullmatch(stem):
        stage, kind = int(found[1]), f"stage {found[1]}, {_plain(found[2])}"
        return Site((tower, 1, stage, -1), f"{text}stage {stage}", kind + form)
    if stem in STEM:
        return Site((tower, 0, _turn(stem, STEM)), f"{text}stem", STEM[stem] + form)
    kind = HEAD.get(stem, _plain(stem)) + form
    return Site((tower, 2, _turn(stem, HEAD)), f"{text}head", kind)


def weight_name(name: str) -> str:
    """``visual.transformer.resblocks.3.attn.out_proj.weight`` -> ``block 3, attention out``."""
    return site(name).name


def group_name(params: str) -> str:
    """What ``--params`` calls ``visual`` is the image tower; a pattern stays in quotes."""
    known = {"visual": "image tower", "text": "text tower", "head": "head", "adapter": "adapter"}
    return known.get(params, f"weights named '{params}'")


def in_order(names: Iterable[str]) -> list[str]:
    """Names from the stem over the blocks to the head; open_clip lists ``visual.proj`` first."""
    return sorted(names, key=lambda name: site(name).order)


def _kind(raw: str) -> str:
    return KINDS.get(raw, _plain(raw))


def _form(stem: str, what: str, factor: str) -> str:
    """What tells the tensors of one layer apart; a matrix needs no word."""
    norm = re.search(r"(^|\.)(ln|norm|bn)[_\d\w]*$", stem)
    said = "bias" if what == "bias" else "gain" if norm else ""
    return "".join(f", {word}" for word in (said, f"factor {factor}" if factor else "") if word)


def _turn(name: str, names: dict[str, str]) -> int:
    return [*names].index(name) if name in names else len(names)


def _plain(raw: str) -> str:
    return re.sub(r"[._]+", " ", raw).strip() or raw
