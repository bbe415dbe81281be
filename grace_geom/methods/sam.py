"""SAM (Foret et al. 2021) and ASAM (Kwon et al. 2021): the gradient at the worst weights nearby,
applied here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grace_geom import distributed
from grace_geom.batch import Batch, joined
from grace_geom.fields import bounded
from grace_geom.methods.base import Coupled, Losses, Run
from grace_geom.methods.ft import Ft
from grace_geom.weights import Weights


@dataclass
class Sam(Ft):
    """``grad L(theta + e)`` with ``e = rho g / |g|``, ``g = grad L(theta)``, the norm over all
    tensors (Eq. 2, p = 2).

    The loss that is logged is the one at theta + e; ``sharpness`` is what it exceeds the loss at
    theta by. Two forward and two backward passes a step. The authors' JAX code takes e on each
    device's share of the batch (m-sharpness, their sec. 4.1), most PyTorch ports on the whole
    batch: ``m`` says which.

    Attributes:
        rho: Radius of the perturbation.
        m: Images per perturbation, however the step is cut into micro-batches; ``None``: the whole
            step. With several processes, each forms groups from its own images.
    """

    name: ClassVar[str] = "sam"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    rho: float = bounded(0.05, least=0)
    m: int | None = bounded(None, least=1)

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Gradient at ``theta + e`` of each group of images, averaged over the step."""
        images, totals = sum(map(len, batches)), Totals()
        for group in grouped(batches, self.m):
            share = sum(map(len, group)) / images
            here = self.accumulate(run, group)
            if (
                self.m is None
            ):  # one perturbation for the whole step, however many processes share it
                distributed.mean([p.grad for p in run.params.values() if p.grad is not None])
            e = self.perturbation(run.params)
            clear(run.params)
            there = self.accumulate(run, group, offset=e)
            rise = torch.stack([there.terms[name] - here.terms[name] for name in here.terms]).sum()
            found = Losses(there.terms, there.observed | {"sharpness": rise})
            totals.add(share, found, run.params)
            clear(run.params)
        for name, g in totals.gradients.items():
            run.params[name].grad = g
        return totals.losses

    @property
    def coupled(self) -> Coupled | None:
        """With ``m``: groups of that many images, which processes must not split."""
        if self.m is None:
            return None
        return Coupled(
            self.m,
            f"a process has {{share}} images of a step, no multiple of --m {self.m}: some "
            "perturbations are of fewer",
        )

    def perturbation(self, params: Weights) -> Weights:
        """e from the gradients of the leaves."""
        g = {name: p.grad for name, p in params.items() if p.grad is not None}
        return ascent(g, self.rho)


@dataclass
class Asam(Sam):
    """``e = rho T^2 g / |T g|`` with ``T = |theta| + eta`` entry by entry, so that rescaling
    weights changes nothing.

    The paper's T covers every weight; the authors' code leaves tensors without "weight" in their
    name unscaled. Here biases are unscaled, and everything else (class token, positions,
    projections) is scaled. Exact invariance needs eta = 0.

    Attributes:
        rho: Radius of the perturbation, relative to the weights; about 10 times SAM's.
        eta: Added to |theta|, so that zero weights can move.
    """

    name: ClassVar[str] = "asam"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    rho: float = 0.5
    eta: float = bounded(0.01, least=0)

    def perturbation(self, params: Weights) -> Weights:
        """e from the gradients of the leaves, scaled by T."""
        g = {name: p.grad for name, p in params.items() if p.grad is not None}
        T = {
            name: params[name].detach().abs() + self.eta for name in g if not name.endswith("bias")
        }
        scaled = {name: w * T[name] if name in T else w for name, w in g.items()}
        return {
            name: e * T[name] if name in T else e for name, e in ascent(scaled, self.rho).items()
        }


def grouped(batches: Sequence[Batch], m: int | None) -> list[Sequence[Batch]]:
    """The pieces of a step by groups of ``m`` images, each cut as the step is; ``None``: one
    group.
    """
    if m is None:
        return [batches]
    return [part.split(len(batches[0])) for part in joined(batches).split(m)]


def ascent(g: Weights, rho: float) -> Weights:
    """``rho g / |g|``, 0 where all of ``g`` is 0."""
    norm = torch.nn.utils.get_total_norm(g.values())
    step = rho / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return {name: step * w for name, w in g.items()}


def clear(params: Weights) -> None:
    """Forget the gradients."""
    for p in params.values():
        p.grad = None


class Totals:
    """Means over groups of images: of gradients, and of what was found with them."""

    def __init__(self) -> None:
        self.gradients: dict[str, Any] = {}
        self.losses = Losses({}, {})

    def add(self, share: float, found: Losses, params: Weights) -> None:
        """One group, whose gradients lie in the leaves, with its share of the images."""
        here = {name: p.grad for name, p in params.items() if p.grad is not None}
        parts: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
            (self.gradients, here),
            (self.losses.terms, found.terms),
            (self.losses.observed, found.observed),
        )
        for totals, part in parts:
            for name, value in part.items():
                totals[name] = totals[name] + share * value if name in totals else share * value
