"""AdvFLYP (Xing et al. 2026, arXiv 2604.11576): CLIP's own contrastive loss on attacked images, the
text tower frozen.

Objective, with z and z' the unit features of clean and attacked images at W, z0' the pretrained
feature of the attacked image, U the captions and p the softmax of ``s z U'``: ``1/2 [CE(s Z' U',
arange) + CE(s U Z'', arange)] + lambda_feat mean(|z' - z0'| + |z' - z|) + lambda_logit mean(KL(p' |
p0') + KL(p' | p))``. The attack raises the contrastive loss of the whole batch. Gradients flow
through z too.

Source: the authors' code; of the paper only what its abstract says was compared, and agrees. The
paper's first point is its data, a million image-text pairs of the web: with captions of the images'
own (``wds:``, ``csv:``) it is trained as there; without any, captions are the classes' names in
prompt templates, as in ``flyp``, so that images of one class in a batch are negatives of each other
(ours). The code's divergences are *from* the attacked answer, the other way round than in
``pmg-aft``. Preset ``published``: SGD lr 1e-4 without clipping, eps = 1/255, 2 steps, both lambdas
1; batches of 256.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from grace_geom.attacks import pgd
from grace_geom.batch import Batch, joined
from grace_geom.fields import bounded
from grace_geom.methods.adversary import PUBLIC_SGD, Adversary
from grace_geom.methods.base import NO_CLIPPING, Coupled, FullFt, Losses, Run
from grace_geom.methods.flyp import Paired, captions_of, paired, share_matched
from grace_geom.methods.trades import divergence
from grace_geom.weights import Weights, detach

Encoder = Callable[[Tensor, Weights | None], Tensor]


@dataclass
class AdvFlyp(Paired, Adversary, FullFt):
    """The contrastive loss of attacked images and captions, with features and answers held to the
    pretrained model's and to those of clean images.

    A step that is cut into pieces has the gradient of the whole one, for one forward pass more each
    time. Each of several processes contrasts its own images only.

    Attributes:
        lambda_feat: Weight of the distances of attacked features.
        lambda_logit: Weight of the divergences of attacked answers.
    """

    name: ClassVar[str] = "adv-flyp"
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"published": PUBLIC_SGD}
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    raised: ClassVar[str] = "the contrastive loss of the batch"

    lr: float = 1e-5
    weight_decay: float = 1e-4
    lambda_feat: float = bounded(1.0, least=0)
    lambda_logit: float = bounded(1.0, least=0)

    @property
    def coupled(self) -> Coupled:
        """Each process contrasts its own images only, and is told so."""
        return Coupled(
            None,
            "each process contrasts its own {share} images of a step only, fewer negatives than "
            "one process has",
        )

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Gradient of the whole step's loss, however the step is cut."""
        whole = joined(batches)
        found = self._losses(
            run, self.weights(run.model, run.params), whole, in_pieces(run, list(map(len, batches)))
        )
        run.backward(torch.stack(list(found.terms.values())).sum())
        return found._replace(terms=detach(found.terms))

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``contrastive`` of attacked images; ``feat``, ``logit``: weighted distances and
        divergences.
        """
        return self._losses(run, weights, batch, run.model.features)

    def _losses(self, run: Run, weights: Weights, batch: Batch, encode: Encoder) -> Losses:
        with torch.no_grad():
            u = run.model.text_features(captions_of(run, batch))
        s = run.model.logit_scale
        x_adv = self._attacked(run, detach(weights), batch, u, encode)
        # One pass each: at W0 attacked features then equal the pretrained ones to the last bit, and
        # the norm's gradient there is 0.
        adv = encode(x_adv, weights)
        terms = {"contrastive": paired(s * adv @ u.T)}
        if self.lambda_feat or self.lambda_logit:
            clean = encode(batch.images, weights)
            with torch.no_grad():
                original = encode(x_adv, None)
            terms["feat"] = self.lambda_feat * sum(
                torch.linalg.vector_norm(adv - other, dim=1).mean() for other in (original, clean)
            )  # type: ignore[assignment]
            terms["logit"] = self.lambda_logit * sum(
                divergence(s * adv @ u.T, s * other @ u.T).mean() for other in (original, clean)
            )  # type: ignore[assignment]
        return Losses(terms, {"caption_acc": share_matched(s * adv @ u.T, batch.labels)})

    def _attacked(
        self, run: Run, fixed: Weights, batch: Batch, u: Tensor, encode: Encoder
    ) -> Tensor:
        """Images that raise the contrastive loss of all of them with their captions ``u``."""
        s, n = run.model.logit_scale, len(batch)

        def loss(x: Tensor) -> Tensor:
            return n * paired(s * encode(x, fixed) @ u.T)  # a sum: gradients do not shrink with n

        gradient = run.fast.gradient(run.model, loss, fixed, batch, None)
        reach, draws = self.reach(run), run.generator
        return pgd(loss, batch.images, *reach, generator=draws, gradient=gradient)


def in_pieces(run: Run, sizes: Sequence[int]) -> Encoder:
    """Unit features ``(B, D)`` of a whole step, of which the device holds one piece at a time."""
    if len(sizes) == 1:
        return run.model.features

    def encode(x: Tensor, weights: Weights | None) -> Tensor:
        parts = x.split(list(sizes))
        return torch.cat(
            [checkpoint(run.model.features, part, weights, use_reentrant=False) for part in parts]
        )

    return encode
