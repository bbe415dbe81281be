"""The contrastive loss of CLIP, and its text tower at the cost of the words there are."""

import torch
from jaxtyping import Float, Int
from open_clip import CLIP
from torch import Tensor, nn
from torch.nn import functional as F


def contrastive_loss(
    image: Float[Tensor, " b d"],
    text: Float[Tensor, " b d"],
    scale: Tensor,
    caption: Int[Tensor, " b"],
) -> Tensor:
    """Symmetric cross-entropy of picture against caption; pairs with the same caption are all
    positives.

    Args:
        image: Unit features.
        text: Unit features.
        scale: Of the cosines.
        caption: Equal numbers are equal captions; the target is shared evenly among them.
    """
    logits = scale * image @ text.T
    same = (caption[:, None] == caption[None]).to(logits.dtype)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def encode_tokens(
    clip: CLIP, tokens: Int[Tensor, " b l"], embedding: Float[Tensor, " v w"]
) -> Float[Tensor, " b d"]:
    """Text features of captions shorter than the context: what ``clip.encode_text`` gives, at the
    cost of ``l`` tokens.

    The text tower is causal, so nothing after the end-of-text token reaches the feature.

    Args:
        clip: Gives all weights but the embedding.
        tokens: Rows of ``embedding``; the end-of-text token is the largest.
        embedding: Token embedding, or the rows of it in use.
    """
    length = tokens.shape[1]
    x = F.embedding(tokens, embedding) + clip.positional_embedding[:length]
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
    x = x[torch.arange(len(x), device=x.device), tokens.argmax(1)]
    projection = clip.text_projection
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection
