"""What every evaluation attack shares: which images still stand, and the strongest point found for
each.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grace_geom.attacks.balls import check_pixels
from grace_geom.attacks.losses import Criterion
from grace_geom.errors import NotFiniteError

Logits: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Outcome:
    """What an attack found.

    Attributes:
        x_adv: ``(B, ...)`` the point that fooled the classifier or, where none did, the point of
            highest loss.
        robust: ``(B,)`` whether every point tried was classified correctly.
        forwards: Images sent through the model, each call counted.
    """

    x_adv: Float[Tensor, " b *d"]
    robust: Bool[Tensor, " b"]
    forwards: int


class Hunt:
    """The images of one batch under attack.

    Args:
        logits_fn: ``x (b, ...) -> logits (b, K)`` for any ``b``; deterministic (a model in eval
            mode) unless ``draws`` says otherwise.
        x: ``(B, ...)`` images in [0, 1].
        y: ``(B,)`` labels.
        until_fooled: Leave an image alone once it is misclassified. Samples do not influence each
            other, so this changes the cost and nothing else. ``False`` goes on to the highest loss.
        draws: Forward passes that a gradient is the mean of (expectation over transformation,
            Athalye et al. 2018); the loss and the answer are those of the last one. With more than
            one, a run goes on after an answer was wrong, which may have been luck, and keeps the
            last point that was misclassified.

    Raises:
        PixelError: For images that are not pixels in [0, 1].
    """

    def __init__(
        self,
        logits_fn: Logits,
        x: Float[Tensor, " b *d"],
        y: Int[Tensor, " b"],
        until_fooled: bool = True,
        draws: int = 1,
    ) -> None:
        check_pixels(x)
        self.x, self.y, self.until_fooled, self.draws = x.detach(), y, until_fooled, draws
        self.dtype = torch.promote_types(x.dtype, torch.float32)  # of losses
        self.robust = torch.ones_like(y, dtype=torch.bool)
        self.forwards = 0
        self._logits_fn = logits_fn
        self._x_adv = self.x.clone()
        self._best = torch.full(y.shape, -torch.inf, device=y.device, dtype=self.dtype)

    @property
    def outcome(self) -> Outcome:
        """What was found up to now."""
        return Outcome(self._x_adv, self.robust, self.forwards)

    def rows(self) -> Int[Tensor, " b"]:
        """Positions of the images to attack: those that still stand, or all of them."""
        return (self.robust if self.until_fooled else torch.ones_like(self.robust)).nonzero()[:, 0]

    def logits(self, x: Float[Tensor, " b *d"]) -> Float[Tensor, " b k"]:
        """One counted forward pass."""
        self.forwards += len(x)
        return self._logits_fn(x)

    def climb(
        self, x: Float[Tensor, " b *d"], rows: Int[Tensor, " b"], criterion: Criterion
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b *d"]]:
        """Losses at ``x`` and their gradients there; notes who was fooled."""
        with torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            grads: list[Tensor] = []
            for _ in range(self.draws):
                logits = self.logits(leaf)
                losses = criterion(logits, self.y[rows])
                grads += torch.autograd.grad(losses.sum(), leaf)
        grad = grads[0] if len(grads) == 1 else torch.stack(grads).mean(0)
        if grad.sum().isnan():
            raise NotFiniteError(
                "The attack's gradient is NaN. The model overflows at this precision, or its "
                "weights are NaN already: attack in float32."
            )
        self.note(leaf.detach(), rows, logits.detach(), losses.detach())
        return losses.detach(), grad

    @torch.no_grad()
    def look(
        self, x: Float[Tensor, " b *d"], rows: Int[Tensor, " b"], criterion: Criterion
    ) -> Float[Tensor, " b"]:
        """Losses at ``x`` without gradients; notes who was fooled."""
        logits = self.logits(x)
        losses = criterion(logits, self.y[rows])
        self.note(x, rows, logits, losses)
        return losses

    def standing(self, rows: Int[Tensor, " b"]) -> Int[Tensor, " s"] | None:
        """Positions *within* ``rows`` of the images to go on with; ``None`` when that is all of
        them.
        """
        if not self.until_fooled or self.draws > 1:
            return None
        standing = self.robust[rows]
        return None if bool(standing.all()) else standing.nonzero()[:, 0]

    def note(
        self,
        x: Float[Tensor, " b *d"],
        rows: Int[Tensor, " b"],
        logits: Float[Tensor, " b k"],
        losses: Float[Tensor, " b"],
    ) -> None:
        """What the model said at points inside of the ball: remembers who was fooled, and the point
        of highest loss.
        """
        if losses.isnan().any():
            raise NotFiniteError(
                "The model's logits are NaN under attack: attack in float32, or check its weights."
            )
        fooled = logits.argmax(1) != self.y[rows]
        higher = losses > self._best[rows]
        if self.until_fooled:  # a point that fools wins over any loss
            higher = (higher & self.robust[rows]) | fooled
        self._x_adv[rows[higher]] = x[higher]
        self._best[rows[higher]] = losses[higher].to(self.dtype)
        self.robust[rows[fooled]] = False


@dataclass
class Climb:
    """State of one run of an attack: every field holds one entry for each image still climbing."""

    def select(self, keep: Tensor) -> Self:
        """The same of some of the images."""
        return type(self)(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})


def per_image(values: Float[Tensor, " b"] | Bool[Tensor, " b"], like: Tensor) -> Tensor:
    """``(b, 1, 1, ...)``: one value an image, to be spread over the pixels of ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))


class Noise:
    """Uniform random numbers that belong to an image, not to its place in a batch.

    The numbers depend on ``(seed, index of the image, stream)`` alone, so cutting a data set into
    other batches, or attacking fewer of its images, changes nothing.

    Args:
        seed: Seed of the run, >= 0.
        index: ``(B,)`` a number >= 0 for each image, such as its position in the data set.
    """

    def __init__(self, seed: int, index: Sequence[int] | Int[Tensor, " b"]) -> None:
        self.seed = seed
        self.index = index.tolist() if isinstance(index, Tensor) else [int(i) for i in index]

    def uniform(
        self, rows: Int[Tensor, " b"], shape: Sequence[int], stream: str
    ) -> Float[Tensor, " b *d"]:
        """``(len(rows), *shape)`` float32 in [0, 1) on the device of ``rows``; ``stream`` names
        what it is for.
        """
        word = zlib.crc32(stream.encode())
        out = np.empty((len(rows), *shape), dtype=np.float32)
        for place, row in enumerate(rows.tolist()):
            out[place] = np.random.default_rng([self.seed, self.index[row], word]).random(
                shape, dtype=np.float32
            )
        return torch.from_numpy(out).to(rows.device)
