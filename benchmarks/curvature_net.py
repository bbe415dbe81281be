"""The net of the curvature benchmarks: a small ViT of random weights, its loss, and our Hessian of
it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from benchmarks.curvature_peers import copy_of
from grace_geom.batch import Batch
from grace_geom.geometry.operators import CurvatureOperator, hessian
from grace_geom.models.vit import BLOCK, VitShape, vit
from grace_geom.weights import Weights

CLASSES, SIDE = 10, 32


class M(nn.Module):
    """A ViT classifier whose forward pass is :func:`grace_geom.models.vit.vit`, drawn as
    ``nn.Linear`` does.
    """

    def __init__(self, width: int = 96, layers: int = 4, patch: int = 8, seed: int = 0) -> None:
        super().__init__()
        self.arguments = (width, layers, patch, seed)
        self.shape = VitShape(patch, layers, heads=width // 32 or 2, quick_gelu=False, eps=1e-5)
        g = torch.Generator().manual_seed(seed)
        self.names, values = [], []
        for name, size in sizes(width, layers, patch).items():
            fan_in = float(np.prod(size[1:])) if len(size) > 1 and name != "proj" else width
            if "ln_" in name:
                draw = torch.full(size, float(name.endswith("weight")))
            elif "embedding" in name:
                draw = 0.02 * torch.randn(size, generator=g)
            else:
                draw = (2 * torch.rand(size, generator=g) - 1) / fan_in**0.5
            values.append(nn.Parameter(draw))
            self.names.append(name)
        self.values = nn.ParameterList(values)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        return vit(self.shape, dict(zip(self.names, self.values, strict=True)), x)


def sizes(width: int, layers: int, patch: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tower's weights; its output are the classes."""
    d, tokens = width, (SIDE // patch) ** 2 + 1
    block = dict(
        zip(
            BLOCK,
            [
                (d,),
                (d,),
                (3 * d, d),
                (3 * d,),
                (d, d),
                (d,),
                (d,),
                (d,),
                (4 * d, d),
                (4 * d,),
                (d, 4 * d),
                (d,),
            ],
            strict=True,
        )
    )
    found: dict[str, tuple[int, ...]] = {
        "conv1.weight": (d, 3, patch, patch),
        "class_embedding": (d,),
        "positional_embedding": (tokens, d),
        "ln_pre.weight": (d,),
        "ln_pre.bias": (d,),
    }
    for i in range(layers):
        found |= {f"transformer.resblocks.{i}.{name}": size for name, size in block.items()}
    return found | {"ln_post.weight": (d,), "ln_post.bias": (d,), "proj": (d, CLASSES)}


def sample(n: int = 32) -> Batch:
    """Random images and labels, as normalised pixels."""
    g = torch.Generator().manual_seed(1)
    return Batch(
        torch.randn(n, 3, SIDE, SIDE, generator=g),
        torch.randint(CLASSES, (n,), generator=g),
        torch.arange(n),
    )


def loss_of(model: nn.Module) -> Callable[[Weights, Batch], Tensor]:
    """Cross-entropy as a function of weights and a batch."""
    return lambda w, b: F.cross_entropy(functional_call(model, w, (b.images,)), b.labels)


def weights_of(model: nn.Module) -> Weights:
    """The weights of a module by name, detached."""
    return {name: p.detach() for name, p in model.named_parameters()}


def ours(model: nn.Module, batch: Batch, **options: Any) -> CurvatureOperator:
    """Our Hessian operator of one batch."""
    return hessian(loss_of(model), weights_of(model), [batch], **options)


def in_double(model: M) -> tuple[nn.Module, Batch]:
    """The same weights and images in float64."""
    batch = sample()
    return copy_of(model).double(), Batch(batch.images.double(), batch.labels, batch.index)
