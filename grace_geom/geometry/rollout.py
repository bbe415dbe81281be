"""Which patches the class token of a transformer hears of, through all of its blocks."""

from jaxtyping import Float
from torch import Tensor


def rollout(attentions: Float[Tensor, " b l n n"]) -> Float[Tensor, " b n"]:
    """Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928): the first row of
    ``(A_L + I) / 2 ... (A_1 + I) / 2``.

    The identity stands for the residual connection beside each attention. Only that row is carried
    through the product, at n^2 operations a block. MLPs, values and gradients have no part in it:
    it says where attention goes, not what an answer rests on.

    Args:
        attentions: Of each block, the first one first: rows sum to 1; usually the mean over heads.

    Returns:
        Shares of all tokens in token 0, not negative; they sum to 1.
    """
    row = attentions.new_zeros(attentions.shape[0], 1, attentions.shape[-1])
    row[..., 0] = 1
    for A in attentions.unbind(1)[::-1]:
        row = (row @ A + row) / 2
    return row[:, 0]
