"""The open_clip vision transformer as a pure function of its weights: the same numbers, fewer
operations.

``functional_call`` on the module is right but not fast where it matters, in an attack's thousands
of passes: on a CPU the patch convolution's input gradient alone costs a third of a forward pass,
and attention runs through sequence-first copies. Here patches are a matrix product, attention stays
batch-first, and the last block computes only the class token that is read. Activation checkpointing
is exact too: a block recomputed in the backward pass sees the tensors that the forward pass saw
(open_clip's own would see the module's).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from grace_geom.models.lean_norm import lean_norm

BLOCK = (
    "ln_1.weight",
    "ln_1.bias",
    "attn.in_proj_weight",
    "attn.in_proj_bias",
    "attn.out_proj.weight",
    "attn.out_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
)


SHORT = 64
"""Tokens up to which plain products beat the fused kernel on a CPU: its backward pass takes half as
long again.
"""


@dataclass(frozen=True)
class VitShape:
    """What the weights do not say.

    Attributes:
        patch: Side of a patch in pixels.
        layers: Number of blocks.
        heads: Attention heads of each.
        quick_gelu: ``x sigmoid(1.702 x)`` (OpenAI's weights) instead of the exact GELU.
        eps: Of every LayerNorm.
    """

    patch: int
    layers: int
    heads: int
    quick_gelu: bool
    eps: float


def shape_of(visual: nn.Module) -> VitShape | None:
    """The shape of an image tower, or ``None`` where it is not a plain class-token ViT (then call
    the module).
    """
    if (
        type(visual) is not VisionTransformer
        or visual.attn_pool is not None
        or visual.pool_type != "tok"
    ):
        return None
    plain = isinstance(visual.patch_dropout, nn.Identity) and isinstance(
        visual.ln_pre, nn.LayerNorm
    )
    blocks = list(visual.transformer.resblocks)
    if (
        not plain
        or visual.proj is None
        or not blocks
        or not all(plain_block(block) for block in blocks)
    ):
        return None
    act = type(blocks[0].mlp.gelu)
    return VitShape(
        patch=int(visual.conv1.kernel_size[0]),
        layers=len(blocks),
        heads=blocks[0].attn.num_heads,
        quick_gelu=act is QuickGELU,
        eps=blocks[0].ln_1.eps,
    )


def plain_block(block: nn.Module) -> bool:
    """Whether a block of either tower computes what CLIP's do: LayerNorms before attention and MLP,
    GELU or QuickGELU, no layer scale.
    """
    if type(block) is not ResidualAttentionBlock or hasattr(block, "ln_1_kv"):
        return False
    gelu = block.get_submodule("mlp.gelu")
    exact = type(gelu) is nn.GELU and gelu.approximate == "none"
    scales = isinstance(block.ls_1, nn.Identity) and isinstance(block.ls_2, nn.Identity)
    return (
        scales
        and (exact or type(gelu) is QuickGELU)
        and bool(block.get_submodule("attn").batch_first)
    )


def vit(
    shape: VitShape,
    w: Mapping[str, Tensor],
    x: Float[Tensor, " b c h w"],
    recompute: bool = False,
    tokens: bool = False,
    lean: bool = False,
) -> Float[Tensor, " b *n d"]:
    """Un-normalised embeddings of normalised images.

    Args:
        shape: As :func:`shape_of` gives.
        w: Every parameter of the tower by its name in the module; ``prompt`` (p, width) adds p
            learned tokens to the patches (see :mod:`grace_geom.methods.vpt`).
        x: Images after mean/std normalisation, of the tower's own size.
        recompute: Keep only each block's input and recompute the rest in the backward pass.
        tokens: Return the embedding of the class token *and* of every patch, not of the class token
            alone.
        lean: Under autocast, keep the residual stream in its half precision on a GPU too
            (:func:`.lean_norm.lean_norm`).
    """
    z = _first(shape, w, x, lean)
    plain = len(w["positional_embedding"])
    for i in range(shape.layers):
        tensors = [w[f"transformer.resblocks.{i}.{name}"] for name in BLOCK]
        last = i == shape.layers - 1 and not tokens
        if recompute and torch.is_grad_enabled():
            # A block draws nothing, and no CUDA graph can hold a look at the generator's state.
            z = checkpoint(  # type: ignore[assignment]
                _block, shape, last, lean, z, *tensors,
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
        else:
            z = _block(shape, last, lean, z, *tensors)
    z = z[:, :plain] if tokens else z[:, 0]
    return _norm(z, w["ln_post.weight"], w["ln_post.bias"], shape.eps, lean) @ w["proj"]


def attentions(
    shape: VitShape, w: Mapping[str, Tensor], x: Float[Tensor, " b c h w"]
) -> Float[Tensor, " b l n n"]:
    """What each token attends to in each block, the mean over heads; rows sum to 1.

    Token 0 is the class token; patches in reading order and prompt tokens follow. Each block is
    computed as :func:`vit` does, so a whole pass and the products of queries and keys once more.
    """
    z, found = _first(shape, w, x, lean=False), []
    for i in range(shape.layers):
        tensors = [w[f"transformer.resblocks.{i}.{name}"] for name in BLOCK]
        gain, bias, W_qkv, b_qkv = tensors[:4]
        h = _norm(z, gain, bias, shape.eps, lean=False)
        (b, n, d), two = h.shape, 2 * h.shape[-1]
        pairs = F.linear(h, W_qkv[:two], b_qkv[:two]).view(b, n, 2, shape.heads, -1)
        q, k = (part.transpose(1, 2) for part in pairs.unbind(2))
        scores = (q @ k.mT) * (d // shape.heads) ** -0.5
        found.append(scores.softmax(dim=-1).mean(dim=1))
        z = _block(shape, False, False, z, *tensors)
    return torch.stack(found, dim=1)


def _first(shape: VitShape, w: Mapping[str, Tensor], x: Tensor, lean: bool) -> Tensor:
    """What the first block is given: class token, patches, prompt tokens, ``(B, N, D)``."""
    grid = F.linear(patches(x, shape.patch), w["conv1.weight"].flatten(1))
    b = x.shape[0]  # not len(x), which a traced graph takes for a constant
    cls = w["class_embedding"].to(grid.dtype).expand(b, 1, -1)
    z = torch.cat([cls, grid], dim=1) + w["positional_embedding"].to(grid.dtype)
    if "prompt" in w:
        z = torch.cat([z, w["prompt"].to(z.dtype).expand(b, -1, -1)], dim=1)
    return _norm(z, w["ln_pre.weight"], w["ln_pre.bias"], shape.eps, lean)


def patches(x: Float[Tensor, " b c h w"], side: int) -> Float[Tensor, " b n p"]:
    """Non-overlapping patches in reading order, each flattened as a convolution kernel is: channel,
    row, column.
    """
    b, c, h, width = x.shape
    x = x.view(b, c, h // side, side, width // side, side).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, (h // side) * (width // side), c * side * side)


def _block(shape: VitShape, last: bool, lean: bool, z: Tensor, *tensors: Tensor) -> Tensor:
    """``z + Attn(LN z)``, then ``z + MLP(LN z)``; the last block returns the class token alone,
    ``(B, 1, D)``.
    """
    (g1, b1, W_qkv, b_qkv, W_o, b_o, g2, b2, W_fc, b_fc, W_proj, b_proj) = tensors
    attended = _attention(shape, last, _norm(z, g1, b1, shape.eps, lean), W_qkv, b_qkv)
    z = (z[:, :1] if last else z) + F.linear(attended, W_o, b_o)
    hidden = F.linear(_norm(z, g2, b2, shape.eps, lean), W_fc, b_fc)
    hidden = hidden * torch.sigmoid(1.702 * hidden) if shape.quick_gelu else F.gelu(hidden)
    return z + F.linear(hidden, W_proj, b_proj)


def _attention(shape: VitShape, last: bool, h: Tensor, W_qkv: Tensor, b_qkv: Tensor) -> Tensor:
    b, n, d = h.shape
    if last:  # only the class token asks, every token answers
        q = F.linear(h[:, :1], W_qkv[:d], b_qkv[:d]).view(b, 1, shape.heads, -1)
        k, v = F.linear(h, W_qkv[d:], b_qkv[d:]).view(b, n, 2, shape.heads, -1).unbind(2)
    else:
        q, k, v = F.linear(h, W_qkv, b_qkv).view(b, n, 3, shape.heads, -1).unbind(2)
    out = _mix(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).reshape(b, -1, d)


def _mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k' / sqrt(d)) v``, each ``(B, heads, tokens, d)``."""
    if q.device.type == "cpu" and k.shape[2] <= SHORT:
        return ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


def _norm(z: Tensor, gain: Tensor, bias: Tensor, eps: float, lean: bool) -> Tensor:
    if lean and z.dtype in (torch.bfloat16, torch.float16):
        return lean_norm(z, gain, bias, eps)
    return F.layer_norm(z, (z.shape[-1],), gain, bias, eps)
