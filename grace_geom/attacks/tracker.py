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

from grace_geom import distributed
from grace_geom.attacks.balls import check_pixels, check_type, extent_of
from grace_geom.attacks.looks import looks_on
from grace_geom.attacks.losses import Criterion
from grace_geom.errors import NotFiniteError

Logits: TypeAlias = Callable[[Tensor], Tensor]
GRADIENT_IS_NAN = (
    "The attack's gradient is NaN. The model overflows at this precision, or its weights are NaN "
    "already: attack in float32."
)
LOGITS_ARE_NAN = "The model's logits are NaN under attack: attack in float32, or check its weights."
LOGITS_OR_GRADIENTS_ARE_NAN = (
    "The model's logits or their gradients are NaN under attack: attack in float32."
)


@dataclass(frozen=True)
class Outcome:
    """What an attack found.

    Attributes:
        x_adv: ``(B, ...)`` the point that fooled the classifier or, where none did, the point of
            highest loss.
        robust: ``(B,)`` whether every point tried was classified correctly; on the CPU.
        forwards: Images sent through the model, each call counted.
    """

    x_adv: Float[Tensor, " b *d"]
    robust: Bool[Tensor, " b"]
    forwards: int


class Hunt:
    """The images of one batch under attack.

    On a GPU the host waits for the device once a run of the attack, at its end: to learn who still
    stands, and whether images and numbers were sound (:mod:`.looks`).

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
        PixelError: For images that are not pixels in [0, 1]; on a GPU at the first look.
    """

    def __init__(
        self,
        logits_fn: Logits,
        x: Float[Tensor, " b *d"],
        y: Int[Tensor, " b"],
        until_fooled: bool = True,
        draws: int = 1,
    ) -> None:
        self.x, self.y, self.until_fooled, self.draws = x.detach(), y, until_fooled, draws
        self.dtype = torch.promote_types(x.dtype, torch.float32)  # of losses
        self.robust = torch.ones_like(y, dtype=torch.bool)
        self.forwards = 0
        self._logits_fn = logits_fn
        self._x_adv = self.x.clone()
        self._best = torch.full(y.shape, -torch.inf, device=y.device, dtype=self.dtype)
        self._looks = looks_on(x.device)
        self._known = torch.ones(len(y), dtype=torch.bool)  # robust, on the host
        self._noted = False  # whether the model has said anything yet
        self._seen = True  # nothing was noted since the last look
        self._flaws: dict[str, Tensor] = {}  # what to say: whether it is so
        self._extent: tuple[Tensor, Tensor] | None = None
        if self._looks.free:
            check_pixels(x)
        else:
            check_type(x)
            self._extent, self._seen = extent_of(x) if x.numel() else None, False

    @property
    def outcome(self) -> Outcome:
        """What was found up to now."""
        return Outcome(self._x_adv, self._look_back(), self.forwards)

    def rows(self) -> Int[Tensor, " b"]:
        """Positions of the images to attack: those that still stand, or all of them."""
        return self.places().to(self.y.device, non_blocking=True)

    def places(self) -> Int[Tensor, " b"]:
        """:meth:`rows` on the host."""
        if not self.until_fooled or not self._noted:
            return torch.arange(len(self.y))
        return self._look_back().nonzero()[:, 0]

    def _look_back(self) -> Bool[Tensor, " b"]:
        """Who stands, on the host; refuses what no attack can be made on."""
        if self._looks.free:
            return self.robust
        if self._seen:
            return self._known
        checks = [flaw.view(1) for flaw in self._flaws.values()]
        if self._extent is not None:
            low, high = self._extent
            checks.append(~((low >= 0) & (high <= 1)).view(1))
        distributed.heard_of_all()
        told = torch.cat([self.robust, *checks]).cpu()
        self._known, flawed = told[: len(self.y)], told[len(self.y) :].tolist()
        if self._extent is not None and flawed.pop():
            check_pixels(self.x, self._extent)  # rounding is borne there
        for words, bad in zip(self._flaws, flawed, strict=True):
            if bad:
                raise NotFiniteError(words)
        self._seen, self._extent = True, None
        return self._known

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
        self.refuse_nan(grad, rows, GRADIENT_IS_NAN)
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
        them. On a GPU some may be among them that have fallen.
        """
        if not self.until_fooled or self.draws > 1:
            return None
        return self._looks.keep(self.robust[rows])

    def note(
        self,
        x: Float[Tensor, " b *d"],
        rows: Int[Tensor, " b"],
        logits: Float[Tensor, " b k"],
        losses: Float[Tensor, " b"],
        inside: Bool[Tensor, " b"] | None = None,
    ) -> None:
        """What the model said at points: remembers who was fooled, and the point of highest loss.

        Args:
            x: The points.
            rows: Whose they are; nobody has two.
            logits: What the model said.
            losses: Of the points.
            inside: Which of them lie in the ball; by default all. The others do not count.
        """
        self._noted = True
        if not self._looks.free:
            self._note_without_looking(x, rows, logits, losses, inside)
            return
        if inside is not None:
            here = inside.nonzero()[:, 0]
            x, rows, logits, losses = x[here], rows[here], logits[here], losses[here]
        if losses.isnan().any():
            raise NotFiniteError(LOGITS_ARE_NAN)
        fooled = logits.argmax(1) != self.y[rows]
        higher = losses > self._best[rows]
        if self.until_fooled:  # a point that fools wins over any loss
            higher = (higher & self.robust[rows]) | fooled
        self._x_adv[rows[higher]] = x[higher]
        self._best[rows[higher]] = losses[higher].to(self.dtype)
        self.robust[rows[fooled]] = False

    def _note_without_looking(
        self,
        x: Float[Tensor, " b *d"],
        rows: Int[Tensor, " b"],
        logits: Float[Tensor, " b k"],
        losses: Float[Tensor, " b"],
        inside: Bool[Tensor, " b"] | None,
    ) -> None:
        """The same with masks in the place of shorter lists, whose lengths the host would have to
        know.
        """
        robust, best = self.robust[rows], self._best[rows]
        counts = torch.ones_like(robust) if inside is None else inside
        if self.until_fooled and self.draws == 1:  # who has fallen is still among the rows here
            counts = counts & robust
        self.refuse_nan(losses, rows, LOGITS_ARE_NAN, counts)
        fooled = logits.argmax(1) != self.y[rows]
        higher = losses > best
        if self.until_fooled:
            higher = (higher & robust) | fooled
        fooled, higher = fooled & counts, higher & counts
        wide = higher.view(-1, *[1] * (x.ndim - 1))
        self._x_adv[rows] = torch.where(wide, x, self._x_adv[rows])
        self._best[rows] = torch.where(higher, losses.to(self.dtype), best)
        self.robust[rows] = robust & ~fooled
        self._seen = False

    def refuse_nan(
        self,
        values: Float[Tensor, " b *d"],
        rows: Int[Tensor, " b"],
        words: str,
        counts: Bool[Tensor, " b"] | None = None,
    ) -> None:
        """Raise where a number is NaN: now on a CPU, at the next look on a GPU.

        Args:
            values: One or more numbers of each image.
            rows: Whose they are.
            words: What to say.
            counts: Whose numbers matter, by default those of images that stand; on a GPU others
                are still under way.

        Raises:
            NotFiniteError: With these words.
        """
        if self._looks.free:
            if values.sum().isnan():
                raise NotFiniteError(words)
            return
        counts = self.robust[rows] if counts is None else counts
        bad = (values.flatten(1).sum(1) if values.ndim > 1 else values).isnan()
        bad = (bad & counts).any()
        self._flaws[words] = bad | self._flaws[words] if words in self._flaws else bad
        self._seen = False


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
        """``(len(rows), *shape)`` float32 in [0, 1) on the device of ``rows`` (take those of the
        host where they are known there); ``stream`` names what it is for.
        """
        word = zlib.crc32(stream.encode())
        out = np.empty((len(rows), *shape), dtype=np.float32)
        for place, row in enumerate(rows.tolist()):
            out[place] = np.random.default_rng([self.seed, self.index[row], word]).random(
                shape, dtype=np.float32
            )
        return torch.from_numpy(out).to(rows.device)
