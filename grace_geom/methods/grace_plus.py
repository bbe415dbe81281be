"""A GRACE of ours (docs/grace-plus.md): adversarial training of the whole image tower with the
pretrained features for an anchor, by one PGD step, so that the same cost buys more optimizer steps.
The tower and the anchor are the parts of GRACE's family that showed an effect on robustness and on
zero-shot transfer (docs/what-makes-grace-work.md); the weight perturbation and the Gram volume,
which showed none, are left out.

Objective: ``L(x_adv)`` at the weights of the step, with
``L(z) = CE(l(z), y) + lambda_anchor (1 - cos(f(z), f_0(x)))``: f are the features, f_0 those of the
pretrained model at the clean image, and x_adv is where PGD that raises L leads from ``x + u``, u
uniform in the ball. One step of 5/4 of the radius from such a start is that of Wong et al. (2020,
arXiv 2001.03994).

With ``adv_weight`` w below 1 the objective is ``(1 - w) L(x + u) + w L(x_adv)``. Its first term and
the first PGD step share a backward pass, as attack and update do in "free" adversarial training
(Shafahi et al. 2019, arXiv 1904.12843): the gradient by the image and that by the weights are both
of L at ``x + u``. A step of k PGD steps costs ``6 + 2 (k - 1)`` passes of its images, a backward
pass being two to the weights and one to the images; one more with w below 1, one less without an
anchor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.attacks import Linf, pgd
from grace_geom.attacks.balls import extent_of
from grace_geom.attacks.pgd import input_gradient, stop_unless_sound
from grace_geom.batch import Batch
from grace_geom.fields import bounded, pixel_bounded
from grace_geom.methods.adversary import Adversary
from grace_geom.methods.base import FullFt, Losses, Run, share_right
from grace_geom.methods.fast_attack import Raised, cross_entropy
from grace_geom.weights import Weights, detach


@dataclass(frozen=True)
class Viewed(Batch):
    """Images as one of the two terms sees them.

    Attributes:
        term: ``task`` for images with noise, ``adv`` for attacked ones.
        anchor: Pretrained features of the clean images, ``(B, d)``; ``None``: no anchor.
    """

    term: Literal["task", "adv"]
    anchor: Float[Tensor, " b d"] | None


@dataclass
class GracePlus(Adversary, FullFt):
    """``(1 - w) L(x + u) + w L(x_adv)``; the head is frozen unless ``train_head``. At the cost of
    ``at`` it makes 3.8 times as many steps. The anchor is for zero-shot transfer; clean and robust
    accuracy are no better with it.

    Attributes:
        adv_weight: Weight w of the loss on attacked images; images with noise have 1 - w.
        lambda_anchor: Weight of the cosine distance to the pretrained features.
    """

    name: ClassVar[str] = "grace-plus"
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    raised: ClassVar[str] = "the cross-entropy plus the distance to the anchor"

    adv_weight: float = bounded(1.0, least=0, most=1)
    lambda_anchor: float = bounded(1.0, least=0)
    attack_steps: int = bounded(1, least=1)
    alpha: float = pixel_bounded(5 / 255)

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Both terms of the whole step; the backward pass of the first one starts the attack."""
        noisy = [self.with_noise(run, batch) for batch in batches]
        with torch.no_grad():
            fixed = detach(self.weights(run.model, run.params))
        first = Losses({})
        starts: list[Tensor | None] = [None] * len(noisy)
        if self.adv_weight < 1:
            for piece in noisy:
                piece.images.requires_grad_()
            first = self.accumulate(run, noisy)
            starts = [piece.images.grad for piece in noisy]
        if self.adv_weight == 0:
            return first
        attacked = [
            self.attacked(run, fixed, *each) for each in zip(batches, noisy, starts, strict=True)
        ]
        second = self.accumulate(run, attacked)
        return Losses(first.terms | second.terms, first.observed | second.observed)

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``task`` on images with noise, ``adv`` on attacked ones: the term of a batch that was
        prepared for one, every term of weight above 0 of any other.
        """
        w = self.adv_weight
        if isinstance(batch, Viewed):
            logits, each = self._each(run, weights, batch)
            share, mark = {"task": (1 - w, ""), "adv": (w, "_adv")}[batch.term]
            seen: dict[str, Tensor | float] = {
                f"train_acc{mark}": share_right(logits, batch.labels)
            }
            return Losses({batch.term: share * each.mean()}, seen)
        noisy = self.with_noise(run, batch)
        views = [noisy] if w < 1 else []
        views += [self.attacked(run, detach(weights), batch, noisy)] if w > 0 else []
        parts = [self.losses(run, weights, view) for view in views]
        terms = {name: term for part in parts for name, term in part.terms.items()}
        return Losses(terms, {k: v for part in parts for k, v in part.observed.items()})

    def with_noise(self, run: Run, batch: Batch) -> Viewed:
        """The batch at a uniform random point of the ball, from which its attack starts."""
        eps, alpha, _ = self.reach(run)
        sums: list[Tensor] | None = [] if self.adv_weight > 0 else None  # the attack will look
        x = pgd(lambda x: x.sum(), batch.images, eps, alpha, 0, run.generator, sums=sums)
        anchor = None
        if self.lambda_anchor > 0:
            with torch.no_grad():
                anchor = run.model.features(batch.images)
        return Viewed(x, batch.labels, batch.index, "task", anchor)

    def attacked(
        self, run: Run, fixed: Weights, batch: Batch, noisy: Viewed, start: Tensor | None = None
    ) -> Viewed:
        """Where PGD leads from the images with noise.

        Args:
            run: The training under way.
            fixed: Effective weights.
            batch: The clean images.
            noisy: They with noise.
            start: The gradient of their losses by the images with noise, up to a positive factor,
                where it is known from the first term. It may be scaled for fp16 and overflow, in a
                step that the scaler leaves out: where it is NaN, a pixel stays.

        Raises:
            PixelError: If the images are not pixels in [0, 1].
            NotFiniteError: If another gradient is NaN.
        """
        reach = self.reach(run)
        ball = Linf(batch.images, reach.eps)
        raised = self._raised(run, fixed, noisy)
        gradient = lambda x: input_gradient(raised, x)  # noqa: E731
        if start is not None and reach.steps == 1:
            run.fast.refuse("the only attack step shares its pass with the loss")
        else:
            gradient = (
                run.fast.gradient(run.model, raised, fixed, batch, self.graph_loss) or gradient
            )
        x, sums = noisy.images.detach(), []
        for step in range(reach.steps):
            if step == 0 and start is not None:
                g = torch.nan_to_num(start, nan=0.0)
            else:
                g = gradient(x)
                sums.append(g.sum())
            x = ball.project_(ball.direction(g).mul_(reach.alpha).add_(x))
        stop_unless_sound(batch.images, extent_of(batch.images), sums)
        return Viewed(x, batch.labels, batch.index, "adv", noisy.anchor)

    @property
    def graph_loss(self) -> Raised | None:
        """The cross-entropy, where there is no anchor."""
        return None if self.lambda_anchor > 0 else cross_entropy

    def _raised(self, run: Run, fixed: Weights, like: Viewed) -> Callable[[Tensor], Tensor]:
        """``x -> (B,)``, L of each image."""
        return lambda x: self._each(
            run, fixed, Viewed(x, like.labels, like.index, "adv", like.anchor)
        )[1]

    def _each(self, run: Run, weights: Weights, batch: Viewed) -> tuple[Tensor, Tensor]:
        """Logits ``(B, K)`` and L ``(B,)``."""
        f = run.model.features(batch.images, weights)
        logits = run.model.logits(f, weights)
        loss = F.cross_entropy(logits, batch.labels, reduction="none")
        if batch.anchor is not None:
            loss = loss + self.lambda_anchor * (1 - F.cosine_similarity(f, batch.anchor))
        return logits, loss
