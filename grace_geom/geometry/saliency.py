"""Which pixels a loss depends on: gradients at the image, and their mean over noisy copies."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def saliency(
    loss: Callable[[Tensor], Tensor],
    x: Float[Tensor, " b c h w"],
    noise: Float[Tensor, " s b c h w"],
) -> Float[Tensor, " b h w"]:
    """``max_c |mean_s d loss / d x (x + noise_s)|``: SmoothGrad (Smilkov et al. 2017).

    One sample of zeros is the plain gradient (Simonyan et al. 2014). Costs a forward and a backward
    pass for each sample.

    Args:
        loss: Images to one number, a sum in which each image has a term of its own.
        x: Images.
        noise: What is added to them, sample by sample.

    Returns:
        Not negative, in units of the loss for a pixel value of 1.
    """
    total = torch.zeros_like(x)
    for shift in noise:
        at = (x + shift).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(at), at)
        total += gradient
    return (total / len(noise)).abs().amax(dim=1)


def correlation(a: Float[Tensor, " b h w"], b: Float[Tensor, " b h w"]) -> Float[Tensor, " b"]:
    """Pearson's correlation of two maps over their pixels, image by image; NaN where one of them is
    the same everywhere.
    """
    flat = [m.double().flatten(1) for m in (a, b)]
    centred = [m - m.mean(dim=1, keepdim=True) for m in flat]
    norms = [m.norm(dim=1) for m in centred]
    return (centred[0] * centred[1]).sum(dim=1) / (norms[0] * norms[1])
