"""TPGM (Tian et al. 2023, CVPR, "Trainable Projected Gradient Method"): how far each tensor may go
is learned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.fields import bounded
from grace_geom.methods.base import Passes, Run
from grace_geom.methods.ft import Ft
from grace_geom.methods.radius import SMALLEST, Norm, deviation, inside
from grace_geom.weights import Weights


@dataclass
class Tpgm(Ft):
    """``W~ = W0 + clip_01(gamma / |W - W0|) (W - W0)`` after ``ft``, gamma of each tensor fitted on
    held-out data.

    The paper alternates projection and training, or projects once at the end as its CLIP
    experiments and this do. Its public CLIP code fits gamma on the test split, which leaks; here
    the images are the held-out part of the training data, the same whose accuracy is logged, which
    is therefore slightly in this method's favour. A gamma at the norm itself keeps its gradient
    here, in the public code too (it adds 1e-8 to the norm).

    Attributes:
        norm: Projection norm: ``l2``, one Euclidean ball per tensor; ``mars``, the L1 norm of each
            row with one radius for all rows.
        radius_lr: Adam's learning rate for the radii.
        radius_steps: Number of steps on held-out batches.
        project_head: Also project the classification head (initialised to s T).
    """

    name: ClassVar[str] = "tpgm"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    norm: Norm = "l2"
    radius_lr: float = bounded(1e-2, least=0)
    radius_steps: int = bounded(200, least=0)
    project_head: bool = True

    @property
    def outside(self) -> Passes:
        """The held-out batches that fitting the radii takes after the last step."""
        return Passes(held_out_batches=3.0 * self.radius_steps)

    def finish(self, run: Run) -> Weights:
        """The tuned weights projected to the fitted radii, which ``radii.jsonl`` records."""
        tuned, base = self.snapshot(run), run.model.weights()
        moved = {
            n: w - base[n] for n, w in tuned.items() if self.project_head or n not in run.model.head
        }
        norms = {name: deviation(c, self.norm) for name, c in moved.items()}
        gamma = self.fit_radii(run, tuned, moved, norms)
        radii = dict(zip(norms, gamma.tolist(), strict=True))
        farthest = {name: float(n.max()) for name, n in norms.items()}
        run.emit("radii", {"step": run.step, "radius": radii, "norm": farthest})
        return tuned | projected(base, moved, norms, gamma)

    def fit_radii(self, run: Run, tuned: Weights, moved: Weights, norms: Weights) -> Tensor:
        """Radii ``(number of tensors,)`` by Adam on the held-out cross-entropy, from half of the
        smallest norm.
        """
        base, highest = run.model.weights(), torch.stack([n.max() for n in norms.values()])
        gamma = (torch.stack([n.min() for n in norms.values()]) / 2).requires_grad_()
        optimizer = torch.optim.Adam([gamma], lr=self.radius_lr)
        batches = held_out(run)
        clip_(gamma, highest)
        for _ in range(self.radius_steps):
            batch = next(batches)
            gamma.grad = torch.zeros_like(gamma)
            for piece in run.pieces(batch):
                weights = tuned | projected(base, moved, norms, gamma)
                loss = F.cross_entropy(run.model(piece.images, weights), piece.labels)
                gamma.grad += len(piece) / len(batch) * torch.autograd.grad(loss, gamma)[0]
            optimizer.step()
            clip_(gamma, highest)
        return gamma.detach()


def projected(base: Weights, moved: Weights, norms: Weights, gamma: Tensor) -> Weights:
    """``W0 + clip_01(gamma / norm) (W - W0)``, a function of the radii, in the order of
    ``norms``."""
    return {
        name: base[name] + inside(moved[name], g, norms[name])
        for name, g in zip(norms, gamma, strict=True)
    }


def clip_(gamma: Tensor, highest: Tensor) -> None:
    """Keep radii in ``[1e-8, largest norm]``, in place."""
    with torch.no_grad():
        gamma.copy_(gamma.clamp_min(SMALLEST).minimum(highest.clamp_min(SMALLEST)))


def held_out(run: Run) -> Iterator[Batch]:
    """Held-out batches, again and again.

    Raises:
        RuntimeError: If there is none.
    """
    while True:
        batch = None
        for batch in run.images("val"):
            yield batch
        if batch is None:
            raise RuntimeError("this run has no held-out images")
